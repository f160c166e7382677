"""How the verdicts on a plan developed, from assessments made one after another."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest

from mesh.client import CallRefused
from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import assessment_requests_pb2 as api
from secmesh.inventory.v1 import ssp_pb2, trend_pb2
from services.inventory.compliance.trend_store import MAX_ASSESSMENTS
from services.inventory.compliance_servicer import ComplianceServicer
from tests.service.compliance_served import Served
from tests.service.compliance_world import (
    ACCOUNT,
    NOW,
    SSP,
    TENANT,
    World,
    document,
    new_world,
    requirement,
    tenant_checks,
)

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
OTHER_ACCOUNT = "444455556666"
EXCEPTED = " BY EXCEPTION"
PARTLY = f"PARTLY_SUPPORTED{EXCEPTED}"
Trend = trend_pb2.Trend
State = trend_pb2.FalseClaim


@pytest.fixture
async def world(database: str, tmp_path: Path) -> AsyncIterator[World]:
    async with new_world(tmp_path, database) as made:
        yield made


async def assessed(
    world: World,
    when: datetime,
    verdicts: dict[str, str],
    accounts: Sequence[str] = (ACCOUNT,),
    baseline: ssp_pb2.Baseline.ValueType = ssp_pb2.BASELINE_NIST_LOW,
) -> str:
    """Store an assessment as it would have come out at a moment."""
    world.syncs += 1
    made = pb.Assessment(
        name=f"{TENANT}/assessments/a{world.syncs}",
        ssp=SSP,
        cloud_account_ids=accounts,
        baseline=baseline,
        controls=len(verdicts),
        claims=len(verdicts),
    )
    made.evaluate_time.FromDatetime(when)
    found = []
    for claim, word in verdicts.items():
        verdict = pb.ClaimVerdict(
            name=f"{made.name}/verdicts/{claim}",
            claim=f"{SSP}/claims/{claim}",
            control_id=claim.rpartition("-of-")[2],
            verdict=pb.Verdict.Value(f"VERDICT_{word.removesuffix(EXCEPTED)}"),
            rests_on_exception=word.endswith(EXCEPTED),
        )
        found.append(verdict)
        made.claim_counts.add(verdict=verdict.verdict, count=1)
    silent = pb.ClaimVerdict(
        name=f"{made.name}/verdicts/control-at-2",
        control_id="at-2",
        verdict=pb.VERDICT_NOT_CLAIMED_FAILING,
    )
    async with world.store.transaction() as connection:
        await world.store.insert(connection, "assessments", [made])
        await world.store.insert(connection, "verdicts", [*found, silent])
    return made.name


async def history(world: World, claim: str, *words: str) -> None:
    """Store an assessment a day, each with the claim's next verdict; empty: not in the plan."""
    await world.plan(document(requirement("sc-28.1")))
    for number, word in enumerate(words):
        await assessed(world, NOW + number * DAY, {claim: word} if word else {})


async def trend(world: World, **more: object) -> Trend:
    servicer = ComplianceServicer(world.store, tenant_checks(world.store), lambda: NOW)
    request = trend_pb2.GetTrendRequest(ssp=SSP, **more)  # type: ignore[arg-type]  # by the test
    return await servicer.GetTrend(request, None)


def moment(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


async def test_a_mended_claim_took_from_first_seen_false_to_first_seen_true(world: World) -> None:
    words = ["SUPPORTED", "CONTRADICTED", "CONTRADICTED", "INDETERMINATE", "SUPPORTED", "SUPPORTED"]
    await history(world, "of-sc-28.1", *words)
    found = await trend(world)
    (one,) = found.false_claims
    assert (one.claim, one.control_id) == (f"{SSP}/claims/of-sc-28.1", "of-sc-28.1")
    assert (one.state, one.verdict) == (State.STATE_FIXED, pb.VERDICT_SUPPORTED)
    assert one.first_time.ToJsonString() == moment(NOW + DAY)
    assert one.last_time.ToJsonString() == moment(NOW + 2 * DAY)
    assert one.end_time.ToJsonString() == moment(NOW + 4 * DAY), "an unread rest mends nothing"
    assert one.age.ToTimedelta() == 3 * DAY
    assert not one.since_first
    repairs = found.repairs
    assert (repairs.fixed, repairs.open, repairs.restated, repairs.fixed_since_first) == (
        1,
        0,
        0,
        0,
    )
    assert repairs.mean_time_to_fix.ToTimedelta() == 3 * DAY
    assert not repairs.HasField("oldest_open_age")


async def test_mean_and_median_of_several_and_the_age_of_open_ones(world: World) -> None:
    await world.plan(document(requirement("sc-28.1")))
    until = {"c1": 1, "c2": 2, "c3": 6}
    for number in range(8):
        words = {
            claim: "CONTRADICTED" if number < end else "SUPPORTED" for claim, end in until.items()
        }
        words |= {"c4": "CONTRADICTED" if number > 4 else "VACUOUS"}
        words |= {"c5": "CONTRADICTED" if number in (2, 7) else "SUPPORTED"}
        await assessed(world, NOW + number * DAY, words)
    found = await trend(world)
    repairs = found.repairs
    assert (repairs.open, repairs.fixed, repairs.fixed_since_first) == (2, 4, 3)
    assert repairs.mean_time_to_fix.ToTimedelta() == 2.5 * DAY
    assert repairs.median_time_to_fix.ToTimedelta() == 1.5 * DAY
    assert repairs.oldest_open_age.ToTimedelta() == 2 * DAY
    assert repairs.mean_open_age.ToTimedelta() == DAY
    told = [(each.claim[-2:], each.since_first) for each in found.false_claims]
    assert told[:2] == [("c4", False), ("c5", False)], "the oldest open one first"
    assert told[2:] == [("c3", True), ("c5", False), ("c2", True), ("c1", True)]


@pytest.mark.parametrize("word", ["GAP_CONFIRMED", "INHERITED", "MANUAL_REVIEW", ""])
async def test_what_the_plan_no_longer_says_was_not_mended(world: World, word: str) -> None:
    await history(world, "c1", "CONTRADICTED", word, word, "CONTRADICTED")
    found = await trend(world)
    last, first = found.false_claims
    assert (first.state, first.end_time.ToJsonString()) == (State.STATE_RESTATED, moment(NOW + DAY))
    assert (last.state, last.age.ToTimedelta()) == (State.STATE_OPEN, timedelta(0))
    assert not last.HasField("end_time")
    repairs = found.repairs
    assert (repairs.open, repairs.fixed, repairs.restated) == (1, 0, 1)
    assert not repairs.HasField("mean_time_to_fix")


async def test_a_claim_that_left_the_plan_is_not_open(world: World) -> None:
    await history(world, "c1", "CONTRADICTED", "INDETERMINATE", "", "")
    (one,) = (await trend(world)).false_claims
    assert (one.state, one.verdict) == (State.STATE_RESTATED, pb.VERDICT_UNSPECIFIED)
    assert one.end_time.ToJsonString() == moment(NOW + 2 * DAY)


@pytest.mark.parametrize("word", ["WEAKENED", "INDETERMINATE", "NO_EVIDENCE"])
async def test_what_is_not_shown_to_be_mended_stays_open(world: World, word: str) -> None:
    await history(world, "c1", "CONTRADICTED", word, word)
    (one,) = (await trend(world)).false_claims
    assert one.state == State.STATE_OPEN
    assert one.verdict == pb.Verdict.Value(f"VERDICT_{word}")
    assert one.age.ToTimedelta() == 2 * DAY


async def test_an_exception_mends_nothing(world: World) -> None:
    await history(world, "c1", "CONTRADICTED", "CONTRADICTED", PARTLY, PARTLY)
    found = await trend(world)
    (one,) = found.false_claims
    assert (one.state, one.verdict) == (State.STATE_EXCEPTED, pb.VERDICT_PARTLY_SUPPORTED)
    assert not one.HasField("end_time")
    assert one.age.ToTimedelta() == 3 * DAY
    repairs = found.repairs
    assert (repairs.open, repairs.excepted, repairs.fixed, repairs.restated) == (0, 1, 0, 0)
    assert not repairs.HasField("mean_time_to_fix")
    assert not repairs.HasField("oldest_open_age")


@pytest.mark.parametrize(
    ("after", "state", "days"),
    [
        (["CONTRADICTED"], State.STATE_OPEN, 4),
        (["INDETERMINATE"], State.STATE_OPEN, 4),
        (["SUPPORTED"], State.STATE_FIXED, 4),
        # Mended, of which only partial evidence speaks: the same verdict without an exception.
        (["PARTLY_SUPPORTED", PARTLY], State.STATE_FIXED, 4),
        ([f"GAP_CONFIRMED{EXCEPTED}"], State.STATE_RESTATED, 4),
        ([""], State.STATE_RESTATED, 4),
    ],
)
async def test_what_comes_after_an_exception_ends_the_contradiction_or_not(
    world: World, after: list[str], state: State.State.ValueType, days: int
) -> None:
    await history(world, "c1", "PARTLY_SUPPORTED", "CONTRADICTED", PARTLY, PARTLY, PARTLY, *after)
    (one,) = (await trend(world)).false_claims
    assert one.state == state
    assert one.first_time.ToJsonString() == moment(NOW + DAY)
    assert one.age.ToTimedelta() == days * DAY


async def test_open_ones_come_before_those_excepted(world: World) -> None:
    await world.plan(document(requirement("sc-28.1")))
    old, new = {"c1": "CONTRADICTED"}, {"c1": PARTLY, "c2": "CONTRADICTED", "c3": "CONTRADICTED"}
    await assessed(world, NOW, old | {"c3": "SUPPORTED"})
    await assessed(world, NOW + DAY, new)
    await assessed(world, NOW + 2 * DAY, new | {"c3": "SUPPORTED"})
    found = await trend(world)
    assert [each.claim[-2:] for each in found.false_claims] == ["c2", "c1", "c3"]
    repairs = found.repairs
    assert (repairs.open, repairs.excepted, repairs.fixed) == (1, 1, 1)
    assert repairs.oldest_open_age.ToTimedelta() == DAY, "of those excepted it is not told"


async def test_a_day_is_its_last_assessment_and_no_day_is_made_up(world: World) -> None:
    await world.plan(document(requirement("sc-28.1")))
    hours = [0, 5, 23, 24 * 3 + 1]
    words = ["SUPPORTED", "CONTRADICTED", "INDETERMINATE", "SUPPORTED"]
    names = [
        await assessed(world, NOW + hour * HOUR, {"c1": word})
        for hour, word in zip(hours, words, strict=True)
    ]
    days = await trend(world)
    assert [point.assessment for point in days.points] == [names[2], names[3]]
    assert [count.verdict for count in days.points[0].claim_counts] == [pb.VERDICT_INDETERMINATE]
    each = await trend(world, interval=trend_pb2.TREND_INTERVAL_ASSESSMENT)
    assert [point.assessment for point in each.points] == names
    assert each.repairs == days.repairs, "what happened within a day is not lost"
    assert days.repairs.mean_time_to_fix.ToTimedelta() == timedelta(hours=68)
    assert days.first_time.ToDatetime(UTC) == NOW


async def test_only_assessments_of_the_same_accounts_and_baseline_are_compared(
    world: World,
) -> None:
    await world.plan(document(requirement("sc-28.1")))
    both = [OTHER_ACCOUNT, ACCOUNT]
    high = ssp_pb2.BASELINE_NIST_HIGH
    await assessed(world, NOW, {"c1": "CONTRADICTED"})
    await assessed(world, NOW + DAY, {"c1": "SUPPORTED"}, [OTHER_ACCOUNT])
    await assessed(world, NOW + 2 * DAY, {"c1": "SUPPORTED"}, both)
    await assessed(world, NOW + 3 * DAY, {"c1": "SUPPORTED"}, baseline=high)
    await assessed(world, NOW + 4 * DAY, {"c1": "CONTRADICTED"})
    found = await trend(world)
    assert (found.assessments, found.left_out) == (2, 3)
    assert list(found.cloud_account_ids) == [ACCOUNT]
    assert found.baseline == ssp_pb2.BASELINE_NIST_LOW
    assert found.repairs.open == 1
    assert found.repairs.oldest_open_age.ToTimedelta() == 4 * DAY
    of_both = await trend(world, cloud_account_ids=[ACCOUNT, OTHER_ACCOUNT])
    assert (of_both.assessments, of_both.left_out, of_both.repairs.open) == (1, 4, 0)
    of_high = await trend(world, cloud_account_ids=[ACCOUNT], baseline=high)
    assert (of_high.assessments, of_high.baseline) == (1, high)
    none = await trend(world, cloud_account_ids=["999999999999"])
    assert (none.assessments, none.left_out, len(none.points)) == (0, 5, 0)
    assert not none.HasField("newest_time")


async def test_a_span_shows_what_was_open_or_ended_in_it(world: World) -> None:
    await history(
        world, "c1", "CONTRADICTED", "SUPPORTED", "SUPPORTED", "CONTRADICTED", "SUPPORTED"
    )
    start, end = NOW + 2 * DAY, NOW + 3 * DAY
    found = await trend(world, start_time=start, end_time=end)
    assert [point.evaluate_time.ToDatetime(UTC) for point in found.points] == [start, end]
    (one,) = found.false_claims
    assert (one.state, one.first_time.ToDatetime(UTC)) == (State.STATE_OPEN, end)
    assert (found.repairs.fixed, found.assessments) == (0, 4)


async def test_over_grpc_and_what_is_refused(served: Served) -> None:
    with pytest.raises(CallRefused) as caught:
        await served.stub.GetTrend(trend_pb2.GetTrendRequest(ssp=SSP))
    assert caught.value.reason == "RESOURCE_NOT_FOUND"
    await served.world.plan(document(requirement("sc-28.1")))
    empty = await served.stub.GetTrend(trend_pb2.GetTrendRequest(ssp=SSP))
    assert (empty.assessments, len(empty.points), empty.repairs.open) == (0, 0, 0)
    await assessed(served.world, NOW, {"c1": "CONTRADICTED"})
    found = await served.stub.GetTrend(trend_pb2.GetTrendRequest(ssp=SSP))
    assert found.false_claims[0].since_first
    wrong = trend_pb2.GetTrendRequest(ssp=SSP)
    wrong.start_time.FromDatetime(NOW)
    wrong.end_time.FromDatetime(NOW - DAY)
    with pytest.raises(CallRefused) as caught:
        await served.stub.GetTrend(wrong)
    assert caught.value.code == grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.reason == "FIELD_INVALID"
    with pytest.raises(CallRefused) as caught:
        await served.stub.GetTrend(
            trend_pb2.GetTrendRequest(ssp=f"{SSP}s", cloud_account_ids=["1"])
        )
    assert caught.value.reason == "FIELD_INVALID"


async def test_the_newest_thousand_are_compared(served: Served) -> None:
    await served.world.plan(document(requirement("sc-28.1")))
    many = []
    for number in range(MAX_ASSESSMENTS + 1):
        made = pb.Assessment(
            name=f"{TENANT}/assessments/m{number}", ssp=SSP, cloud_account_ids=[ACCOUNT]
        )
        made.evaluate_time.FromDatetime(NOW + number * HOUR)
        many.append(made)
    async with served.world.store.transaction() as connection:
        await served.world.store.insert(connection, "assessments", many)
    found = await served.stub.GetTrend(trend_pb2.GetTrendRequest(ssp=SSP))
    assert (found.assessments, found.cut) == (MAX_ASSESSMENTS, True)
    assert found.first_time.ToDatetime(UTC) == NOW + HOUR
    each = api.ListAssessmentsRequest(parent=TENANT, page_size=1)
    assert (await served.stub.ListAssessments(each)).assessments[0].name == many[-1].name
