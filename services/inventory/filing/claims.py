"""Which records of claims are to be made, changed, closed and reopened: pure."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import check_pb2
from secmesh.security.v1 import compliance_assessment_pb2 as security
from secmesh.security.v1.record_pb2 import Record
from services.inventory.compliance.outcomes import FAIL
from services.inventory.filing.changes import Change, Fate, Plan, differing
from services.inventory.filing.identity import claim_id

BODY = "compliance_assessment"
_STATE = security.ComplianceAssessment
_TARGETS = {
    pb.VERDICT_SUPPORTED: _STATE.TARGET_STATE_SATISFIED,
    pb.VERDICT_PARTLY_SUPPORTED: _STATE.TARGET_STATE_SATISFIED,
    pb.VERDICT_UNDERSTATED: _STATE.TARGET_STATE_SATISFIED,
    pb.VERDICT_VACUOUS: _STATE.TARGET_STATE_NOT_APPLICABLE,
    pb.VERDICT_INHERITED: _STATE.TARGET_STATE_NOT_APPLICABLE,
    pb.VERDICT_OVERDUE: _STATE.TARGET_STATE_NOT_SATISFIED,
    pb.VERDICT_GAP_CONFIRMED: _STATE.TARGET_STATE_NOT_SATISFIED,
    pb.VERDICT_WEAKENED: _STATE.TARGET_STATE_NOT_SATISFIED,
}
"""Verdicts by which a claim is not contradicted any more; others tell nothing of it."""
_EMPTIED = ("cloud_account_id", "score", "end_time")
"""Fields that a claim may lose."""
_CLAIMED_NO_MORE = "The plan does not claim it any more."


@dataclass(frozen=True)
class Scope:
    """What an assessment spoke of, in names of the security service."""

    assessment: pb.Assessment
    title: str
    """Of the plan."""
    parent: str
    """Collection that the records go to."""
    framework: str
    accounts: Mapping[str, str]
    """Names of the accounts' records by the cloud's ids."""
    whole: bool
    """Whether no account was left out."""

    def covers(self, record: Record) -> bool:
        """Tell whether all that a claim was contradicted by was looked at again."""
        account = record.compliance_assessment.cloud_account_id
        names = {self.accounts.get(each) for each in self.assessment.cloud_account_ids}
        return self.whole or (bool(account) and account in names)


def plan_claims(
    scope: Scope,
    verdicts: Sequence[pb.ClaimVerdict],
    failing_in: Mapping[str, Set[str]],
    known: Mapping[str, Record],
) -> Plan:
    """Compare the verdicts with what is recorded of the plan's claims.

    Args:
        failing_in: Accounts with failing resources, by the verdict's name.
        known: Records of the plan's claims by their ids.
    """
    plan = Plan()
    claims: dict[str, list[pb.ClaimVerdict]] = {}
    for verdict in verdicts:
        if verdict.claim:
            claims.setdefault(claim_id(scope.assessment.ssp, verdict), []).append(verdict)
    for identity, found in sorted(claims.items()):
        record = known.get(identity)
        contradicted = [each for each in found if each.verdict == pb.VERDICT_CONTRADICTED]
        if contradicted:
            worst = contradicted[0]
            _contradicted(plan, scope, identity, worst, failing_in.get(worst.name, ()), record)
        elif record is not None:
            settled = all(_is_settled(each) for each in found) and scope.covers(record)
            _settle(plan, scope, record, found[0] if settled else None)
    for identity, record in sorted(known.items()):
        if identity not in claims:
            _settle(plan, scope, record, pb.ClaimVerdict(reason=_CLAIMED_NO_MORE))
    return plan


def _is_settled(verdict: pb.ClaimVerdict) -> bool:
    """Tell whether the evidence that contradicts was read, and does not any more."""
    if verdict.verdict != pb.VERDICT_WEAKENED:
        return verdict.verdict in _TARGETS
    direct = check_pb2.EVIDENCE_GRADE_DIRECT
    return all(each.complete for each in verdict.check_results if each.grade == direct)


def _contradicted(
    plan: Plan,
    scope: Scope,
    identity: str,
    verdict: pb.ClaimVerdict,
    accounts: Set[str] | tuple[()],
    record: Record | None,
) -> None:
    old = record.compliance_assessment if record is not None else None
    if old is not None and old.status == security.ASSESSMENT_STATUS_CANCELED:
        # Somebody gave it up; that is not undone by a program.
        plan.unchanged += 1
        return
    closed = old is None or old.status == security.ASSESSMENT_STATUS_COMPLETED
    body = security.ComplianceAssessment(
        framework_id=scope.framework,
        title=f"{verdict.control_id} {verdict.component_title}".strip()[:1024],
        assessment_type=security.ASSESSMENT_TYPE_AUTOMATED,
        status=security.ASSESSMENT_STATUS_UNDER_REVIEW,
        scope=_scope(scope, verdict),
        observations=_observations(verdict),
        start_time=verdict.since,
    )
    if old is not None and not closed:
        body.status = old.status
    if account := _account(scope, accounts, None if closed else old):
        body.cloud_account_id = account
    _judge(body, verdict, _STATE.TARGET_STATE_NOT_SATISFIED)
    fate = Fate.CREATED if old is None else Fate.REOPENED if closed else Fate.UPDATED
    wanted = Record(name=f"{scope.parent}/{identity}", compliance_assessment=body)
    _add(plan, wanted, record, fate, f"{verdict.control_id} {verdict.component_title}")


def _account(
    scope: Scope,
    accounts: Set[str] | tuple[()],
    still: security.ComplianceAssessment | None,
) -> str:
    """Give the one account that contradicts a claim; empty if there are several."""
    names = {scope.accounts[each] for each in accounts if each in scope.accounts}
    if still is not None and not scope.whole:
        # Where it was contradicted before, it may still be: not all was looked at again.
        names.add(still.cloud_account_id)
    return next(iter(names)) if len(names) == 1 else ""


def _settle(plan: Plan, scope: Scope, record: Record, verdict: pb.ClaimVerdict | None) -> None:
    """Close a record by a verdict; None leaves it as it is."""
    old = record.compliance_assessment
    ended = (security.ASSESSMENT_STATUS_COMPLETED, security.ASSESSMENT_STATUS_CANCELED)
    if verdict is None or old.status in ended:
        plan.unchanged += 1
        return
    body = security.ComplianceAssessment()
    body.CopyFrom(old)
    body.status = security.ASSESSMENT_STATUS_COMPLETED
    body.end_time.CopyFrom(scope.assessment.evaluate_time)
    verdict = _of_record(old, verdict)
    target = _TARGETS.get(verdict.verdict, _STATE.TARGET_STATE_NOT_APPLICABLE)
    if any(each.excepted for each in verdict.check_results):
        # What is accepted is not satisfied.
        target = _STATE.TARGET_STATE_NOT_SATISFIED
    _judge(body, verdict, target)
    wanted = Record(name=record.name, compliance_assessment=body)
    _add(plan, wanted, record, Fate.CLOSED, old.title)


def _of_record(old: security.ComplianceAssessment, verdict: pb.ClaimVerdict) -> pb.ClaimVerdict:
    """Give a verdict with the control of the record, which a claim that is gone has not."""
    found = pb.ClaimVerdict()
    found.CopyFrom(verdict)
    if not found.control_id and old.findings:
        found.control_id = old.findings[0].target_id
    return found


def _judge(
    body: security.ComplianceAssessment,
    verdict: pb.ClaimVerdict,
    state: security.ComplianceAssessment.TargetState.ValueType,
) -> None:
    """Write one control's finding, and the counts that follow from it."""
    del body.findings[:]
    word = pb.Verdict.Name(verdict.verdict).removeprefix("VERDICT_").lower().replace("_", "-")
    body.findings.add(
        target_id=verdict.statement_id or verdict.control_id or "-",
        state=state,
        title=word if verdict.verdict else "not-claimed",
        description=verdict.reason,
    )
    body.controls_total = 1
    body.controls_satisfied = int(state == _STATE.TARGET_STATE_SATISFIED)
    body.controls_not_satisfied = int(state == _STATE.TARGET_STATE_NOT_SATISFIED)
    body.controls_not_applicable = int(state == _STATE.TARGET_STATE_NOT_APPLICABLE)
    if body.controls_not_applicable:
        body.ClearField("score")
    else:
        body.score = 100.0 * body.controls_satisfied


def _scope(scope: Scope, verdict: pb.ClaimVerdict) -> security.ComplianceAssessment.Scope:
    found = security.ComplianceAssessment.Scope(
        control_ids=[verdict.control_id],
        description=f"A claim of the plan {scope.title!r}, {scope.assessment.ssp}.",
    )
    if verdict.component_title:
        found.components.append(verdict.component_title[:256])
    return found


def _observations(verdict: pb.ClaimVerdict) -> list[security.ComplianceAssessment.Observation]:
    """Tell which checks fail, and for what."""
    return [
        security.ComplianceAssessment.Observation(
            methods=["TEST"],
            description=f"{result.check_id} fails: {result.remediation}",
            subjects=[each.subject for each in result.evidence if each.outcome == FAIL],
        )
        for result in verdict.check_results
        if result.failed
    ]


def _add(plan: Plan, wanted: Record, known: Record | None, fate: Fate, subject: str) -> None:
    paths: Sequence[str] = ()
    if known is not None:
        paths = differing(BODY, known.compliance_assessment, wanted.compliance_assessment, _EMPTIED)
        if not paths:
            plan.unchanged += 1
            return
    plan.changes.append(Change(wanted, paths, fate, subject, known))
