"""What of a security group the whole internet reaches."""

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.aws.outcomes import Outcome
from mesh.aws.reader import Unread
from secmesh.inventory.v1.ec2_pb2 import SecurityGroup
from services.inventory.collect.draft import Draft
from services.inventory.collect.security_groups import group_draft, merged

GAP = Unread.of("ec2:GetManagedPrefixListEntries", Outcome.DENIED, "UnauthorizedOperation")
V4 = {"IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
V6 = {"Ipv6Ranges": [{"CidrIpv6": "::/0"}]}
OFFICE = {"IpRanges": [{"CidrIp": "203.0.113.0/24"}]}


def listed(*names: str) -> dict[str, Any]:
    return {"PrefixListIds": [{"PrefixListId": name} for name in names]}


def tcp(first: int | None, last: int | None, **peers: Any) -> dict[str, Any]:
    return {"IpProtocol": "tcp", "FromPort": first, "ToPort": last, **peers}


def draft(*ingress: dict[str, Any], **more: Any) -> Draft[SecurityGroup]:
    group = {"GroupId": "sg-1", "GroupName": "web", "IpPermissions": ingress} | more
    lists: dict[str, bool | Unread] = {"pl-world": True, "pl-office": False, "pl-dark": GAP}
    return group_draft(group, Counter({"sg-1": 2}), lists)


def opened(*ingress: dict[str, Any]) -> list[tuple[str, int, int]]:
    body = draft(*ingress).body
    return [(each.protocol, each.from_port, each.to_port) for each in body.open_to_world]


@pytest.mark.parametrize(
    ("permission", "expected"),
    [
        (tcp(22, 22, **V4), [("tcp", 22, 22)]),
        (tcp(22, 22, **V6), [("tcp", 22, 22)]),
        (tcp(22, 22, **OFFICE), []),
        (tcp(22, 22), []),
        (tcp(3000, 4000, **V4), [("tcp", 3000, 4000)]),
        (tcp(None, None, **V4), [("tcp", 0, 65535)]),
        (tcp(-1, -1, **V4), [("tcp", 0, 65535)]),
        ({"IpProtocol": "-1", **V4}, [("-1", 0, 65535)]),
        ({"IpProtocol": "-1", "FromPort": 22, "ToPort": 22, **V4}, [("-1", 0, 65535)]),
        ({"IpProtocol": "6", "FromPort": 1, "ToPort": 2, **V4}, [("tcp", 1, 2)]),
        ({"IpProtocol": "17", "FromPort": 53, "ToPort": 53, **V6}, [("udp", 53, 53)]),
        ({"IpProtocol": "icmp", "FromPort": -1, "ToPort": -1, **V4}, []),
        ({"IpProtocol": "icmpv6", "FromPort": -1, "ToPort": -1, **V6}, []),
        ({"IpProtocol": "47", **V4}, []),
        (tcp(22, 22, **listed("pl-world")), [("tcp", 22, 22)]),
        (tcp(22, 22, **listed("pl-office")), []),
        (tcp(22, 22, UserIdGroupPairs=[{"GroupId": "sg-2"}]), []),
    ],
)
def test_one_permission(permission: dict[str, Any], expected: list[tuple[str, int, int]]) -> None:
    assert opened(permission) == expected
    everything = expected == [("-1", 0, 65535)]
    assert draft(permission).body.open_to_world_all is everything


def test_all_ports_of_one_protocol_are_not_everything() -> None:
    body = draft(tcp(0, 65535, **V4)).body
    assert opened(tcp(0, 65535, **V4)) == [("tcp", 0, 65535)]
    assert not body.open_to_world_all


def test_an_unread_prefix_list_leaves_open_what_it_would_decide() -> None:
    found = draft(tcp(22, 22, **listed("pl-dark")), tcp(443, 443, **V4))
    assert found.unread == {"open_to_world": GAP}
    assert not found.body.open_to_world
    # Only a rule for all protocols could open everything.
    assert found.body.HasField("open_to_world_all")
    assert not found.body.open_to_world_all


def test_an_unread_prefix_list_of_all_traffic_leaves_both_open() -> None:
    found = draft({"IpProtocol": "-1", **listed("pl-dark")})
    assert found.unread.keys() == {"open_to_world", "open_to_world_all"}
    known = draft({"IpProtocol": "-1", **listed("pl-dark")}, {"IpProtocol": "-1", **V4})
    assert known.unread.keys() == {"open_to_world"}
    assert known.body.open_to_world_all


def test_an_unread_prefix_list_beside_the_world_changes_nothing() -> None:
    found = draft(tcp(22, 22, **V4, **listed("pl-dark")))
    assert not found.unread
    assert [each.from_port for each in found.body.open_to_world] == [22]


def test_rules_have_one_peer_each_and_an_order_of_their_own() -> None:
    one = tcp(22, 22, **V4, **V6, **listed("pl-office"))
    two = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": "sg-2"}]}
    body = draft(one, two).body
    assert body == draft(two, one).body
    assert len(body.ingress) == 4
    (everything,) = (rule for rule in body.ingress if rule.source_group)
    assert not everything.HasField("from_port")
    assert {rule.cidr6 for rule in body.ingress if rule.HasField("cidr6")} == {"::/0"}


def test_interfaces_are_counted_or_unread() -> None:
    assert (draft().body.attached_enis, draft().body.unused) == (2, False)
    group = {"GroupId": "sg-9", "GroupName": "default"}
    alone = group_draft(group, Counter(), {}).body
    assert (alone.attached_enis, alone.unused, alone.is_default) == (0, True, True)
    assert group_draft(group, GAP, {}).unread == {"attached_enis": GAP, "unused": GAP}


ports = st.integers(0, 65535)
spans = st.builds(
    lambda protocol, first, last: (protocol, min(first, last), max(first, last)),
    st.sampled_from(["tcp", "udp"]),
    ports,
    ports,
)


def covered(found: list[tuple[str, int, int]]) -> set[tuple[str, int]]:
    """Give the ends of all spans and their neighbours that are covered."""
    edges = {edge for _, *ends in found for end in ends for edge in (end - 1, end, end + 1)}
    return {
        (protocol, edge)
        for protocol, first, last in found
        for edge in edges
        if first <= edge <= last
    }


@given(st.lists(spans, max_size=12))
def test_merging_keeps_the_ports_and_leaves_gaps_between(
    found: list[tuple[str, int, int]],
) -> None:
    joined = merged(found)
    for protocol, first, last in found:
        assert any(p == protocol and f <= first and last <= t for p, f, t in joined)
    for (p1, _, last), (p2, first, _) in pairwise(joined):
        assert p1 < p2 or last + 1 < first
    # Nothing is added: each joined port is one of the given.
    for protocol, edge in covered(joined):
        assert any(p == protocol and f <= edge <= t for p, f, t in found)
    assert merged(reversed(joined)) == joined
