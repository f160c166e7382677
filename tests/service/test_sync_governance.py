"""Identity Center, Config, GuardDuty and Security Hub in accounts that differ from the sample."""

import pytest

from mesh.embedded.aws import AwsEndpoint
from mesh.embedded.aws_canned import Canned
from mesh.embedded.aws_faults import Fault
from secmesh.inventory.v1.sync_pb2 import Sync
from services.inventory.collect.sso_instances import NOT_OWNER
from tests.service.collect_world import World, body_of, by, gaps
from tests.service.test_sync_history import SAMPLE

KINDS = (
    *("sso", "permission_sets", "config_rules", "config_recorders"),
    *("config_conformance_packs", "guardduty", "security_hub"),
)


@pytest.fixture
def canned(aws: AwsEndpoint, monkeypatch: pytest.MonkeyPatch) -> Canned:
    """The endpoint's answers; what a test changes of them is as it was afterwards."""
    monkeypatch.setattr(aws.canned, "answers", dict(aws.canned.answers))
    monkeypatch.setattr(aws.canned, "page", aws.canned.page)
    return aws.canned


async def test_pages_of_two_tell_what_whole_ones_do(collecting: World, canned: Canned) -> None:
    await collecting.sync(*KINDS)
    before = await collecting.content()
    assert {kind: len(before[kind]) for kind in KINDS} == {kind: SAMPLE[kind] for kind in KINDS}
    canned.page = 2
    sync = await collecting.sync(*KINDS)
    assert sync.state == Sync.STATE_SUCCEEDED
    assert await collecting.content() == before


async def test_an_instance_of_another_account(collecting: World, canned: Canned) -> None:
    instance = {"InstanceArn": "arn:aws:sso:::instance/ssoins-1", "OwnerAccountId": "999999999999"}
    told = {**instance, "IdentityStoreId": "d-1", "PrimaryRegion": "eu-west-1"}
    canned.put("sso-admin:ListInstances", {"Instances": [told]})
    sync = await collecting.sync("iam_users", "sso", "permission_sets")
    assert sync.state == Sync.STATE_SUCCEEDED
    assert not await collecting.rows("permission_sets")
    (record,) = (await collecting.rows("sso")).values()
    assert record.region == "eu-west-1"
    assert not body_of(record).owned
    assert body_of(record).console_users == 3
    assert {name: gap.code for name, gap in gaps(record).items()} == {
        "users": NOT_OWNER,
        "groups": NOT_OWNER,
        "access_control_attributes": NOT_OWNER,
    }


async def test_a_permission_set_that_went_away_meanwhile(collecting: World, canned: Canned) -> None:
    await collecting.sync("permission_sets")
    gone = Fault(400, "ResourceNotFoundException", "no such permission set")
    canned.put("sso-admin:DescribePermissionSet", gone)
    sync = await collecting.sync("permission_sets")
    assert sync.state == Sync.STATE_SUCCEEDED
    assert sync.progress.rows_closed == SAMPLE["permission_sets"]


async def test_services_that_are_off(collecting: World, canned: Canned) -> None:
    await collecting.sync(*KINDS)
    off = Fault(401, "InvalidAccessException", "not subscribed to AWS Security Hub")
    canned.put("securityhub:DescribeHub", off)
    canned.put("guardduty:ListDetectors", {"DetectorIds": []})
    canned.put("config:DescribeConfigurationRecorders", {"ConfigurationRecorders": []})
    canned.put("config:DescribeConformancePacks", {"ConformancePackDetails": []})
    canned.put("config:DescribeConfigRules", {"ConfigRules": []})
    canned.put("sso-admin:ListInstances", {"Instances": []})
    sync = await collecting.sync(*KINDS)
    assert sync.state == Sync.STATE_SUCCEEDED
    assert sync.progress.rows_closed == sum(SAMPLE[kind] for kind in KINDS)
    assert not any([await collecting.rows(kind) for kind in KINDS])


async def test_a_member_with_nothing_found(collecting: World, canned: Canned) -> None:
    administrator = {"AccountId": "999999999999"}
    refused = Fault(400, "BadRequestException", "not the delegated administrator")
    canned.put("guardduty:DescribeOrganizationConfiguration", refused)
    canned.put(
        "guardduty:GetAdministratorAccount",
        {"Administrator": administrator | {"RelationshipStatus": "Enabled"}},
    )
    canned.put("guardduty:ListFindings", {"FindingIds": []})
    canned.put("guardduty:GetFindingsStatistics", {"FindingStatistics": {}})
    unauthorized = Fault(401, "InvalidAccessException", "not an administrator")
    canned.put("securityhub:DescribeOrganizationConfiguration", unauthorized)
    canned.put(
        "securityhub:GetAdministratorAccount",
        {"Administrator": administrator | {"MemberStatus": "Enabled"}},
    )
    canned.put("securityhub:ListFindingAggregators", {"FindingAggregators": []})
    sync = await collecting.sync("guardduty", "security_hub")
    assert sync.state == Sync.STATE_SUCCEEDED
    (detector,) = map(body_of, (await collecting.rows("guardduty")).values())
    assert not detector.HasField("oldest_high_finding")
    assert (detector.HasField("findings_high"), detector.findings_high) == (True, 0)
    assert not detector.HasField("auto_enable_members")
    (hub,) = map(body_of, (await collecting.rows("security_hub")).values())
    for found in (detector, hub):
        told = (found.administrator_account, found.administrator_status)
        assert told == ("999999999999", "Enabled")
    assert not hub.HasField("auto_enable_organization")
    assert not hub.HasField("finding_aggregator")


async def test_what_no_region_records_is_not_known_before_all_were_read(
    collecting: World, canned: Canned
) -> None:
    """A recorder without the types of IAM is well, as long as one elsewhere may have them."""
    group = {"allSupported": True, "includeGlobalResourceTypes": False}
    told = {"ConfigurationRecorders": [{"name": "default", "recordingGroup": group}]}
    canned.put("config:DescribeConfigurationRecorders", told)
    await collecting.sync("account_metadata", "config_recorders")
    recorders = by(await collecting.rows("config_recorders"), "recorder_name")
    assert gaps(recorders["default"]).keys() == {"global_types_recorded"}
    assert gaps(recorders["default"])["global_types_recorded"].code == "NotCollected"
