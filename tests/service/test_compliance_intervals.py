"""Since when a claim has had its verdict, over several assessments of one plan."""

from datetime import UTC, datetime, timedelta

from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import assessment_requests_pb2, report_pb2
from secmesh.inventory.v1.s3_pb2 import S3Bucket
from services.inventory.compliance.assessment_store import AssessmentStore
from services.inventory.compliance_servicer import ComplianceServicer
from tests.service.compliance_served import Served
from tests.service.compliance_world import (
    ACCOUNT,
    NOW,
    SSP,
    World,
    document,
    requirement,
    tenant_checks,
)
from tests.unit.oscal_rules import obeying

DAY = timedelta(days=1)


OTHER = "444455556666"


async def judged(world: World, when: datetime, *accounts: str) -> tuple[str, pb.ClaimVerdict]:
    """Evaluate at a moment; give the assessment's name and the verdict on SC-28(1)."""
    servicer = ComplianceServicer(world.store, tenant_checks(world.store), lambda: when)
    request = assessment_requests_pb2.EvaluateRequest(ssp=SSP, cloud_account_ids=accounts)
    events = servicer.Evaluate(request, None)
    (made,) = [event.assessment async for event in events if event.HasField("assessment")]
    _, _, verdicts = await AssessmentStore(world.store).assessment(made.name)
    (found,) = [each for each in verdicts if each.control_id == "sc-28.1"]
    return made.name, found


def since(verdict: pb.ClaimVerdict) -> datetime:
    return verdict.since.ToDatetime(UTC)


async def test_a_verdict_lasts_until_another_is_reached(served: Served) -> None:
    world = served.world
    await world.plan(document(requirement("sc-28.1")))
    await world.sync(["s3_buckets"])
    await world.add("s3_buckets", S3Bucket(encryption="AES256"))
    _, first = await judged(world, NOW)
    assert first.verdict == pb.VERDICT_SUPPORTED
    assert (since(first), first.previous_verdict) == (NOW, pb.VERDICT_UNSPECIFIED)
    _, same = await judged(world, NOW + DAY)
    assert (since(same), same.previous_verdict) == (NOW, pb.VERDICT_UNSPECIFIED)
    await world.add("s3_buckets", S3Bucket(encryption="NONE"))
    _, broken = await judged(world, NOW + 2 * DAY)
    assert broken.verdict == pb.VERDICT_CONTRADICTED
    assert (since(broken), broken.previous_verdict) == (NOW + 2 * DAY, pb.VERDICT_SUPPORTED)
    _, still = await judged(world, NOW + 3 * DAY)
    assert (since(still), still.previous_verdict) == (NOW + 2 * DAY, pb.VERDICT_SUPPORTED)


async def test_what_other_accounts_show_ends_no_verdict(served: Served) -> None:
    world = served.world
    await world.plan(document(requirement("sc-28.1")))
    for account, encryption in ((ACCOUNT, "AES256"), (OTHER, "NONE")):
        await world.sync(["s3_buckets"], account=account)
        await world.add("s3_buckets", S3Bucket(encryption=encryption), account=account)
    good, bad = pb.VERDICT_SUPPORTED, pb.VERDICT_CONTRADICTED
    scopes = {(ACCOUNT,): good, (OTHER,): bad, (OTHER, ACCOUNT): bad, (): bad}
    # Whoever takes all accounts looks at the same as whoever names them.
    begins = [NOW + timedelta(hours=hours) for hours in (0, 1, 2, 2)]
    for round_ in range(3):
        for hours, (accounts, verdict) in enumerate(scopes.items()):
            when = NOW + round_ * DAY + timedelta(hours=hours)
            _, found = await judged(world, when, *accounts)
            assert found.verdict == verdict
            known = (begins[hours], pb.VERDICT_UNSPECIFIED)
            assert (since(found), found.previous_verdict) == known
    await world.add("s3_buckets", S3Bucket(encryption="NONE"))
    for hours, accounts in enumerate(scopes):
        when = NOW + 3 * DAY + timedelta(hours=hours)
        _, found = await judged(world, when, *accounts)
        # Only what was supported has another verdict now.
        begun = when if accounts == (ACCOUNT,) else begins[hours]
        assert (found.verdict, since(found)) == (bad, begun)


async def test_a_deadline_does_not_move_with_each_look(served: Served) -> None:
    world = served.world
    await world.plan(document(requirement("sc-28.1")))
    await world.sync(["s3_buckets"])
    await world.add("s3_buckets", S3Bucket(encryption="NONE"))
    names = [(await judged(world, NOW + number * DAY))[0] for number in range(3)]
    deadlines = set()
    for name in names:
        request = report_pb2.ExportAssessmentRequest(
            name=name, format=report_pb2.REPORT_FORMAT_OSCAL_POAM
        )
        written = await served.stub.ExportAssessment(request)
        risks = obeying(written.data, "plan_of_action")["risks"]
        deadlines |= {risk["deadline"] for risk in risks if "SC-28(1)" in risk["title"]}
    assert len(deadlines) == 1
