"""What is made of EC2's answers about instances and disks, and whom they are open to."""

from datetime import UTC, datetime
from typing import Any

import pytest

from mesh.aws.outcomes import Outcome
from mesh.aws.reader import Unread
from secmesh.inventory.v1.ec2_pb2 import PortRange, SecurityGroup
from services.inventory.collect.draft import Draft
from services.inventory.collect.ebs_snapshots import snapshot_draft
from services.inventory.collect.ebs_volumes import volume_draft
from services.inventory.collect.ec2_instances import fill_templates, instance_draft, tokens_of
from services.inventory.collect.ec2_reach import GROUPS, fill_exposed
from services.inventory.collect.source import Source

PREFIX = "arn:aws:ec2:us-east-1:111111111111:instance/"
DENIED = Unread.of("ec2:Any", Outcome.DENIED, "UnauthorizedOperation")
FROM = {"Tags": [{"Key": "aws:ec2launchtemplate:id", "Value": "lt-1"}]}
HTTPS = PortRange(protocol="tcp", from_port=443, to_port=443)


def draft(**members: Any) -> Draft[Any]:
    return instance_draft({"InstanceId": "i-1", "State": {"Name": "running"}, **members}, PREFIX)


def version(**data: Any) -> tuple[str, str]:
    return tokens_of({"LaunchTemplateId": "lt-1", "LaunchTemplateData": data})


def test_an_instance_that_is_being_made_has_little() -> None:
    found = draft(LaunchTime=datetime(2026, 1, 1, tzinfo=UTC))
    assert (found.native_id, found.arn) == ("i-1", f"{PREFIX}i-1")
    for name in ("vpc_id", "subnet_id", "iam_profile", "key_name", "platform", "http_hop_limit"):
        assert not found.body.HasField(name)
    # What AWS says nothing of is as it was before there was a choice.
    assert (found.body.http_tokens, found.body.http_endpoint) == ("optional", "enabled")
    assert not found.body.monitoring


def test_addresses_of_all_interfaces_count() -> None:
    second = {"Association": {"PublicIp": "198.51.100.2"}}
    interfaces = [
        {"Groups": [{"GroupId": "sg-2"}], "Association": {"PublicIp": "198.51.100.3"}},
        {
            "Groups": [{"GroupId": "sg-1"}],
            "PrivateIpAddresses": [{"PrivateIpAddress": "10.0.0.1"}, second],
            "Ipv6Addresses": [{"Ipv6Address": "2001:db8::1"}],
        },
    ]
    found = draft(
        NetworkInterfaces=interfaces,
        PublicIpAddress="198.51.100.3",
        SecurityGroups=[{"GroupId": "sg-2"}],
    ).body
    assert found.public_ips == ["198.51.100.2", "198.51.100.3"]
    assert found.ipv6_addresses == ["2001:db8::1"]
    assert found.security_groups == ["sg-1", "sg-2"]


@pytest.mark.parametrize(
    ("said", "tokens"),
    [
        ({"required"}, "required"),
        ({"optional"}, "optional"),
        ({"required", "optional"}, "optional"),
        ({"", "optional"}, "optional"),
        ({"", "required"}, ""),
        ({""}, ""),
        (None, ""),
    ],
)
def test_what_a_template_says(said: set[str] | None, tokens: str) -> None:
    found = draft(**FROM)
    fill_templates([found], {} if said is None else {"lt-1": said})
    assert found.body.template_http_tokens == tokens
    assert found.body.HasField("template_http_tokens") is bool(tokens)
    assert not found.unread


def test_templates_that_were_not_read_concern_those_that_come_from_one() -> None:
    found, other = draft(**FROM), draft()
    fill_templates([found, other], DENIED)
    assert found.unread == {"template_http_tokens": DENIED}
    assert not other.unread


def test_of_a_template_nothing_else_is_kept() -> None:
    assert version(UserData="aHVudGVyMg==") == ("lt-1", "")
    assert version(MetadataOptions={"HttpTokens": "required"}) == ("lt-1", "required")


def group(name: str, *ranges: PortRange, unread: Unread | None = None) -> Draft[Any]:
    made = Draft(native_id=name, body=SecurityGroup(group_id=name, open_to_world=ranges))
    if unread is not None:
        made.miss(unread, "open_to_world")
    return made


@pytest.mark.parametrize(
    ("address", "groups", "exposed"),
    [
        ("198.51.100.3", [group("sg-1", HTTPS)], True),
        ("198.51.100.3", [group("sg-1")], False),
        ("", [group("sg-1", HTTPS)], False),
        # Without a public address it does not matter what was not read.
        ("", [group("sg-1", unread=DENIED)], False),
        ("198.51.100.3", [group("sg-1", unread=DENIED)], None),
        ("198.51.100.3", [], None),
    ],
)
def test_who_is_exposed(address: str, groups: list[Draft[Any]], exposed: bool | None) -> None:
    found = draft(PublicIpAddress=address, SecurityGroups=[{"GroupId": "sg-1"}])
    fill_exposed([found], {GROUPS: Source(groups, {"us-east-1"})})
    if exposed is None:
        assert found.unread.keys() == {"exposed"}
    else:
        assert found.body.exposed is exposed


def snapshot(shared: Any, block: Any) -> Draft[Any]:
    listed = {"SnapshotId": "snap-1", "VolumeId": "vol-1"}
    return snapshot_draft(listed, "arn:aws:ec2:us-east-1::snapshot/", shared, block)


@pytest.mark.parametrize(
    ("shared", "block", "public"),
    [
        ({"snap-1"}, {"State": "unblocked"}, True),
        ({"snap-1"}, {"State": "block-new-sharing"}, True),
        ({"snap-1"}, {"State": "block-all-sharing"}, False),
        ({"snap-2"}, {"State": "unblocked"}, False),
        (frozenset(), {}, False),
        # One that is not shared is not public whatever the region says.
        ({"snap-2"}, DENIED, False),
        (DENIED, {"State": "block-all-sharing"}, False),
        ({"snap-1"}, DENIED, None),
        (DENIED, {"State": "unblocked"}, None),
    ],
)
def test_who_restores_a_snapshot(shared: Any, block: Any, public: bool | None) -> None:
    found = snapshot(shared, block)
    if public is None:
        assert found.unread["public"] is DENIED
    else:
        assert found.body.public is public
        assert "public" not in found.unread
    assert found.arn == "arn:aws:ec2:us-east-1::snapshot/snap-1"


@pytest.mark.parametrize(
    ("attachments", "instances"),
    [
        ([], []),
        ([{"State": "detached", "InstanceId": "i-1"}], []),
        ([{"State": "attached", "InstanceId": "i-2"}, {"InstanceId": "i-1"}], ["i-1", "i-2"]),
        # What a service of AWS's attaches may be no instance.
        ([{"State": "attached", "AssociatedResource": "arn:aws:ecs:::task/t"}], None),
    ],
)
def test_what_a_volume_is_attached_to(attachments: Any, instances: list[str] | None) -> None:
    found = volume_draft({"VolumeId": "vol-1", "Attachments": attachments}, "arn:").body
    expected = ["arn:aws:ecs:::task/t"] if instances is None else instances
    assert found.instances == expected
    assert found.attached is bool(expected)
    assert not found.HasField("kms_key_id")
    assert not found.HasField("snapshot_id")
