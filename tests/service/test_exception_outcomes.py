"""What exceptions make of failures: counted by themselves, never a pass, and loud at their end."""

from datetime import timedelta
from typing import Any, cast

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import assessment_requests_pb2 as api
from secmesh.inventory.v1 import check_pb2, coverage_pb2, framework_pb2, record_pb2, trend_pb2
from secmesh.inventory.v1.s3_pb2 import S3Bucket
from tests.service.compliance_world import (
    ACCOUNT,
    NOW,
    SSP,
    TENANT,
    Evaluated,
    document,
    requirement,
)
from tests.service.exceptions_site import CHECK, Site, site

__all__ = ["site"]

OTHER = "444455556666"
EXCEPTED = check_pb2.EVIDENCE_OUTCOME_EXCEPTED


async def evaluate(site: Site, *accounts: str) -> Evaluated:
    request = api.EvaluateRequest(ssp=SSP, cloud_account_ids=accounts)
    ann = site.by("ann")
    events = [each async for each in site.compliance.Evaluate(request, metadata=ann)]
    (made,) = [each.assessment for each in events if each.HasField("assessment")]
    listing = api.ListVerdictsRequest(parent=made.name, page_size=1000)
    page = await site.compliance.ListVerdicts(listing, metadata=ann)
    return Evaluated(made, [], list(page.verdicts))


async def buckets(site: Site, *encryptions: str, **more: Any) -> None:
    await site.world.sync(["s3_buckets"], account=more.get("account", ACCOUNT))
    bodies = [
        S3Bucket(encryption=each, https_only=True, bucket_name=f"b{number}")
        for number, each in enumerate(encryptions)
    ]
    await site.world.add("s3_buckets", *bodies, **more)


async def listed(site: Site, result: pb.CheckResult) -> list[record_pb2.Record]:
    """List by the filter of failures."""
    page = await site.world.store.page("s3_buckets", TENANT, filter=result.failing_filter)
    return cast("list[record_pb2.Record]", page.items)


def encryption(found: Evaluated) -> pb.CheckResult:
    return found.result("sc-28.1", CHECK)


def names(result: pb.CheckResult) -> list[tuple[str, int]]:
    return [(each.check_exception.rpartition("/")[2], each.excepted) for each in result.exceptions]


async def test_an_excepted_failure_is_neither_failed_nor_passed(site: Site) -> None:
    await buckets(site, "NONE", "NONE", "AES256")
    await site.world.plan(document(requirement("sc-28.1")))
    made = await site.propose(resources='bucket_name == "b0"')
    found = await evaluate(site)
    assert (encryption(found).failed, encryption(found).excepted) == (2, 0)
    assert found.word("sc-28.1") == "contradicted"

    await site.approve(made.name)
    found = await evaluate(site)
    result = encryption(found)
    assert (result.passed, result.failed, result.excepted) == (1, 1, 1)
    assert names(result) == [("public-site", 1)]
    assert found.word("sc-28.1") == "contradicted"
    shown = {each.subject[-1]: (each.outcome, each.check_exception) for each in result.evidence}
    assert shown["1"] == (EXCEPTED, made.name)
    assert [each.s3_bucket.bucket_name for each in await listed(site, result)] == ["b1"]

    await site.accept("the-rest", resources='bucket_name == "b1"', reference="RISK-8")
    found = await evaluate(site)
    result = encryption(found)
    assert (result.passed, result.failed, result.excepted) == (1, 0, 2)
    assert names(result) == [("public-site", 1), ("the-rest", 1)]
    assert [each.reference for each in result.exceptions] == ["", "RISK-8"]
    assert not result.failing_filter
    verdict = found.of("sc-28.1")
    assert found.word("sc-28.1") == "partly_supported"
    assert "public-site until 2030-01-31" in verdict.reason
    assert found.assessment.excepted_claims == 1
    (counted,) = found.assessment.excepted_claim_counts
    assert (counted.verdict, counted.count) == (verdict.verdict, 1)
    trend = await site.compliance.GetTrend(
        trend_pb2.GetTrendRequest(ssp=SSP), metadata=site.by("ann")
    )
    assert list(trend.points[-1].excepted_claim_counts) == [counted]
    assert verdict.rests_on_exception
    repairs = trend.repairs
    assert (repairs.open, repairs.excepted, repairs.fixed) == (0, 1, 0), "nothing was mended"

    await site.revoke(made.name)
    found = await evaluate(site)
    assert encryption(found).failed == 1
    assert not found.of("sc-28.1").rests_on_exception


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("implemented", "partly_supported"),
        ("partial", "gap_confirmed"),
        ("planned", "gap_confirmed"),
        ("alternative", "manual_review"),
        ("not-applicable", "contradicted"),
    ],
)
async def test_verdicts_of_what_is_excepted_whole(site: Site, state: str, expected: str) -> None:
    await buckets(site, "NONE")
    await site.world.plan(document(requirement("sc-28.1", state)))
    await site.accept()
    found = await evaluate(site)
    assert found.word("sc-28.1") == expected
    # The plan is silent about another control of the check.
    assert found.word("sc-13") == "not_claimed"
    assert "excepted by public-site until" in found.of("sc-13").reason


async def test_coverage_of_what_is_excepted_whole(site: Site) -> None:
    await buckets(site, "NONE")
    await site.accept()
    found = await site.compliance.GetCoverage(
        coverage_pb2.GetCoverageRequest(parent=TENANT, framework="pci-dss-4.0"),
        metadata=site.by("ann"),
    )
    (stored,) = [each for each in found.control_coverage if CHECK in each.check_ids]
    assert (stored.control_id, stored.outcome) == ("3.5.1", EXCEPTED)
    assert not stored.failing_check_ids
    assert stored.complete


async def test_posture_of_a_framework_sets_what_is_excepted_apart(site: Site) -> None:
    await buckets(site, "NONE")
    await site.world.plan(document(requirement("sc-28.1")))
    await site.accept()
    made = (await evaluate(site)).assessment
    request = framework_pb2.GetFrameworkPostureRequest(name=made.name, framework="fedramp-moderate")
    found = await site.compliance.GetFrameworkPosture(request, metadata=site.by("ann"))
    accepted = {each.control_id for each in found.control_postures if each.rests_on_exception}
    assert "sc-28.1" in accepted
    counts = {each.verdict: each.count for each in found.excepted_control_counts}
    assert counts[pb.VERDICT_PARTLY_SUPPORTED] == 1
    assert sum(counts.values()) == len(accepted)


async def test_only_the_accounts_that_are_named(site: Site) -> None:
    await buckets(site, "NONE", "NONE")
    await buckets(site, "NONE", account=OTHER)
    await site.world.plan(document(requirement("sc-28.1")))
    await site.accept(cloud_account_ids=[OTHER])
    result = encryption(await evaluate(site))
    assert (result.failed, result.excepted) == (2, 1)
    assert {each.cloud_account_id for each in await listed(site, result)} == {ACCOUNT}


async def test_what_was_not_read_is_never_excepted(site: Site) -> None:
    await site.world.sync(["s3_buckets"])
    await site.world.add("s3_buckets", S3Bucket(bucket_name="b0"), unread={"encryption": "s3:Get"})
    await site.world.plan(document(requirement("sc-28.1")))
    await site.accept()
    result = encryption(await evaluate(site))
    assert (result.unread, result.excepted, result.complete) == (1, 0, False)
    # Nor by a condition on what was not read.
    await site.world.add("s3_buckets", S3Bucket(encryption="NONE"), unread={"versioning": "s3:Get"})
    await site.revoke(f"{TENANT}/checkExceptions/public-site")
    await site.accept("by-version", resources='versioning == "Enabled" || public')
    result = encryption(await evaluate(site))
    assert (result.unread, result.failed, result.excepted) == (1, 1, 0)


async def test_an_account_without_any_trail_is_excepted_as_a_whole(site: Site) -> None:
    await site.world.sync(["cloudtrail_trails"])
    await site.world.plan(document(requirement("au-12")))
    before = await evaluate(site)
    failing = before.result("au-12", "cloudtrail.multi_region")
    assert (failing.failed, failing.excepted) == (1, 0)
    await site.accept("no-trail", check_id="cloudtrail.multi_region", cloud_account_ids=[OTHER])
    assert (await evaluate(site)).result("au-12", "cloudtrail.multi_region").failed == 1
    await site.accept("no-trail-here", check_id="cloudtrail.multi_region")
    result = (await evaluate(site)).result("au-12", "cloudtrail.multi_region")
    assert (result.failed, result.excepted) == (0, 1)
    (shown,) = result.evidence
    assert (shown.subject, shown.outcome) == (ACCOUNT, EXCEPTED)
    assert shown.check_exception == f"{TENANT}/checkExceptions/no-trail-here"


async def test_the_end_is_loud(site: Site) -> None:
    await buckets(site, "NONE")
    await site.world.plan(document(requirement("sc-28.1")))
    await site.accept("late", expire_time=stamp(30))
    await site.accept("soon", expire_time=stamp(10))
    await site.propose("never-approved", expire_time=stamp(10))
    found = await evaluate(site)
    assert ends(found.assessment) == ([], ["soon"])

    site.clock.now = NOW + timedelta(days=10)
    await site.world.sync(["s3_buckets"], at=site.clock.now - timedelta(hours=1))
    found = await evaluate(site)
    assert ends(found.assessment) == (["soon"], [])
    assert (encryption(found).failed, encryption(found).excepted) == (0, 1)

    site.clock.now = NOW + timedelta(days=30)
    await site.world.sync(["s3_buckets"], at=site.clock.now - timedelta(hours=1))
    found = await evaluate(site)
    assert ends(found.assessment) == (["late", "soon"], [])
    assert (encryption(found).failed, encryption(found).excepted) == (1, 0)
    assert found.word("sc-28.1") == "contradicted"
    await site.revoke(f"{TENANT}/checkExceptions/soon")
    assert ends((await evaluate(site)).assessment) == (["late"], [])


def stamp(days: float) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(NOW + timedelta(days=days))
    return made


def ends(assessment: pb.Assessment) -> tuple[list[str], list[str]]:
    return (
        [each.check_exception.rpartition("/")[2] for each in assessment.expired_exceptions],
        [each.check_exception.rpartition("/")[2] for each in assessment.expiring_exceptions],
    )
