"""What is made of RDS's answers: who reaches a database, and what it demands."""

from typing import Any

import pytest

from mesh.aws.outcomes import Outcome
from mesh.aws.reader import Absent, Unread
from secmesh.inventory.v1.ec2_pb2 import PortRange, SecurityGroup
from secmesh.inventory.v1.rds_pb2 import RdsInstance, RdsSnapshot
from services.inventory.collect import rds_instances, rds_reach, rds_snapshots
from services.inventory.collect.derive import NOT_IN_ACCOUNT
from services.inventory.collect.draft import Draft
from services.inventory.collect.rds_parameters import Group, TlsRule, group_of, rule_of
from services.inventory.collect.source import NOT_COLLECTED, Source

REGION = "eu-west-1"
ARN = f"arn:aws:rds:{REGION}:111111111111:db:one"
DENIED = Unread.of("ec2:DescribeSecurityGroups", Outcome.DENIED, "UnauthorizedOperation")
PREFIXES = Unread.of("ec2:GetManagedPrefixListEntries", Outcome.DENIED, "UnauthorizedOperation")


def group(name: str, *spans: tuple[str, int, int], unread: Unread | None = None) -> Draft[Any]:
    body = SecurityGroup(
        group_id=name,
        open_to_world=[PortRange(protocol=p, from_port=a, to_port=b) for p, a, b in spans],
    )
    made = Draft(native_id=name, body=body)
    if unread is not None:
        made.miss(unread, "open_to_world")
    return made


def reached(source: Source, **facts: Any) -> Draft[RdsInstance]:
    told = {"publicly_accessible": True, "routed_to_internet": True, "port": 5432} | facts
    body = RdsInstance(security_groups=["sg-1"], **told)
    draft = Draft(native_id="one", arn=ARN, body=body)
    rds_reach.fill_public([draft], {rds_reach.GROUPS: source})
    return draft


@pytest.mark.parametrize(
    ("spans", "facts", "expected"),
    [
        ([("tcp", 5432, 5432)], {}, True),
        ([("-1", 0, 65535)], {}, True),
        ([("tcp", 5000, 6000)], {}, True),
        ([("udp", 5432, 5432)], {}, False),
        ([("tcp", 5433, 5433)], {}, False),
        ([("tcp", 443, 443)], {"port": None}, True),
        ([], {}, False),
        ([("tcp", 5432, 5432)], {"publicly_accessible": False}, False),
        ([("tcp", 5432, 5432)], {"routed_to_internet": False}, False),
    ],
)
def test_who_reaches_a_database(spans: Any, facts: Any, expected: bool) -> None:
    found = reached(Source([group("sg-1", *spans)], {REGION}), **facts)
    assert found.body.HasField("public")
    assert found.body.public is expected


@pytest.mark.parametrize(
    ("source", "code"),
    [
        (Source([], {REGION}), NOT_IN_ACCOUNT),
        (Source(), NOT_COLLECTED),
        (Source([], set(), {REGION: DENIED}), DENIED.code),
        (Source([group("sg-1", unread=PREFIXES)], {REGION}), PREFIXES.code),
    ],
)
def test_what_is_not_known_of_a_group_is_not_guessed(source: Source, code: str) -> None:
    found = reached(source)
    assert found.unread["public"].code == code
    assert not found.body.HasField("public")
    # What has no public address is reached by nobody, whatever its groups say.
    assert reached(source, publicly_accessible=False).body.HasField("public")


MAIN = {
    "VpcId": "vpc-1",
    "Associations": [{"Main": True}],
    "Routes": [{"GatewayId": "igw-1", "DestinationCidrBlock": "0.0.0.0/0"}],
}
OWN = {"VpcId": "vpc-1", "Associations": [{"SubnetId": "s-1"}], "Routes": [{"GatewayId": "local"}]}
OTHER = {"VpcId": "vpc-2", "Associations": [{"Main": True}], "Routes": []}


@pytest.mark.parametrize(
    ("tables", "expected"),
    [([MAIN, OTHER], True), ([OTHER, MAIN], True), ([MAIN, OWN], False), ([OTHER], False)],
)
def test_a_subnet_has_its_own_route_table_or_the_main_one(tables: Any, expected: bool) -> None:
    subnets = {"VpcId": "vpc-1", "Subnets": [{"SubnetIdentifier": "s-1"}]}
    instance = {"DBSubnetGroup": subnets}
    body = RdsInstance(publicly_accessible=True, vpc_id="vpc-1")
    draft = Draft(native_id="one", body=body)
    rds_instances.fill_route(draft, instance, tables)
    assert draft.body.routed_to_internet is expected


@pytest.mark.parametrize(
    ("engine", "rule"),
    [
        ("postgres", TlsRule("rds.force_ssl")),
        ("sqlserver-ex", TlsRule("rds.force_ssl")),
        ("mariadb", TlsRule("require_secure_transport")),
        ("aurora-mysql", TlsRule("require_secure_transport", of_cluster=True)),
        ("oracle-ee", None),
        ("postgresql", None),
    ],
)
def test_engines_have_their_parameter(engine: str, rule: TlsRule | None) -> None:
    assert rule_of(engine) == rule


def test_the_group_of_a_member_is_its_clusters() -> None:
    member = {"DBClusterIdentifier": "c", "DBParameterGroups": [{"DBParameterGroupName": "own"}]}
    rule = TlsRule("rds.force_ssl", of_cluster=True)
    assert group_of(member, rule, {"c": {"DBClusterParameterGroup": "shared"}}) == Group("shared")
    assert group_of(member, rule, {}) == Group()
    assert group_of(member, rule, DENIED) == Group(unread=DENIED)
    assert group_of(member, TlsRule("rds.force_ssl"), {}) == Group("own")


@pytest.mark.parametrize(("answer", "known"), [(True, True), (False, True), (None, False)])
def test_a_parameter_that_is_unknown_leaves_no_mark(answer: bool | None, known: bool) -> None:
    draft = Draft(native_id="one", body=RdsInstance())
    rds_instances.fill_tls(draft, TlsRule("rds.force_ssl"), answer)
    assert draft.body.HasField("tls_required") is draft.body.HasField("tls_parameter") is known
    assert draft.body.tls_required is bool(answer)
    assert not draft.unread


def shares(answer: Any) -> Draft[RdsSnapshot]:
    draft = Draft(native_id="one", body=RdsSnapshot())
    rds_snapshots.fill_shares(draft, rds_snapshots.OF_CLUSTERS, answer)
    return draft


def test_a_snapshot_is_public_if_all_may_restore_it() -> None:
    attributes = [
        {"AttributeName": "restore", "AttributeValues": ["222222222222", "all"]},
        {"AttributeName": "other", "AttributeValues": ["333333333333"]},
    ]
    result = {"DBClusterSnapshotAttributes": attributes}
    body = shares({"DBClusterSnapshotAttributesResult": result}).body
    assert body.public
    assert body.shared_with == ["222222222222"]
    gone = shares(Absent("DBClusterSnapshotNotFoundFault")).body
    assert gone.HasField("public")
    assert not gone.public
    assert shares(DENIED).unread.keys() == {"public", "shared_with"}
