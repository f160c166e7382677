"""The sample plan compared with the sample account, collected over AWS calls."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from mesh.embedded.aws_faults import Faults
from secmesh.inventory.v1 import assessment_pb2 as pb
from services.inventory.compliance.assessment_store import AssessmentStore
from services.inventory.compliance.assessor import Assessor
from services.inventory.compliance.ssp import read_plan
from tests.service.collect_world import World
from tests.service.compliance_world import ALL_CHECKS, SSP, Evaluated, tenant_checks

SAMPLE = Path(__file__).parents[2] / "cli" / "sample" / "ssp.json"


async def evaluated(world: World) -> Evaluated:
    plan = read_plan(SSP, SAMPLE.read_bytes(), import_time=datetime.now(UTC))
    assert not plan.ssp.issues
    store = AssessmentStore(world.store)
    await store.replace_plan(plan)
    events = [
        event
        async for event in Assessor(world.store, tenant_checks(world.store, ALL_CHECKS)).evaluate(
            SSP, []
        )
    ]
    assessment = events[-1]
    assert isinstance(assessment, pb.Assessment)
    _, _, verdicts = await store.assessment(assessment.name)
    return Evaluated(assessment, [], verdicts)


@pytest.fixture
def words() -> dict[str, str]:
    """What the account shows of the plan's claims."""
    return {
        "ac-2.1": "gap_confirmed",
        "ac-2.3": "contradicted",
        "ac-2.7": "understated",
        "ac-3": "contradicted",
        "ac-6": "contradicted",
        "ac-17": "contradicted",
        "ac-21": "contradicted",
        "at-2": "no_evidence",
        "au-2": "gap_confirmed",
        "au-3": "supported",
        "au-6": "weakened",
        "au-9": "contradicted",
        "cp-9": "contradicted",
        "ia-2": "gap_confirmed",
        "ia-2.8": "contradicted",
        "ia-5": "contradicted",
        "ia-5.1": "gap_confirmed",
        "pe-3": "inherited",
        "sc-7": "manual_review",
        "sc-8": "overdue",
        "sc-28": "contradicted",
        "sc-28.1": "contradicted",
        "ac-4": "not_claimed_failing",
        "ac-5": "not_claimed",
    }


async def test_every_kind_of_verdict_appears(collecting: World, words: dict[str, str]) -> None:
    await collecting.sync()
    found = await evaluated(collecting)
    assert {control: found.word(control) for control in words} == words
    assert not found.assessment.missing_actions
    assert found.assessment.controls == 323
    assert found.of("ac-2.3").below_baseline
    # One bucket lives in a region whose trails were not collected.
    results = [each for verdict in found.verdicts for each in verdict.check_results]
    assert {each.check_id for each in results if not each.complete} == {"s3.logging"}
    assert found.result("au-2", "s3.logging").unread == 1
    # The account has more regions enabled than the one that was collected.
    (regions,) = found.assessment.uncovered_regions
    assert "us-east-1" not in regions.regions
    assert "eu-west-1" in regions.regions
    assert len(regions.regions) == found.assessment.uncovered_region_count
    assert found.assessment.enabled_region_count == len(regions.regions) + 1
    assert found.assessment.unlisted_region_accounts == 0


async def test_denied_reads_never_turn_into_verdicts(
    collecting: World, faults: Faults, words: dict[str, str]
) -> None:
    """With reads denied, an answer stays as it was or becomes open; none is turned round."""
    await collecting.sync()
    before = await evaluated(collecting)
    denied = [
        "iam:GetCredentialReport",
        "s3:GetBucketEncryption",
        "s3:GetBucketPolicy",
        "ec2:DescribeSecurityGroups",
        "cloudtrail:GetTrailStatus",
    ]
    for operation in denied:
        faults.deny(operation)
    await collecting.sync()
    after = await evaluated(collecting)
    changed = {
        verdict.control_id: verdict.verdict
        for verdict in after.verdicts
        if verdict.claim and verdict.verdict != before_of(before, verdict)
    }
    assert changed
    assert set(changed.values()) <= {pb.VERDICT_INDETERMINATE, pb.VERDICT_WEAKENED}
    assert after.word("au-3") == after.word("ia-2.8") == "indeterminate"
    assert set(after.assessment.missing_actions) == {
        "iam:GetCredentialReport",
        "s3:GetEncryptionConfiguration",
        "s3:GetBucketPolicy",
        "ec2:DescribeSecurityGroups",
        "cloudtrail:GetTrailStatus",
    }


def before_of(before: Evaluated, verdict: pb.ClaimVerdict) -> int:
    (same,) = [each for each in before.verdicts if each.claim == verdict.claim]
    return same.verdict
