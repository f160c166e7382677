"""What is made of EC2's answers about VPCs, subnets and network ACLs."""

from typing import Any

import pytest

from mesh.aws.outcomes import Outcome
from mesh.aws.reader import Unread
from secmesh.inventory.v1.vpc_pb2 import Vpc
from services.inventory.collect.draft import Draft
from services.inventory.collect.network_acls import admits_admin_ports
from services.inventory.collect.subnets import subnet_draft
from services.inventory.collect.vpcs import PARTS, fill_attribute, fill_part

VPC = "vpc-1"
DENIED = Unread.of("ec2:DescribeFlowLogs", Outcome.DENIED, "UnauthorizedOperation")


def rule(number: int, action: str, first: int = 0, last: int = 65535, **more: Any) -> Any:
    return {
        "RuleNumber": number,
        "RuleAction": action,
        "Protocol": "6",
        "CidrBlock": "0.0.0.0/0",
        "PortRange": {"From": first, "To": last},
        "Egress": False,
    } | more


@pytest.mark.parametrize(
    ("entries", "admitted"),
    [
        ([], False),
        ([rule(100, "allow")], True),
        ([rule(100, "allow", Protocol="-1", PortRange=None)], True),
        ([rule(100, "allow", Protocol="17")], False),
        ([rule(100, "allow", 80, 443)], False),
        ([rule(100, "allow", 3389, 3389)], True),
        ([rule(100, "allow", CidrBlock=None, Ipv6CidrBlock="::/0")], True),
        ([rule(100, "allow", CidrBlock="203.0.113.0/24")], False),
        ([rule(100, "allow", Egress=True)], False),
        ([rule(100, "allow"), rule(10, "deny", 22, 22), rule(11, "deny", 3389, 3389)], False),
        ([rule(100, "allow"), rule(10, "deny", 22, 22)], True),
        ([rule(5, "allow", 22, 22), rule(10, "deny")], True),
    ],
)
def test_the_first_rule_that_matches_decides(entries: list[Any], admitted: bool) -> None:
    assert admits_admin_ports(entries) is admitted


def filled(key: str, *items: Any) -> Vpc:
    draft = Draft(native_id=VPC, body=Vpc(vpc_id=VPC))
    (part,) = [part for part in PARTS if part.key == key]
    fill_part(draft, part, list(items))
    return draft.body


@pytest.mark.parametrize(
    ("log", "active"),
    [
        ({"TrafficType": "ALL", "FlowLogStatus": "ACTIVE"}, True),
        ({"TrafficType": "REJECT", "FlowLogStatus": "ACTIVE"}, True),
        ({"TrafficType": "ACCEPT", "FlowLogStatus": "ACTIVE"}, False),
        ({"TrafficType": "ALL", "FlowLogStatus": "FAILED"}, False),
        ({"TrafficType": "ALL", "FlowLogStatus": "ACTIVE", "ResourceId": "vpc-2"}, False),
    ],
)
def test_flow_logs_that_count(log: dict[str, str], active: bool) -> None:
    body = filled("FlowLogs", {"ResourceId": VPC, "FlowLogId": "fl-1"} | log)
    assert body.flow_logs_active is active


@pytest.mark.parametrize(
    ("group", "closed"),
    [
        ({}, True),
        ({"IpPermissions": [{}]}, False),
        ({"IpPermissionsEgress": [{}]}, False),
        ({"IpPermissions": [{}], "VpcId": "vpc-2"}, True),
    ],
)
def test_a_default_group_that_is_closed(group: dict[str, Any], closed: bool) -> None:
    assert filled("SecurityGroups", {"VpcId": VPC} | group).default_group_closed is closed


def test_only_what_is_of_the_network_counts() -> None:
    assert filled("VpcPeeringConnections", *_peerings()).peerings == [
        "pcx-1",
        "pcx-2",
    ]
    routes = {"VpcId": VPC, "Routes": [{"GatewayId": "local"}, {"NatGatewayId": "nat-1"}]}
    assert not filled("RouteTables", routes).routed_to_internet
    gone = {"VpcId": VPC, "NatGatewayId": "nat-1", "State": "deleted"}
    assert not filled("NatGateways", gone).nat_gateways


def _peerings() -> list[dict[str, Any]]:
    def peering(number: int, code: str, **sides: str) -> dict[str, Any]:
        found: dict[str, Any] = {side: {"VpcId": vpc} for side, vpc in sides.items()}
        return found | {"VpcPeeringConnectionId": f"pcx-{number}", "Status": {"Code": code}}

    return [
        peering(2, "active", AccepterVpcInfo=VPC),
        peering(1, "active", RequesterVpcInfo=VPC),
        peering(3, "deleted", RequesterVpcInfo=VPC),
        peering(4, "active", RequesterVpcInfo="vpc-2"),
    ]


def test_gaps_are_marked() -> None:
    draft = Draft(native_id=VPC, body=Vpc(vpc_id=VPC))
    fill_part(draft, PARTS[0], DENIED)
    fill_attribute(draft, "dns_support", "EnableDnsSupport", DENIED)
    fill_attribute(draft, "dns_hostnames", "EnableDnsHostnames", {})
    assert draft.unread.keys() == {"flow_logs", "flow_logs_active", "dns_support"}
    assert not draft.body.HasField("dns_support")
    assert draft.body.HasField("dns_hostnames")


def test_a_subnet_of_ipv6_alone_has_no_range_of_ipv4() -> None:
    body = subnet_draft({"SubnetId": "s", "VpcId": VPC, "MapPublicIpOnLaunch": True}).body
    assert not body.HasField("cidr")
    assert body.map_public_ip
