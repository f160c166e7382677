"""VPCs and what watches and opens them, from bulk reads of their region."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from mesh.aws.reader import Absent, Answer, Reader, Response, Unread
from secmesh.inventory.v1.vpc_pb2 import FlowLog, Vpc
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, tag_map
from services.inventory.collect.network_acls import admits_admin_ports
from services.inventory.collect.security_groups import GROUPS

VPCS = "ec2:DescribeVpcs"
ATTRIBUTE = "ec2:DescribeVpcAttribute"
LISTINGS = (VPCS,)
PAGE = 1000
ROUTE_PAGE = 100
ACTIVE = "ACTIVE"
ATTRIBUTES = {"dns_support": "EnableDnsSupport", "dns_hostnames": "EnableDnsHostnames"}
DEFAULT_GROUPS = [{"Name": "group-name", "Values": ["default"]}]

Items = list[Response]


def _flow_logs(body: Vpc, logs: Items) -> None:
    own = [log for log in logs if log.get("ResourceId") == body.vpc_id]
    body.flow_logs.extend(
        FlowLog(
            flow_log_id=log["FlowLogId"],
            traffic_type=log.get("TrafficType"),
            status=log.get("FlowLogStatus"),
            destination_type=log.get("LogDestinationType"),
            destination=log.get("LogDestination") or log.get("LogGroupName"),
        )
        for log in sorted(own, key=lambda log: str(log["FlowLogId"]))
    )
    body.flow_logs_active = any(
        log.status == ACTIVE and log.traffic_type in ("ALL", "REJECT") for log in body.flow_logs
    )


def _default_group(body: Vpc, groups: Items) -> None:
    own = [group for group in groups if group.get("VpcId") == body.vpc_id]
    body.default_group_closed = not any(
        group.get("IpPermissions") or group.get("IpPermissionsEgress") for group in own
    )


def _internet_gateways(body: Vpc, gateways: Items) -> None:
    body.internet_gateways.extend(
        sorted(
            gateway["InternetGatewayId"]
            for gateway in gateways
            if any(each.get("VpcId") == body.vpc_id for each in gateway.get("Attachments", ()))
        )
    )


def _routes(body: Vpc, tables: Items) -> None:
    body.routed_to_internet = any(
        str(route.get("GatewayId", "")).startswith("igw-")
        for table in tables
        if table.get("VpcId") == body.vpc_id
        for route in table.get("Routes", ())
    )


def _nat_gateways(body: Vpc, gateways: Items) -> None:
    body.nat_gateways.extend(
        sorted(
            gateway["NatGatewayId"]
            for gateway in gateways
            if gateway.get("VpcId") == body.vpc_id
            and gateway.get("State") not in ("deleted", "deleting", "failed")
        )
    )


def _network_acls(body: Vpc, acls: Items) -> None:
    body.open_network_acls.extend(
        sorted(
            acl["NetworkAclId"]
            for acl in acls
            if acl.get("VpcId") == body.vpc_id and admits_admin_ports(acl.get("Entries", ()))
        )
    )


def _endpoints(body: Vpc, endpoints: Items) -> None:
    body.endpoint_services.extend(
        sorted({each["ServiceName"] for each in endpoints if each.get("VpcId") == body.vpc_id})
    )


def _peerings(body: Vpc, peerings: Items) -> None:
    sides = ("AccepterVpcInfo", "RequesterVpcInfo")
    body.peerings.extend(
        sorted(
            peering["VpcPeeringConnectionId"]
            for peering in peerings
            if peering.get("Status", {}).get("Code") == "active"
            and any(peering.get(side, {}).get("VpcId") == body.vpc_id for side in sides)
        )
    )


@dataclass(frozen=True)
class Part:
    """One bulk read of a region and the fields of each VPC it fills."""

    operation: str
    key: str
    fields: tuple[str, ...]
    fill: Callable[[Vpc, Items], None]
    filters: tuple[dict[str, Any], ...] = ()
    page: int = PAGE


PARTS = (
    Part("ec2:DescribeFlowLogs", "FlowLogs", ("flow_logs", "flow_logs_active"), _flow_logs),
    Part(
        GROUPS, "SecurityGroups", ("default_group_closed",), _default_group, tuple(DEFAULT_GROUPS)
    ),
    Part(
        "ec2:DescribeInternetGateways",
        "InternetGateways",
        ("internet_gateways",),
        _internet_gateways,
    ),
    Part(
        "ec2:DescribeRouteTables",
        "RouteTables",
        ("routed_to_internet",),
        _routes,
        page=ROUTE_PAGE,
    ),
    Part("ec2:DescribeNatGateways", "NatGateways", ("nat_gateways",), _nat_gateways),
    Part("ec2:DescribeNetworkAcls", "NetworkAcls", ("open_network_acls",), _network_acls),
    Part("ec2:DescribeVpcEndpoints", "VpcEndpoints", ("endpoint_services",), _endpoints),
    Part(
        "ec2:DescribeVpcPeeringConnections",
        "VpcPeeringConnections",
        ("peerings",),
        _peerings,
    ),
)
OPERATIONS = frozenset((VPCS, ATTRIBUTE, *(part.operation for part in PARTS)))
LISTED_FIELDS = ("vpc_id", "state", "is_default", "cidrs", "tags")
FIELDS = frozenset((*LISTED_FIELDS, *ATTRIBUTES, *(name for part in PARTS for name in part.fields)))


def collect(reader: Reader) -> Collected:
    """Read the VPCs of one region."""
    vpcs = reader.items(VPCS, "Vpcs", page_size=PAGE, listing=True)
    if isinstance(vpcs, Unread):
        return Collected([], vpcs)
    drafts = [vpc_draft(vpc, reader) for vpc in vpcs]
    reads = reader.fan_out(lambda part: _read(reader, part), PARTS if drafts else ())
    for part, items in zip(PARTS, reads, strict=False):
        for draft in drafts:
            fill_part(draft, part, items)
    reader.fan_out(lambda draft: _read_attributes(reader, draft), drafts)
    return Collected(drafts)


def _read(reader: Reader, part: Part) -> Items | Unread:
    given: dict[str, Any] = {"Filters": list(part.filters)} if part.filters else {}
    return reader.items(part.operation, part.key, page_size=part.page, **given)


def vpc_draft(vpc: Response, reader: Reader) -> Draft[Vpc]:
    """Map one VPC by its place in the list."""
    body = Vpc(
        vpc_id=vpc["VpcId"],
        state=vpc.get("State", ""),
        is_default=vpc.get("IsDefault", False),
        cidrs=sorted(_cidrs(vpc)),
        tags=tag_map(vpc.get("Tags", ())),
    )
    account = reader.account
    arn = f"arn:{account.partition}:ec2:{reader.region}:{account.cloud_account_id}:vpc/"
    return Draft(native_id=body.vpc_id, arn=f"{arn}{body.vpc_id}", body=body)


def _cidrs(vpc: Response) -> Iterable[str]:
    found = {str(each["CidrBlock"]) for each in vpc.get("CidrBlockAssociationSet", ())}
    found.update(str(each["Ipv6CidrBlock"]) for each in vpc.get("Ipv6CidrBlockAssociationSet", ()))
    return found | ({str(vpc["CidrBlock"])} if vpc.get("CidrBlock") else set())


def fill_part(draft: Draft[Vpc], part: Part, items: Items | Unread) -> None:
    """Fill what one bulk read tells of a VPC."""
    if isinstance(items, Unread):
        draft.miss(items, *part.fields)
    else:
        part.fill(draft.body, items)


def _read_attributes(reader: Reader, draft: Draft[Vpc]) -> None:
    vpc = draft.body.vpc_id
    for name, attribute in ATTRIBUTES.items():
        # The parameter begins with a small letter, the answer with a capital one.
        asked = attribute[0].lower() + attribute[1:]
        answer = reader.call(ATTRIBUTE, resource=draft.arn, VpcId=vpc, Attribute=asked)
        fill_attribute(draft, name, attribute, answer)


def fill_attribute(draft: Draft[Vpc], name: str, attribute: str, answer: Answer) -> None:
    """Fill one attribute that EC2 tells of a VPC at a time."""
    if isinstance(answer, Absent):
        return
    if isinstance(answer, Unread):
        draft.miss(answer, name)
    else:
        draft.decide(name, bool(answer.get(attribute, {}).get("Value", False)))


COLLECTOR = Collector(
    "vpc",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
