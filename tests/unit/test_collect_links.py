"""What is made of answers about zones, machines, VPN connections and direct lines."""

from typing import Any

import pytest

from mesh.aws.outcomes import Outcome
from mesh.aws.reader import Unread
from secmesh.inventory.v1.route53_pb2 import HostedZone
from secmesh.inventory.v1.ssm_pb2 import SsmNode
from secmesh.inventory.v1.vpn_pb2 import VpnConnection
from services.inventory.collect import direct_connections, hosted_zones, ssm_patch
from services.inventory.collect.batches import batches
from services.inventory.collect.direct_connections import VPN
from services.inventory.collect.draft import Draft
from services.inventory.collect.source import NOT_COLLECTED, Source
from services.inventory.collect.vpn_connections import (
    connection_draft,
    weak_options,
    without_keys,
)

DENIED = Unread.of("ec2:DescribeVpnConnections", Outcome.DENIED, "UnauthorizedOperation")
PLACE = "eu-west-1:111111111111"
GATEWAY = "11111111-2222-3333-4444-555555555555"


def tunnel(**changes: Any) -> VpnConnection.Tunnel:
    told: dict[str, Any] = {
        "ike_versions": ["ikev2"],
        "phase1_integrity": ["SHA2-256"],
        "phase2_integrity": ["SHA2-512"],
        "phase1_groups": [14],
        "phase2_groups": [20, 24],
    }
    return VpnConnection.Tunnel(**(told | changes))


@pytest.mark.parametrize(
    ("changes", "weak"),
    [
        ({}, set()),
        ({"phase1_encryption": ["AES128"]}, set()),
        ({"ike_versions": ["ikev1", "ikev2"]}, {"ikev1"}),
        ({"ike_versions": []}, {"ikev1"}),
        ({"phase2_integrity": ["SHA1"]}, {"SHA1"}),
        ({"phase1_integrity": []}, {"SHA1"}),
        ({"phase2_groups": [2, 14]}, {"DH2"}),
        ({"phase1_groups": []}, {"DH2", "DH5"}),
    ],
)
def test_what_a_tunnel_should_not_admit(changes: Any, weak: set[str]) -> None:
    assert weak_options([tunnel(), tunnel(**changes)]) == weak


CONNECTION: dict[str, Any] = {
    "VpnConnectionId": "vpn-1",
    "State": "available",
    "CustomerGatewayId": "cgw-1",
    "CustomerGatewayConfiguration": "hunter2",
    "PreSharedKeyArn": "arn:aws:secretsmanager:hunter2",
    "Options": {
        "TransportTransitGatewayAttachmentId": "tgw-attach-1",
        "TunnelOptions": [{"OutsideIpAddress": "192.0.2.1", "PreSharedKey": "hunter2"}],
    },
    "VgwTelemetry": [{"OutsideIpAddress": "192.0.2.1", "Status": "UP"}],
}


def vpn(**changes: Any) -> Draft[VpnConnection]:
    told = {"addresses": {"cgw-1": "198.51.100.1"}, "carriers": {"tgw-attach-1": GATEWAY}} | changes
    return connection_draft(without_keys(CONNECTION), PLACE, told["addresses"], told["carriers"])


def test_keys_of_a_vpn_are_dropped() -> None:
    assert "hunter2" not in repr(without_keys(CONNECTION))
    body = vpn().body
    assert (body.tunnels_up, body.customer_address) == (1, "198.51.100.1")
    assert body.direct_connect_gateway_id == GATEWAY


def test_what_is_not_known_of_a_vpn_is_marked() -> None:
    found = vpn(addresses=DENIED, carriers=DENIED)
    assert found.unread.keys() == {"customer_address", "direct_connect_gateway_id"}
    assert not vpn(addresses={}, carriers={}).unread
    bare = connection_draft(without_keys({"VpnConnectionId": "vpn-2"}), PLACE, DENIED, DENIED)
    assert not bare.unread
    assert not bare.body.HasField("tunnels_up")


def line(*interfaces: dict[str, Any]) -> Draft[Any]:
    told = {"connectionId": "dxcon-1", "connectionState": "available"}
    draft = direct_connections.connection_draft(told, "arn:aws:directconnect:eu-west-1", "1")
    listed = [{"connectionId": "dxcon-1", "virtualInterfaceId": "v", **each} for each in interfaces]
    direct_connections.fill_interfaces(draft, map(direct_connections.without_keys, listed))
    return draft


TRANSIT = {"directConnectGatewayId": GATEWAY}
REGION = "eu-west-1"


@pytest.mark.parametrize(
    ("interfaces", "vpns", "expected"),
    [
        ([TRANSIT], Source([vpn()], {REGION}), True),
        ([TRANSIT], Source([vpn(carriers={})], {REGION}), False),
        ([TRANSIT], Source([vpn(carriers=DENIED)], {REGION}), DENIED.code),
        ([TRANSIT], Source([], {REGION}, {"us-east-1": DENIED}), DENIED.code),
        ([TRANSIT], Source([vpn()], set(), {REGION: DENIED}), True),
        ([TRANSIT], Source(), NOT_COLLECTED),
        ([{"virtualGatewayId": "vgw-1"}], Source(), False),
        ([{**TRANSIT, "virtualInterfaceState": "deleted"}], Source([vpn()], {REGION}), False),
        ([{**TRANSIT, "connectionId": "dxcon-2"}], Source([vpn()], {REGION}), False),
    ],
)
def test_whether_a_vpn_runs_over_a_line(
    interfaces: Any, vpns: Source, expected: bool | str
) -> None:
    draft = line(*interfaces)
    direct_connections.fill_overlay([draft], {VPN: vpns})
    if isinstance(expected, bool):
        assert draft.body.HasField("vpn_overlay")
        assert draft.body.vpn_overlay is expected
    else:
        assert draft.unread["vpn_overlay"].code == expected


def test_a_vpn_whose_tunnels_are_down_encrypts_nothing() -> None:
    down = vpn()
    down.body.tunnels_up = 0
    draft = line(TRANSIT)
    direct_connections.fill_overlay([draft], {VPN: Source([down], {REGION})})
    assert not draft.body.vpn_overlay


def test_interfaces_that_are_not_told_leave_the_overlay_open() -> None:
    draft = line()
    direct_connections.fill_interfaces(draft, DENIED)
    direct_connections.fill_overlay([draft], {VPN: Source([vpn()], {REGION})})
    assert draft.unread.keys() == {"virtual_interfaces", "vpn_overlay"}


@pytest.mark.parametrize(
    ("told", "authenticated"),
    [
        ({"authKey": "hunter2"}, True),
        ({"bgpPeers": [{"authKey": "hunter2"}, {"authKey": "hunter3"}]}, True),
        ({"authKey": "hunter2", "bgpPeers": [{"authKey": "hunter2"}, {}]}, False),
        ({}, False),
    ],
)
def test_each_peer_needs_a_key_that_is_dropped(told: Any, authenticated: bool) -> None:
    assert "hunter" not in repr(direct_connections.without_keys(told))
    assert line(told).body.virtual_interfaces[0].bgp_authenticated is authenticated


def nodes(states: Any, listed: Any) -> dict[str, Draft[SsmNode]]:
    found = ssm_patch.node_drafts(states, listed, "arn:aws", PLACE)
    return {draft.native_id: draft for draft in found}


KNOWN = [
    {"InstanceId": "i-1", "PingStatus": "Online", "IsLatestVersion": False},
    {"InstanceId": "i-9", "PingStatus": "ConnectionLost"},
    {"InstanceId": "mi-1"},
]


def test_machines_of_both_lists() -> None:
    found = nodes({"i-1": "running", "i-2": "stopped"}, KNOWN)
    # What has ended in EC2 is no machine any more.
    assert found.keys() == {"i-1", "i-2", "mi-1"}
    one, two, elsewhere = (found[name].body for name in ("i-1", "i-2", "mi-1"))
    assert (one.instance_state, one.ping_status, one.agent_latest) == ("running", "Online", False)
    assert (two.managed, two.HasField("ping_status")) == (False, False)
    assert (elsewhere.ping_status, elsewhere.HasField("instance_state")) == ("Inactive", False)
    assert not elsewhere.HasField("agent_latest")
    assert found["i-2"].arn == "arn:aws:ec2:eu-west-1:111111111111:instance/i-2"


def test_machines_of_one_list_when_the_other_is_denied() -> None:
    found = nodes(DENIED, KNOWN)
    assert found.keys() == {"i-1", "i-9", "mi-1"}
    assert found["i-9"].unread.keys() == {"instance_state"}
    assert not found["mi-1"].unread
    (one,) = nodes({"i-1": "running"}, DENIED).values()
    assert one.unread.keys() == {*ssm_patch.NODE_FIELDS, *ssm_patch.PATCH_FIELDS}
    assert one.body.instance_state == "running"


def test_a_machine_that_is_being_scanned_has_no_time() -> None:
    body = SsmNode()
    ssm_patch.fill_patches(body, {"BaselineId": "pb-1", "CriticalNonCompliantCount": 1})
    assert (body.critical_noncompliant_count, body.security_noncompliant_count) == (1, 0)
    assert not body.HasField("last_scan_time")


def test_little_is_told_of_a_zone() -> None:
    body = hosted_zones.zone_draft({"Id": "/hostedzone/Z1", "Name": "a."}, "aws-cn").body
    assert (body.zone_id, body.private, body.record_count) == ("Z1", False, 0)
    hosted_zones.fill_zone(body, {"HostedZone": {}})
    hosted_zones.fill_dnssec(body, None)
    assert body == HostedZone(zone_id="Z1", zone_name="a.", private=False, record_count=0)


def test_lists_are_cut() -> None:
    assert batches([1, 2, 3, 4, 5], 2) == [[1, 2], [3, 4], [5]]
    assert batches([], 2) == []
