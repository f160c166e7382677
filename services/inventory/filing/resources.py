"""Which findings about resources are to be made, changed, closed and reopened: pure."""

from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any

from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import check_pb2
from secmesh.security.v1 import misconfiguration_pb2 as security
from secmesh.security.v1 import vocabulary_pb2 as words
from secmesh.security.v1.record_pb2 import Record
from services.inventory.filing.changes import Change, Fate, Plan, differing
from services.inventory.filing.identity import Key
from services.inventory.filing.weighing import Failing, Weighed

BODY = "misconfiguration"
_SEVERITIES = {
    check_pb2.SEVERITY_LOW: words.SEVERITY_LOW,
    check_pb2.SEVERITY_MEDIUM: words.SEVERITY_MEDIUM,
    check_pb2.SEVERITY_HIGH: words.SEVERITY_HIGH,
    check_pb2.SEVERITY_CRITICAL: words.SEVERITY_CRITICAL,
}
_DECIDED = frozenset(
    {
        words.FINDING_STATUS_RISK_ACCEPTED,
        words.FINDING_STATUS_FALSE_POSITIVE,
        words.FINDING_STATUS_DUPLICATE,
        words.FINDING_STATUS_SUPPRESSED,
    }
)
"""What people decided; evidence changes none of these."""


def plan_resources(
    weighed: Weighed,
    filed: Set[Key],
    known: Mapping[Key, Record],
    is_certain: Callable[[Key, str], bool],
    assessment: pb.Assessment,
) -> Plan:
    """Compare what fails with what is recorded.

    Args:
        filed: Failing resources of contradicted claims; only they make new findings.
        is_certain: Whether an account was looked at by a check, by its id.
    """
    plan = Plan()
    for key, failing in sorted(weighed.failing.items()):
        record = known.get(key)
        if record is not None:
            _still_failing(plan, failing, record, assessment, is_filed=key in filed)
        elif key in filed:
            wanted = Record(misconfiguration=_body(failing, key))
            body = wanted.misconfiguration
            body.status = words.FINDING_STATUS_OPEN
            body.last_seen_time.CopyFrom(assessment.evaluate_time)
            since = failing.evidence.HasField("since")
            body.first_seen_time.CopyFrom(
                failing.evidence.since if since else assessment.evaluate_time
            )
            plan.changes.append(Change(wanted, (), Fate.CREATED, _subject(failing)))
    for key, record in sorted(known.items()):
        sure = is_certain(key, record.misconfiguration.check_id)
        if key in weighed.excepted and key not in weighed.failing:
            _excepted(plan, record, weighed.excepted[key])
        elif sure and key not in weighed.failing and key not in weighed.unknown:
            _mended(plan, record)
        elif key not in weighed.failing:
            plan.unchanged += 1
    return plan


def _still_failing(
    plan: Plan, failing: Failing, record: Record, assessment: pb.Assessment, *, is_filed: bool
) -> None:
    old = record.misconfiguration
    closed = old.status == words.FINDING_STATUS_RESOLVED
    if closed and not is_filed:
        plan.unchanged += 1
        return
    wanted = Record(name=record.name, misconfiguration=_body(failing, None))
    paths = differing(BODY, old, wanted.misconfiguration)
    if not closed and not paths:
        plan.unchanged += 1
        return
    wanted.misconfiguration.last_seen_time.CopyFrom(assessment.evaluate_time)
    paths.append(f"{BODY}.last_seen_time")
    fate = Fate.REOPENED if closed else Fate.UPDATED
    plan.changes.append(Change(wanted, paths, fate, _subject(failing), record))


def _mended(plan: Plan, record: Record) -> None:
    old = record.misconfiguration
    wanted = Record(name=record.name)
    wanted.misconfiguration.check_status = security.CHECK_STATUS_PASS
    paths = differing(BODY, old, wanted.misconfiguration)
    is_open = old.status not in _DECIDED and old.status != words.FINDING_STATUS_RESOLVED
    if not is_open and not paths:
        plan.unchanged += 1
        return
    fate = Fate.CLOSED if is_open else Fate.UPDATED
    plan.changes.append(Change(wanted, paths, fate, f"{old.check_id} {old.title}", record))


def _excepted(plan: Plan, record: Record, exception: str) -> None:
    """Close what is accepted; the check goes on to fail, and when the exception ends it opens."""
    old = record.misconfiguration
    if old.status in _DECIDED or old.status == words.FINDING_STATUS_RESOLVED:
        plan.unchanged += 1
        return
    wanted = Record(name=record.name)
    subject = f"{old.check_id} {old.title}"
    plan.changes.append(Change(wanted, (), Fate.CLOSED, subject, record, exception))


def _body(failing: Failing, key: Key | None) -> security.Misconfiguration:
    """Write what a check says of a resource; with its key if it is new."""
    check = failing.check.message
    body = security.Misconfiguration(
        title=check.title,
        severity=_SEVERITIES[check.severity],
        check_status=security.CHECK_STATUS_FAIL,
        remediation=check.remediation,
        compliance_requirements=[_requirements(each.control_id for each in check.controls)],
    )
    body.evidence.detail = failing.resource[:8192]
    for name, value in sorted(failing.evidence.values.items()):
        body.evidence.observations.add(field=name, observed=value, expected=check.condition)
    if key is not None:
        body.check_id, body.fingerprint = check.id, key[1]
    return body


def _requirements(controls: Iterable[str]) -> Any:
    ids = sorted({*controls})
    return security.Misconfiguration.Requirements(
        framework="NIST-800-53 rev 5", requirement_ids=ids
    )


def _subject(failing: Failing) -> str:
    return f"{failing.check.id} {failing.resource}"
