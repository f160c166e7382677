"""The rule by which evidence judges a claim: pure, first match wins.

1 claim-invalid. 2 inherited. 3 no bound check: no-evidence. 4 not-applicable. 5 nothing read whole
and nothing failing: indeterminate. 6 implemented. 7 partial or planned. 8 alternative, or no status
at all: manual-review. A control the plan is silent about is not-claimed. Only direct checks
contradict or support alone, and an unread read never decides anything.

A failure that an exception accepts is none, and is no pass either: if all that fails is excepted,
what is read whole and said to be implemented is partly-supported, and what is said to be partial or
planned is gap-confirmed, due or not.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import check_pb2, record_pb2, ssp_pb2
from services.inventory.compliance.reason import (
    excepted_facts,
    failing_facts,
    open_facts,
    passing_facts,
)

_DIRECT = check_pb2.EVIDENCE_GRADE_DIRECT


@dataclass(frozen=True)
class Judgement:
    """A verdict and why, in one sentence."""

    verdict: pb.Verdict.ValueType
    reason: str


@dataclass(frozen=True)
class _Weight:
    """What the bound checks say together."""

    results: Sequence[pb.CheckResult]

    @property
    def complete(self) -> bool:
        return all(result.complete for result in self.results)

    @property
    def none_complete(self) -> bool:
        return not any(result.complete for result in self.results)

    @property
    def failing(self) -> list[pb.CheckResult]:
        return [result for result in self.results if result.failed]

    @property
    def failing_directly(self) -> list[pb.CheckResult]:
        return [result for result in self.failing if result.grade == _DIRECT]

    @property
    def excepted(self) -> list[pb.CheckResult]:
        return [result for result in self.results if result.excepted]

    @property
    def passing(self) -> list[pb.CheckResult]:
        return [result for result in self.results if result.passed]

    @property
    def passing_directly(self) -> list[pb.CheckResult]:
        return [result for result in self.passing if result.grade == _DIRECT]

    @property
    def concerning(self) -> list[pb.CheckResult]:
        """Checks that found something to which the control applies."""
        return [each for each in self.results if each.passed or each.failed or each.excepted]

    @property
    def open(self) -> list[pb.CheckResult]:
        return [result for result in self.results if not result.complete]


def _weigh(results: Sequence[pb.CheckResult]) -> _Weight:
    return _Weight(sorted(results, key=lambda result: result.check_id))


def judge(
    claim: ssp_pb2.Claim,
    results: Sequence[pb.CheckResult],
    *,
    problems: Sequence[str] = (),
    evaluate_time: datetime,
) -> Judgement:
    """Judge one claim by the outcomes of the checks bound to its control.

    ``problems`` are thresholds of the claim that a bound check needs and cannot read.
    """
    if claim.invalid_reason or problems:
        return Judgement(pb.VERDICT_CLAIM_INVALID, _sentence(claim.invalid_reason or problems[0]))
    if claim.inherited:
        title = claim.component_title or "another authorized system"
        return Judgement(pb.VERDICT_INHERITED, f"{title} answers for it; it is not tested here.")
    if not results:
        return Judgement(pb.VERDICT_NO_EVIDENCE, "No check speaks for this control.")
    weight = _weigh(results)
    if claim.state == ssp_pb2.CLAIM_STATE_NOT_APPLICABLE:
        return _not_applicable(weight)
    if weight.none_complete and not weight.failing:
        return _indeterminate(weight)
    if claim.state == ssp_pb2.CLAIM_STATE_IMPLEMENTED:
        return _implemented(weight)
    if claim.state in (ssp_pb2.CLAIM_STATE_PARTIAL, ssp_pb2.CLAIM_STATE_PLANNED):
        return _unfinished(claim, weight, evaluate_time)
    return _manual(claim, weight)


def judge_silence(results: Sequence[pb.CheckResult]) -> Judgement:
    """Judge a control of the baseline that no claim speaks of."""
    weight = _weigh(results)
    if weight.failing:
        facts = failing_facts(weight.failing)
        return Judgement(pb.VERDICT_NOT_CLAIMED_FAILING, f"The plan is silent, and {facts}.")
    if not results:
        return Judgement(pb.VERDICT_NOT_CLAIMED, "The plan is silent; no check speaks for it.")
    if weight.open:
        facts = open_facts(weight.open)
        return Judgement(pb.VERDICT_NOT_CLAIMED, f"The plan is silent; {facts}.")
    if weight.excepted:
        facts = excepted_facts(weight.excepted)
        return Judgement(pb.VERDICT_NOT_CLAIMED, f"The plan is silent; {facts}.")
    found = passing_facts(weight.passing) if weight.passing else "nothing here concerns it"
    return Judgement(pb.VERDICT_NOT_CLAIMED, f"The plan is silent; {found}.")


def worst(verdicts: Iterable[pb.Verdict.ValueType]) -> pb.Verdict.ValueType:
    """Give the worst of the verdicts on one control: the smallest number (assessment.proto)."""
    return min(verdicts, default=pb.VERDICT_UNSPECIFIED)


def missing_actions(results: Iterable[pb.CheckResult]) -> list[str]:
    """Give the IAM actions whose grant would turn unread evidence into an answer, sorted."""
    results = list(results)
    denied = record_pb2.READ_OUTCOME_DENIED
    from_gaps = {gap.action for result in results for gap in result.gaps if gap.outcome == denied}
    from_rows = {
        unread.action
        for result in results
        for evidence in result.evidence
        if evidence.outcome == check_pb2.EVIDENCE_OUTCOME_UNREAD
        for unread in evidence.unread
        if unread.outcome == denied
    }
    return sorted((from_gaps | from_rows) - {""})


def _not_applicable(weight: _Weight) -> Judgement:
    concerning = weight.concerning
    direct = [result for result in concerning if result.grade == _DIRECT]
    if direct:
        found = _found(direct)
        return Judgement(
            pb.VERDICT_CONTRADICTED, f"Said not to apply, yet {found} to which it does."
        )
    if concerning:
        found = _found(concerning)
        return Judgement(pb.VERDICT_WEAKENED, f"Said not to apply, yet {found} that hint it does.")
    if not weight.complete:
        return _indeterminate(weight)
    if any(result.grade == _DIRECT for result in weight.results):
        return Judgement(pb.VERDICT_SUPPORTED, "Nothing was found to which the control applies.")
    return Judgement(
        pb.VERDICT_PARTLY_SUPPORTED, "Partial checks found nothing to which the control applies."
    )


def _implemented(weight: _Weight) -> Judgement:
    if weight.failing_directly:
        facts = failing_facts(weight.failing_directly)
        return Judgement(pb.VERDICT_CONTRADICTED, f"Said to be implemented, yet {facts}.")
    if weight.failing:
        facts = failing_facts(weight.failing)
        return Judgement(
            pb.VERDICT_WEAKENED, f"Said to be implemented; no direct check fails, but {facts}."
        )
    if not weight.complete:
        return _indeterminate(weight)
    if weight.excepted:
        facts = excepted_facts(weight.excepted)
        return Judgement(
            pb.VERDICT_PARTLY_SUPPORTED, f"Said to be implemented; nothing else fails, but {facts}."
        )
    if weight.passing_directly:
        facts = passing_facts(weight.passing_directly)
        return Judgement(pb.VERDICT_SUPPORTED, _sentence(facts))
    return _faintly(weight)


def _faintly(weight: _Weight) -> Judgement:
    if weight.passing:
        facts = passing_facts(weight.passing)
        return Judgement(
            pb.VERDICT_PARTLY_SUPPORTED, f"No direct check speaks for it, but {facts}."
        )
    checks = ", ".join(result.check_id for result in weight.results)
    return Judgement(pb.VERDICT_VACUOUS, f"Read whole, and {checks} found nothing to weigh.")


def _unfinished(claim: ssp_pb2.Claim, weight: _Weight, evaluate_time: datetime) -> Judgement:
    partial = claim.state == ssp_pb2.CLAIM_STATE_PARTIAL
    said = "partial" if partial else "planned"
    if weight.failing:
        facts = failing_facts(weight.failing)
        due = _due(claim)
        if due is not None and due < evaluate_time:
            day = due.date().isoformat()
            return Judgement(pb.VERDICT_OVERDUE, f"Planned to be complete by {day}, yet {facts}.")
        return Judgement(pb.VERDICT_GAP_CONFIRMED, f"Said to be {said}, and {facts}.")
    if weight.excepted:
        facts = excepted_facts(weight.excepted)
        return Judgement(pb.VERDICT_GAP_CONFIRMED, f"Said to be {said}, and {facts}.")
    if not weight.complete:
        return _indeterminate(weight)
    if weight.passing_directly:
        facts = passing_facts(weight.passing_directly)
        return Judgement(pb.VERDICT_UNDERSTATED, f"Said to be {said}, yet {facts}.")
    if weight.passing and not partial:
        facts = passing_facts(weight.passing)
        return Judgement(pb.VERDICT_MANUAL_REVIEW, f"Said to be planned; {facts}.")
    return _faintly(weight)


def _manual(claim: ssp_pb2.Claim, weight: _Weight) -> Judgement:
    said = (
        "Said to be reached by other means"
        if claim.state == ssp_pb2.CLAIM_STATE_ALTERNATIVE
        else "The plan names no implementation status"
    )
    if weight.failing:
        facts = failing_facts(weight.failing)
    elif weight.open:
        facts = open_facts(weight.open)
    elif weight.excepted:
        facts = excepted_facts(weight.excepted)
    elif weight.passing:
        facts = passing_facts(weight.passing)
    else:
        facts = "nothing was found to weigh"
    return Judgement(pb.VERDICT_MANUAL_REVIEW, f"{said}; a person must judge: {facts}.")


def _indeterminate(weight: _Weight) -> Judgement:
    return Judgement(pb.VERDICT_INDETERMINATE, _sentence(open_facts(weight.open)))


def _due(claim: ssp_pb2.Claim) -> datetime | None:
    if not claim.HasField("planned_completion_time"):
        return None
    return claim.planned_completion_time.ToDatetime(UTC)


def _found(results: Sequence[pb.CheckResult]) -> str:
    listed = ", ".join(
        f"{result.check_id} found {result.passed + result.failed + result.excepted}"
        for result in results[:3]
    )
    return (
        listed if len(results) <= 3 else f"{listed} and {len(results) - 3} more checks found some"
    )


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."
