"""Security groups: what they let through, and what of it the whole internet reaches."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from mesh.aws.outcomes import Outcome
from mesh.aws.reader import Reader, Response, Unread
from secmesh.inventory.v1.ec2_pb2 import PortRange, SecurityGroup, TrafficRule
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, Truth, any_of, tag_map

GROUPS = "ec2:DescribeSecurityGroups"
INTERFACES = "ec2:DescribeNetworkInterfaces"
PREFIXES = "ec2:GetManagedPrefixListEntries"
LISTINGS = (GROUPS,)
OPERATIONS = frozenset((GROUPS, INTERFACES, PREFIXES))
PAGE = 1000
PREFIX_PAGE = 100

WORLD = frozenset({"0.0.0.0/0", "::/0"})
ALL = "-1"
LAST_PORT = 65535
# EC2 gives these protocols by name or by their IANA number.
_PORT_PROTOCOLS = {"tcp": "tcp", "6": "tcp", "udp": "udp", "17": "udp"}

GROUP_FIELDS = (
    "group_id",
    "group_name",
    "description",
    "vpc_id",
    "is_default",
    "ingress",
    "egress",
    "tags",
)
WORLD_FIELDS = ("open_to_world", "open_to_world_all")
INTERFACE_FIELDS = ("attached_enis", "unused")
FIELDS = frozenset((*GROUP_FIELDS, *WORLD_FIELDS, *INTERFACE_FIELDS))

WorldLists = Mapping[str, Truth]
"""By prefix list: whether it holds the whole internet."""


def collect(reader: Reader) -> Collected:
    """Read the groups of one region."""
    groups = reader.items(GROUPS, "SecurityGroups", page_size=PAGE, listing=True)
    if isinstance(groups, Unread):
        return Collected([], groups)
    interfaces = _interfaces(reader)
    listed = sorted(set(_ingress_lists(groups)))
    lists = dict(
        zip(listed, reader.fan_out(lambda name: _holds_world(reader, name), listed), strict=True)
    )
    return Collected([group_draft(group, interfaces, lists) for group in groups])


def _interfaces(reader: Reader) -> Counter[str] | Unread:
    found = reader.picked(
        INTERFACES,
        "NetworkInterfaces",
        lambda interface: [str(group["GroupId"]) for group in interface.get("Groups", ())],
        page_size=PAGE,
    )
    if isinstance(found, Unread):
        return found
    return Counter(group for groups in found for group in set(groups))


def _ingress_lists(groups: Iterable[Response]) -> Iterator[str]:
    for group in groups:
        for permission in group.get("IpPermissions", ()):
            for each in permission.get("PrefixListIds", ()):
                yield each["PrefixListId"]


def _holds_world(reader: Reader, prefix_list: str) -> Truth:
    entries = reader.picked(
        PREFIXES,
        "Entries",
        lambda entry: str(entry.get("Cidr", "")),
        page_size=PREFIX_PAGE,
        resource=prefix_list,
        PrefixListId=prefix_list,
    )
    return entries if isinstance(entries, Unread) else not WORLD.isdisjoint(entries)


def group_draft(
    group: Response, interfaces: Counter[str] | Unread, lists: WorldLists
) -> Draft[SecurityGroup]:
    """Map one group."""
    body = SecurityGroup(
        group_id=group["GroupId"],
        group_name=group["GroupName"],
        description=group.get("Description", ""),
        is_default=group["GroupName"] == "default",
        ingress=traffic_rules(group.get("IpPermissions", ())),
        egress=traffic_rules(group.get("IpPermissionsEgress", ())),
        tags=tag_map(group.get("Tags", ())),
    )
    if vpc := group.get("VpcId"):
        body.vpc_id = vpc
    draft = Draft(native_id=body.group_id, arn=group.get("SecurityGroupArn", ""), body=body)
    if isinstance(interfaces, Unread):
        draft.miss(interfaces, *INTERFACE_FIELDS)
    else:
        body.attached_enis = interfaces[body.group_id]
        body.unused = body.attached_enis == 0
    _fill_world(draft, group.get("IpPermissions", ()), lists)
    return draft


def traffic_rules(permissions: Iterable[Response]) -> list[TrafficRule]:
    """Give one rule for each peer, in an order that does not depend on EC2's."""
    rules = [
        _rule(permission, peer, value)
        for permission in permissions
        for peer, value in _peers(permission)
    ]
    return sorted(rules, key=lambda rule: rule.SerializeToString(deterministic=True))


def _peers(permission: Response) -> Iterator[tuple[str, str]]:
    for field, key, name in (
        ("cidr", "IpRanges", "CidrIp"),
        ("cidr6", "Ipv6Ranges", "CidrIpv6"),
        ("source_group", "UserIdGroupPairs", "GroupId"),
        ("prefix_list", "PrefixListIds", "PrefixListId"),
    ):
        for peer in permission.get(key, ()):
            if value := peer.get(name):
                yield field, value


def _rule(permission: Response, peer: str, value: str) -> TrafficRule:
    rule = TrafficRule(protocol=str(permission["IpProtocol"]))
    setattr(rule, peer, value)
    if rule.protocol != ALL and permission.get("FromPort") is not None:
        rule.from_port = permission["FromPort"]
        rule.to_port = permission["ToPort"]
    return rule


def _fill_world(
    draft: Draft[SecurityGroup], permissions: Iterable[Response], lists: WorldLists
) -> None:
    spans: list[tuple[str, int, int]] = []
    everything: list[Truth] = []
    for permission in permissions:
        span = world_span(permission)
        reached = reaches_world(permission, lists)
        if span is None or reached is False:
            continue
        if isinstance(reached, Unread):
            draft.miss(reached, "open_to_world")
        else:
            spans.append(span)
        if span[0] == ALL:
            everything.append(reached)
    draft.decide("open_to_world_all", any_of(everything))
    if "open_to_world" not in draft.unread:
        draft.body.open_to_world.extend(
            PortRange(protocol=protocol, from_port=first, to_port=last)
            for protocol, first, last in merged(spans)
        )


def reaches_world(permission: Response, lists: WorldLists) -> Truth:
    """Tell whether a permission's peers include the whole internet, IPv4 or IPv6."""
    known: list[Truth] = [value in WORLD for _, value in _peers(permission)]
    unknown = Unread.of(PREFIXES, Outcome.FAILED, "NotRead")
    known.extend(
        lists.get(each["PrefixListId"], unknown) for each in permission.get("PrefixListIds", ())
    )
    return any_of(known)


def world_span(permission: Response) -> tuple[str, int, int] | None:
    """Give protocol and ports of a permission, both ends included; None if it has no ports."""
    protocol = str(permission["IpProtocol"]).lower()
    if protocol == ALL:
        return ALL, 0, LAST_PORT
    name = _PORT_PROTOCOLS.get(protocol)
    if name is None:
        return None
    first, last = permission.get("FromPort"), permission.get("ToPort")
    if first is None or last is None or first == -1:
        return name, 0, LAST_PORT
    return name, first, last


def merged(spans: Iterable[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    """Join spans of one protocol that overlap or touch."""
    joined: list[tuple[str, int, int]] = []
    for protocol, first, last in sorted(spans):
        if joined and joined[-1][0] == protocol and first <= joined[-1][2] + 1:
            joined[-1] = (protocol, joined[-1][1], max(last, joined[-1][2]))
        else:
            joined.append((protocol, first, last))
    return joined


COLLECTOR = Collector(
    "security_groups",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
