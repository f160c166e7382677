"""Claims weighed against stored records and the collection manifest."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from mesh.errors import ResourceNotFound
from secmesh.inventory.v1 import check_pb2, record_pb2
from secmesh.inventory.v1.cloudtrail_pb2 import CloudtrailTrail
from secmesh.inventory.v1.ec2_pb2 import PortRange, SecurityGroup
from secmesh.inventory.v1.iam_pb2 import IamPasswordPolicy, IamUser
from secmesh.inventory.v1.s3_pb2 import S3AccountSettings, S3Bucket
from services.inventory.errors import NothingCollected
from tests.service.compliance_world import (
    ACCOUNT,
    NOW,
    World,
    document,
    new_world,
    requirement,
)

OTHER = "444455556666"
ENCRYPTION = "s3:GetEncryptionConfiguration"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """One database: that the others answer alike is tested with every check's condition."""
    async with new_world(tmp_path) as made:
        yield made


def user(days_unused: int | None = None, **more: object) -> IamUser:
    body = IamUser(is_root=False, **more)  # type: ignore[arg-type]  # fields by name
    if days_unused is not None:
        body.credential_unused_since.FromDatetime(NOW - timedelta(days=days_unused))
    return body


async def test_a_direct_failure_contradicts_and_is_named(world: World) -> None:
    await world.plan(document(requirement("sc-28.1")))
    await world.sync(["s3_buckets"])
    _, bad = await world.add(
        "s3_buckets", S3Bucket(encryption="AES256"), S3Bucket(encryption="NONE")
    )
    found = await world.evaluate()
    assert found.word("sc-28.1") == "contradicted"
    result = found.result("sc-28.1", "s3.encryption")
    assert (result.passed, result.failed, result.unread, result.complete) == (1, 1, 0, True)
    (evidence,) = result.evidence
    assert (evidence.record, evidence.values["encryption"]) == (bad, '"NONE"')
    assert evidence.outcome == check_pb2.EVIDENCE_OUTCOME_FAIL
    assert evidence.since.ToDatetime() == (NOW - timedelta(days=1)).replace(tzinfo=None)
    assert evidence.subject in found.of("sc-28.1").reason
    assert "NONE" in found.of("sc-28.1").reason


async def test_complete_direct_passes_support(world: World) -> None:
    await world.plan(document(requirement("sc-28.1"), requirement("sc-8")))
    await world.sync(["s3_buckets"])
    await world.add("s3_buckets", S3Bucket(encryption="aws:kms", https_only=True))
    found = await world.evaluate()
    assert found.word("sc-28.1") == found.word("sc-8") == "supported"
    assert not found.of("sc-8").missing_actions


async def test_a_denied_field_is_unread_and_never_a_verdict(world: World) -> None:
    """The last value stays in the row; neither a good nor a bad one may count."""
    await world.plan(document(requirement("sc-28.1")))
    await world.sync(["s3_buckets"], denied=[ENCRYPTION])
    await world.add("s3_buckets", S3Bucket(encryption="AES256"))
    unread = {"encryption": ENCRYPTION}
    await world.add(
        "s3_buckets",
        S3Bucket(encryption="NONE"),
        S3Bucket(encryption="AES256"),
        S3Bucket(),
        unread=unread,
    )
    found = await world.evaluate()
    assert found.word("sc-28.1") == "indeterminate"
    result = found.result("sc-28.1", "s3.encryption")
    assert (result.passed, result.failed, result.unread, result.complete) == (1, 0, 3, False)
    assert [gap.action for gap in result.gaps] == [ENCRYPTION]
    assert {gap.code for gap in result.gaps} == {"AccessDenied"}
    assert all("encryption" not in evidence.values for evidence in result.evidence)
    assert list(found.of("sc-28.1").missing_actions) == [ENCRYPTION]
    assert list(found.assessment.missing_actions) == [ENCRYPTION]
    assert ENCRYPTION in found.of("sc-28.1").reason


async def test_a_failure_counts_though_other_rows_are_unread(world: World) -> None:
    await world.plan(document(requirement("sc-28.1")))
    await world.sync(["s3_buckets"], denied=[ENCRYPTION])
    await world.add("s3_buckets", S3Bucket(encryption="NONE"))
    await world.add("s3_buckets", S3Bucket(), unread={"encryption": ENCRYPTION})
    assert (await world.evaluate()).word("sc-28.1") == "contradicted"


async def test_a_field_that_does_not_matter_may_be_unread(world: World) -> None:
    await world.plan(document(requirement("sc-28.1")))
    await world.sync(["s3_buckets"], denied=["s3:GetBucketTagging"])
    await world.add(
        "s3_buckets", S3Bucket(encryption="AES256"), unread={"tags": "s3:GetBucketTagging"}
    )
    found = await world.evaluate()
    assert found.word("sc-28.1") == "supported"
    assert not found.assessment.missing_actions


async def test_what_decides_needs_no_more_reads(world: World) -> None:
    """One good log is enough, and one bad part fails, whatever else is unread."""
    await world.plan(document(requirement("au-2")))
    await world.sync(["s3_buckets", "cloudtrail_trails"], denied=["s3:GetBucketLogging"])
    trail = CloudtrailTrail(is_logging=True, is_multi_region=True, management_events="All")
    await world.add("cloudtrail_trails", trail)
    unread = {"logging_target_bucket": "s3:GetBucketLogging"}
    await world.add("s3_buckets", S3Bucket(data_events_logged=True), unread=unread)
    assert (await world.evaluate()).word("au-2") == "supported"
    await world.add("s3_buckets", S3Bucket(data_events_logged=False), unread=unread)
    found = await world.evaluate()
    assert found.word("au-2") == "indeterminate"
    assert found.result("au-2", "s3.logging").unread == 1


async def test_a_denied_listing_leaves_every_row_unread(world: World) -> None:
    await world.plan(document(requirement("sc-28.1")))
    await world.add("s3_buckets", S3Bucket(encryption="NONE"), S3Bucket(encryption="AES256"))
    await world.sync(["s3_buckets"], at=NOW - timedelta(days=2))
    await world.sync(["s3_buckets"], denied=["s3:ListBuckets"])
    found = await world.evaluate()
    assert found.word("sc-28.1") == "indeterminate"
    result = found.result("sc-28.1", "s3.encryption")
    assert (result.passed, result.failed, result.unread) == (0, 0, 2)
    assert list(found.of("sc-28.1").missing_actions) == ["s3:ListBuckets"]
    # The next run that lists them counts again.
    await world.sync(["s3_buckets"], at=NOW - timedelta(minutes=1))
    assert (await world.evaluate()).word("sc-28.1") == "contradicted"


async def test_throttled_reads_need_no_permission(world: World) -> None:
    await world.plan(document(requirement("sc-28.1")))
    await world.sync(
        ["s3_buckets"], denied=["s3:ListBuckets"], outcome=record_pb2.READ_OUTCOME_THROTTLED
    )
    found = await world.evaluate()
    assert found.word("sc-28.1") == "indeterminate"
    assert not found.assessment.missing_actions


async def test_what_was_never_collected_is_a_gap(world: World) -> None:
    await world.plan(document(requirement("sc-28.1"), requirement("ac-2.3")))
    await world.sync(["s3_buckets"])
    found = await world.evaluate()
    assert found.word("sc-28.1") == "vacuous"
    assert found.word("ac-2.3") == "indeterminate"
    (gap,) = found.result("ac-2.3", "iam.unused_credentials").gaps
    assert (gap.cloud_account_id, gap.operation, gap.outcome) == (ACCOUNT, "", 0)
    assert "never collected" in found.of("ac-2.3").reason


async def test_a_region_that_was_not_collected_is_a_gap(world: World) -> None:
    await world.plan(document(requirement("sc-7.5")))
    await world.sync(["cloudtrail_trails"], regions=["us-east-1", "eu-west-1"])
    await world.sync(["security_groups"], regions=["us-east-1"])
    await world.add("security_groups", SecurityGroup(open_to_world_all=False))
    found = await world.evaluate()
    assert found.word("sc-7.5") == "indeterminate"
    (gap,) = found.result("sc-7.5", "sg.no_open_all").gaps
    assert gap.region == "eu-west-1"


async def test_old_evidence_is_stale(world: World) -> None:
    await world.plan(document(requirement("sc-28.1")))
    await world.sync(["s3_buckets"], at=NOW - timedelta(days=8))
    await world.add("s3_buckets", S3Bucket(encryption="NONE"))
    found = await world.evaluate()
    assert found.word("sc-28.1") == "indeterminate"
    result = found.result("sc-28.1", "s3.encryption")
    assert (result.failed, result.stale, result.complete) == (0, 1, False)
    assert result.evidence[0].outcome == check_pb2.EVIDENCE_OUTCOME_STALE
    assert (await world.evaluate(max_age=timedelta(days=9))).word("sc-28.1") == "contradicted"


async def test_an_empty_list_of_long_ago_says_nothing_of_today(world: World) -> None:
    none = requirement("sc-28", "not-applicable")
    await world.plan(document(requirement("au-3"), requirement("sc-28.1"), none))
    await world.sync(["cloudtrail_trails", "s3_buckets"], at=NOW - timedelta(days=8))
    found = await world.evaluate()
    assert [found.word(each) for each in ("au-3", "sc-28.1", "sc-28")] == ["indeterminate"] * 3
    # Of the account that had no trail then, and of buckets that were not there then.
    trails = found.result("au-3", "cloudtrail.multi_region")
    assert (trails.failed, trails.stale, trails.complete) == (0, 1, False)
    assert "too old" in found.of("au-3").reason
    buckets = found.result("sc-28.1", "s3.encryption")
    assert (buckets.stale, buckets.complete) == (0, False)
    assert {(gap.cloud_account_id, gap.code) for gap in buckets.gaps} == {(ACCOUNT, "TooOld")}
    assert f"s3_buckets of {ACCOUNT}/global: TooOld" in found.of("sc-28.1").reason
    found = await world.evaluate(max_age=timedelta(days=9))
    assert found.word("au-3") == "contradicted"
    assert found.word("sc-28.1") == "vacuous"


async def test_thresholds_come_from_the_claim(world: World) -> None:
    await world.sync(["iam_users"])
    await world.add("iam_users", user(days_unused=60), user())
    for words, verdict in (
        ("ninety (90) days", "supported"),
        ("45 days", "contradicted"),
        ("two months", "supported"),
    ):
        parameters = {"ac-02__03_odp__02": words}
        await world.plan(document(requirement("ac-2.3", **parameters)))
        assert (await world.evaluate()).word("ac-2.3") == verdict
    result = (await world.evaluate()).result("ac-2.3", "iam.unused_credentials")
    assert dict(result.thresholds) == {"inactivity_period": 60}
    assert (result.passed, result.not_applicable) == (1, 1)


async def test_a_threshold_weaker_than_the_baseline_is_flagged(world: World) -> None:
    await world.sync(["iam_users"])
    await world.add("iam_users", user(days_unused=100))
    await world.plan(document(requirement("ac-2.3", **{"ac-02__03_odp__02": "180 days"})))
    found = await world.evaluate()
    assert found.word("ac-2.3") == "supported"
    assert list(found.of("ac-2.3").below_baseline) == [
        "ac-02.03_odp.02 is 180 days; FedRAMP rev 5 Moderate admits at most 90 days"
    ]
    assert found.assessment.below_baseline == 1


async def test_an_unclear_threshold_spoils_only_the_claim_that_needs_it(world: World) -> None:
    await world.sync(["iam_users", "s3_buckets"])
    unclear = {"ac-02__03_odp__02": "as the owner decides"}
    await world.plan(document(requirement("ac-2.3", **unclear), requirement("sc-28.1", **unclear)))
    await world.add("s3_buckets", S3Bucket(encryption="AES256"))
    found = await world.evaluate()
    assert found.word("ac-2.3") == "claim_invalid"
    assert "as the owner decides" in found.of("ac-2.3").reason
    assert found.word("sc-28.1") == "supported"


async def test_now_is_when_the_record_was_read(world: World) -> None:
    """A log delivered an hour before the run is not late because the evaluation came later."""
    await world.plan(document(requirement("au-6")))
    await world.sync(["cloudtrail_trails"], at=NOW - timedelta(days=3))
    trail = CloudtrailTrail(cloudwatch_log_group="arn:log")
    trail.latest_cloudwatch_delivery_time.FromDatetime(NOW - timedelta(days=3, hours=1))
    await world.add("cloudtrail_trails", trail)
    found = await world.evaluate()
    assert found.result("au-6", "cloudtrail.cloudwatch_delivery").passed == 1
    # Its next run finds that nothing came since.
    await world.sync(["cloudtrail_trails"], at=NOW - timedelta(days=1))
    found = await world.evaluate()
    assert found.result("au-6", "cloudtrail.cloudwatch_delivery").failed == 1
    assert found.word("au-6") == "weakened"


async def test_a_trail_whose_home_was_not_read_is_vouched_for_by_all_units(world: World) -> None:
    await world.plan(document(requirement("au-9")))
    await world.sync(["cloudtrail_trails", "s3_buckets"])
    good = CloudtrailTrail(
        log_file_validation=True, kms_key_id="k", log_bucket_public=False, log_bucket_logged=True
    )
    await world.add("cloudtrail_trails", good, region="eu-west-1")
    assert (await world.evaluate()).word("au-9") == "supported"
    await world.sync(["cloudtrail_trails"], denied=["cloudtrail:DescribeTrails"], at=NOW)
    assert (await world.evaluate()).word("au-9") == "indeterminate"


async def test_no_trail_at_all_fails(world: World) -> None:
    await world.plan(document(requirement("au-3")))
    await world.sync(["cloudtrail_trails"])
    found = await world.evaluate()
    assert found.word("au-3") == "contradicted"
    result = found.result("au-3", "cloudtrail.multi_region")
    assert (result.failed, result.evidence[0].record) == (1, "")
    assert (result.evidence[0].subject, result.evidence[0].values["records"]) == (ACCOUNT, "0")


async def test_any_is_decided_by_one_pass_though_another_region_is_unread(world: World) -> None:
    await world.plan(document(requirement("au-3")))
    await world.sync(["cloudtrail_trails"])
    await world.sync(
        ["cloudtrail_trails"], regions=["eu-west-1"], denied=["cloudtrail:DescribeTrails"]
    )
    assert (await world.evaluate()).word("au-3") == "indeterminate"
    good = CloudtrailTrail(is_logging=True, is_multi_region=True, management_events="All")
    await world.add("cloudtrail_trails", good)
    found = await world.evaluate()
    assert found.word("au-3") == "supported"
    assert found.result("au-3", "cloudtrail.multi_region").complete


async def test_one_row_of_an_account_that_was_not_read_is_no_failure(world: World) -> None:
    await world.plan(document(requirement("ia-5.1")))
    await world.sync(["iam_password_policy"])
    assert (await world.evaluate()).word("ia-5.1") == "indeterminate"
    await world.add("iam_password_policy", IamPasswordPolicy(configured=False), region="global")
    found = await world.evaluate()
    assert found.word("ia-5.1") == "contradicted"
    failed = {result.check_id for result in found.of("ia-5.1").check_results if result.failed}
    assert failed == {"iam.pwd_min_length", "iam.pwd_complexity", "iam.pwd_reuse"}


async def test_accounts_are_weighed_apart_and_can_be_chosen(world: World) -> None:
    await world.plan(document(requirement("sc-7")))
    for account in (ACCOUNT, OTHER):
        await world.sync(["s3_account_settings", "s3_buckets", "security_groups"], account=account)
        block = S3AccountSettings(public_access_block=account == ACCOUNT)
        await world.add("s3_account_settings", block, account=account, region="global")
    found = await world.evaluate()
    result = found.result("sc-7", "s3.account_bpa")
    assert (result.passed, result.failed) == (1, 1)
    assert [evidence.subject for evidence in result.evidence] == [OTHER]
    assert result.evidence[0].values["public_access_block"] == "false"
    assert list(found.assessment.cloud_account_ids) == [ACCOUNT, OTHER]
    chosen = await world.evaluate(ACCOUNT)
    assert chosen.result("sc-7", "s3.account_bpa").failed == 0
    assert list(chosen.assessment.cloud_account_ids) == [ACCOUNT]


async def test_an_account_that_was_never_collected_is_incomplete(world: World) -> None:
    await world.plan(document(requirement("sc-28.1")))
    await world.sync(["s3_buckets"])
    await world.add("s3_buckets", S3Bucket(encryption="AES256"))
    assert (await world.evaluate(ACCOUNT, OTHER)).word("sc-28.1") == "indeterminate"
    with pytest.raises(NothingCollected):
        await world.evaluate(OTHER)


async def test_nothing_collected_and_no_plan(world: World) -> None:
    with pytest.raises(ResourceNotFound):
        await world.evaluate()
    await world.plan(document(requirement("ac-2")))
    with pytest.raises(NothingCollected):
        await world.evaluate()


async def test_at_most_fifty_outcomes_are_kept_and_all_are_counted(world: World) -> None:
    await world.plan(document(requirement("sc-28.1")))
    await world.sync(["s3_buckets"], denied=[ENCRYPTION, "s3:Other"])
    await world.add("s3_buckets", *(S3Bucket(encryption="NONE") for _ in range(60)))
    await world.add("s3_buckets", S3Bucket(), unread={"encryption": ENCRYPTION, "tags": "s3:Other"})
    result = (await world.evaluate()).result("sc-28.1", "s3.encryption")
    assert (result.failed, result.unread, len(result.evidence)) == (60, 1, 50)
    assert {each.outcome for each in result.evidence} == {check_pb2.EVIDENCE_OUTCOME_FAIL}
    # Though the unread row is not among them, its action is known, and no other.
    assert [gap.action for gap in result.gaps] == [ENCRYPTION]


async def test_open_ports_are_found_in_ranges(world: World) -> None:
    await world.plan(document(requirement("cm-7")))
    await world.sync(["security_groups"])

    def group(*ranges: tuple[str, int, int]) -> SecurityGroup:
        listed = [
            PortRange(protocol=protocol, from_port=first, to_port=last)
            for protocol, first, last in ranges
        ]
        return SecurityGroup(open_to_world=listed, open_to_world_all=("-1", 0, 65535) in ranges)

    bad = [
        group(("tcp", 22, 22)),
        group(("tcp", 443, 443), ("tcp", 3000, 4000)),
        group(("-1", 0, 65535)),
        group(("udp", 3389, 3389)),
    ]
    good = [group(), group(("tcp", 443, 443)), group(("udp", 22, 22))]
    await world.add("security_groups", *bad, *good)
    result = (await world.evaluate()).result("cm-7", "sg.no_open_ssh_rdp")
    assert (result.failed, result.passed) == (4, 3)


async def test_silent_controls_and_counts_add_up(world: World) -> None:
    await world.plan(document(requirement("sc-28.1"), requirement("zz-1")))
    await world.sync(["s3_buckets"])
    await world.add("s3_buckets", S3Bucket(encryption="NONE", https_only=True))
    found = await world.evaluate()
    assert found.word("sc-28") == "not_claimed_failing"
    assert found.word("sc-8") == found.word("ac-1") == "not_claimed"
    assert found.word("zz-1") == "claim_invalid"
    assessment = found.assessment
    assert assessment.controls == 324
    assert sum(each.count for each in assessment.control_counts) == 324
    assert assessment.claims == sum(each.count for each in assessment.claim_counts) == 2
    order = [verdict.verdict for verdict in found.verdicts]
    assert order == sorted(order)
    assert found.progress[-1].checks == found.progress[-1].checks_done > 0


async def test_a_control_has_the_worst_verdict_of_its_claims(world: World) -> None:
    good, bad = requirement("ac-2.3"), requirement("ac-2.3", state="planned")
    bad["by-components"][0]["uuid"] = bad["uuid"] = "40000000-0000-4000-8000-000000000000"
    await world.plan(document(good, bad))
    await world.sync(["iam_users"])
    await world.add("iam_users", user(days_unused=5))
    found = [each for each in (await world.evaluate()).verdicts if each.control_id == "ac-2.3"]
    assert {verdict.verdict for verdict in found} == {12, 15}
    assert {verdict.control_verdict for verdict in found} == {12}


async def test_rows_of_an_account_that_no_manifest_names_count_for_nothing(world: World) -> None:
    await world.plan(document(requirement("sc-28.1")))
    await world.sync(["s3_buckets"])
    await world.add("s3_buckets", S3Bucket(encryption="AES256"))
    await world.add("s3_buckets", S3Bucket(encryption="NONE"), account=OTHER)
    for accounts in ((), (ACCOUNT,)):
        found = await world.evaluate(*accounts)
        result = found.result("sc-28.1", "s3.encryption")
        assert (result.passed, result.failed, result.unread, result.complete) == (1, 0, 0, True)
        assert found.word("sc-28.1") == "supported"
