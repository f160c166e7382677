"""From claims and check results to verdicts and their counts: pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import check_pb2, ssp_pb2
from services.inventory.compliance.check_catalogue import BoundCheck, CheckCatalogue
from services.inventory.compliance.controls import baseline_controls
from services.inventory.compliance.deadlines import is_deviation
from services.inventory.compliance.thresholds import (
    IN_DAYS,
    ThresholdUnclear,
    claim_thresholds,
    weaker,
)
from services.inventory.compliance.verdict import judge, judge_silence, missing_actions, worst

MAX_RESULTS = 200
MAX_ACTIONS = 100
MAX_ASSESSMENT_ACTIONS = 500
MAX_REASON = 2048
_FEDRAMP_MODERATE = "FedRAMP rev 5 Moderate"
# High admits nothing that Moderate does not.
_HELD_TO_MODERATE = (ssp_pb2.BASELINE_FEDRAMP_MODERATE, ssp_pb2.BASELINE_FEDRAMP_HIGH)


@dataclass(frozen=True)
class Run:
    """A check and the thresholds to run it with."""

    check_id: str
    thresholds: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Binding:
    """A claim, or a control the plan is silent about, and the runs that judge it."""

    control_id: str
    claim: ssp_pb2.Claim | None
    runs: tuple[Run, ...]
    problems: tuple[str, ...] = ()
    below_baseline: tuple[str, ...] = ()


def bind(
    plan: ssp_pb2.Ssp, claims: Sequence[ssp_pb2.Claim], checks: CheckCatalogue
) -> list[Binding]:
    """Find the runs of every claim, and of every control of the baseline without one."""
    bindings = [_bind_claim(claim, plan.baseline, checks) for claim in claims]
    claimed = {claim.control_id for claim in claims}
    for control in baseline_controls(plan.baseline):
        if control not in claimed:
            runs = tuple(run_of(check, check.defaults()) for check in checks.of(control))
            bindings.append(Binding(control, None, runs))
    return bindings


def _bind_claim(
    claim: ssp_pb2.Claim, baseline: ssp_pb2.Baseline.ValueType, checks: CheckCatalogue
) -> Binding:
    if claim.invalid_reason:
        return Binding(claim.control_id, claim, ())
    runs: list[Run] = []
    problems: list[str] = []
    below: list[str] = []
    for check in checks.of(claim.control_id):
        try:
            thresholds = claim_thresholds(claim, check.message)
        except ThresholdUnclear as unclear:
            problems.append(str(unclear))
            continue
        runs.append(run_of(check, thresholds))
        if baseline in _HELD_TO_MODERATE:
            below += _below(claim, check, thresholds)
    # Another system's evidence is not ours to show.
    kept = () if claim.inherited or problems else tuple(runs)
    return Binding(claim.control_id, claim, kept, tuple(problems), tuple(dict.fromkeys(below)))


def run_of(check: BoundCheck, thresholds: Mapping[str, int]) -> Run:
    """Name a check with its thresholds, so that results can be found by it."""
    return Run(check.id, tuple(sorted(thresholds.items())))


def _below(claim: ssp_pb2.Claim, check: BoundCheck, thresholds: Mapping[str, int]) -> Iterable[str]:
    for parameter in check.message.parameters:
        if parameter.param_id not in claim.parameters:
            continue
        if not parameter.HasField("fedramp_moderate_value"):
            continue
        value, admitted = thresholds[parameter.variable], parameter.fedramp_moderate_value
        if weaker(value, admitted, parameter.direction):
            unit = " days" if parameter.unit in IN_DAYS else ""
            at_most = parameter.direction == check_pb2.THRESHOLD_DIRECTION_AT_MOST
            bound = "at most" if at_most else "at least"
            yield (
                f"{parameter.param_id} is {value}{unit}; "
                f"{_FEDRAMP_MODERATE} admits {bound} {admitted}{unit}"
            )


def verdicts(
    name: str,
    bindings: Sequence[Binding],
    results: Mapping[Run, pb.CheckResult],
    evaluate_time: datetime,
) -> list[pb.ClaimVerdict]:
    """Judge every binding for the assessment ``name``, the worst first."""
    found = [_verdict(name, binding, results, evaluate_time) for binding in bindings]
    by_control: dict[str, list[pb.Verdict.ValueType]] = {}
    for verdict in found:
        by_control.setdefault(verdict.control_id, []).append(verdict.verdict)
    for verdict in found:
        verdict.control_verdict = worst(by_control[verdict.control_id])
    return sorted(found, key=lambda each: (each.verdict, each.control_id, each.name))


def _verdict(
    name: str,
    binding: Binding,
    results: Mapping[Run, pb.CheckResult],
    evaluate_time: datetime,
) -> pb.ClaimVerdict:
    own = sorted(
        (results[run] for run in binding.runs),
        key=lambda result: (
            not result.failed,
            not result.excepted,
            result.complete,
            result.check_id,
        ),
    )
    claim = binding.claim
    if claim is None:
        judged = judge_silence(own)
        found = pb.ClaimVerdict(name=f"{name}/verdicts/control-{binding.control_id}")
    else:
        judged = judge(claim, own, problems=binding.problems, evaluate_time=evaluate_time)
        found = pb.ClaimVerdict(
            name=f"{name}/verdicts/{claim.name.rsplit('/', 1)[-1]}",
            claim=claim.name,
            statement_id=claim.statement_id,
            implementation_statement_uuid=claim.implementation_statement_uuid,
            component_title=claim.component_title,
            state=claim.state,
            source=claim.source,
            below_baseline=binding.below_baseline,
        )
    found.control_id = binding.control_id
    found.verdict = judged.verdict
    found.reason = judged.reason[:MAX_REASON]
    found.check_results.extend(own[:MAX_RESULTS])
    found.missing_actions.extend(missing_actions(own)[:MAX_ACTIONS])
    found.rests_on_exception = is_deviation(found)
    return found


def date_verdicts(
    found: Iterable[pb.ClaimVerdict],
    earlier: Iterable[pb.ClaimVerdict],
    evaluate_time: datetime,
) -> None:
    """Say since when each claim has had its verdict, by those of the assessment before."""
    before = {verdict.name.rpartition("/")[2]: verdict for verdict in earlier}
    for verdict in found:
        old = before.get(verdict.name.rpartition("/")[2])
        if old is not None and old.verdict == verdict.verdict and old.HasField("since"):
            verdict.since.CopyFrom(old.since)
            verdict.previous_verdict = old.previous_verdict
            continue
        verdict.since.FromDatetime(evaluate_time)
        if old is not None and old.verdict != verdict.verdict:
            verdict.previous_verdict = old.verdict


def summarise(assessment: pb.Assessment, found: Sequence[pb.ClaimVerdict]) -> None:
    """Fill the counts of an assessment: nothing is averaged, everything is counted."""
    of_controls = {verdict.control_id: verdict.control_verdict for verdict in found}
    of_claims = [verdict.verdict for verdict in found if verdict.claim]
    assessment.controls = len(of_controls)
    assessment.control_counts.extend(_counts(of_controls.values()))
    assessment.claims = len(of_claims)
    assessment.claim_counts.extend(_counts(of_claims))
    accepted = [each.verdict for each in found if each.claim and each.rests_on_exception]
    assessment.excepted_claim_counts.extend(_counts(accepted))
    assessment.below_baseline = sum(bool(verdict.below_baseline) for verdict in found)
    assessment.excepted_claims = sum(
        bool(verdict.claim) and _excepted(verdict) for verdict in found
    )
    actions = {action for verdict in found for action in verdict.missing_actions}
    assessment.missing_actions.extend(sorted(actions)[:MAX_ASSESSMENT_ACTIONS])


def _excepted(verdict: pb.ClaimVerdict) -> bool:
    return any(result.excepted for result in verdict.check_results)


def _counts(found: Iterable[pb.Verdict.ValueType]) -> list[pb.VerdictCount]:
    counted = sorted(Counter(found).items())
    return [pb.VerdictCount(verdict=verdict, count=count) for verdict, count in counted]
