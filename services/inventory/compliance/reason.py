"""The facts that decide a verdict, in words: resource, value, missing action."""

from collections.abc import Sequence
from datetime import UTC

from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import check_pb2, record_pb2
from secmesh.inventory.v1.check_exception_pb2 import AppliedException

MAX_CHECKS = 3
MAX_SUBJECT = 200
_MAX_VALUE = 80
_MAX_ACTIONS = 5

_OUTCOMES = {
    record_pb2.READ_OUTCOME_UNSPECIFIED: "never collected",
    record_pb2.READ_OUTCOME_READ: "read",
    record_pb2.READ_OUTCOME_DENIED: "denied",
    record_pb2.READ_OUTCOME_THROTTLED: "throttled",
    record_pb2.READ_OUTCOME_ABSENT: "absent",
    record_pb2.READ_OUTCOME_UNSUPPORTED: "not supported",
    record_pb2.READ_OUTCOME_FAILED: "failed",
}


def outcome_word(outcome: record_pb2.ReadOutcome.ValueType) -> str:
    """Give how a read ended, in words."""
    return _OUTCOMES[outcome]


def failing_facts(results: Sequence[pb.CheckResult]) -> str:
    """Say which checks fail, how often, and the first resource of the worst with its values."""
    worst_first = sorted(results, key=lambda each: (-each.severity, -each.failed, each.check_id))
    listed = [_failing(result) for result in worst_first[:MAX_CHECKS]]
    return _joined(listed, len(worst_first), "more checks fail")


def excepted_facts(results: Sequence[pb.CheckResult]) -> str:
    """Say what fails and is accepted, by which exception and until when."""
    listed = [_excepted(result) for result in results[:MAX_CHECKS]]
    return _joined(listed, len(results), "more checks have failures that are excepted")


def exception_words(exception: AppliedException) -> str:
    """Name an exception and its end, in UTC."""
    day = exception.expire_time.ToDatetime(UTC).date().isoformat()
    return f"{exception.check_exception.rpartition('/')[2]} until {day}"


def passing_facts(results: Sequence[pb.CheckResult]) -> str:
    """Say which checks pass and how often."""
    listed = [f"{each.check_id} passes for {each.passed}" for each in results[:MAX_CHECKS]]
    return _joined(listed, len(results), "more checks pass")


def open_facts(results: Sequence[pb.CheckResult]) -> str:
    """Say which checks stay open and what their answer needs."""
    listed = [_open(result) for result in results[:MAX_CHECKS]]
    return _joined(listed, len(results), "more checks stay open")


def _joined(listed: Sequence[str], total: int, rest: str) -> str:
    more = total - len(listed)
    return "; ".join([*listed, *([f"{more} {rest}"] if more else [])])


def _failing(result: pb.CheckResult) -> str:
    weighed = result.passed + result.failed + result.excepted
    text = f"{result.check_id} fails for {result.failed} of {weighed}"
    failed = [each for each in result.evidence if each.outcome == check_pb2.EVIDENCE_OUTCOME_FAIL]
    if not failed:
        return text
    first = min(failed, key=lambda each: (each.subject, each.record))
    values = ", ".join(
        f"{field} {_cut(value, _MAX_VALUE)}" for field, value in sorted(first.values.items())[:3]
    )
    subject = _cut(first.subject, MAX_SUBJECT)
    return f"{text}, such as {subject}{f' ({values})' if values else ''}"


def _excepted(result: pb.CheckResult) -> str:
    weighed = result.passed + result.failed + result.excepted
    names = ", ".join(exception_words(each) for each in result.exceptions[:MAX_CHECKS])
    more = len(result.exceptions) - MAX_CHECKS
    listed = f"{names} and {more} more" if more > 0 else names
    return f"{result.check_id} fails for {result.excepted} of {weighed}, excepted by {listed}"


def _open(result: pb.CheckResult) -> str:
    reads = {(gap.action, gap.code, gap.outcome) for gap in result.gaps if gap.action}
    reads |= {
        (each.action, each.code, each.outcome)
        for evidence in result.evidence
        if evidence.outcome == check_pb2.EVIDENCE_OUTCOME_UNREAD
        for each in evidence.unread
        if each.action
    }
    if reads:
        listed = sorted({f"{action} ({code or outcome_word(how)})" for action, code, how in reads})
        more = f" and {len(listed) - _MAX_ACTIONS} more" if len(listed) > _MAX_ACTIONS else ""
        return f"{result.check_id} needs {', '.join(listed[:_MAX_ACTIONS])}{more}"
    if result.gaps:
        gap = result.gaps[0]
        place = "/".join(part for part in (gap.cloud_account_id, gap.region) if part)
        word = gap.code or outcome_word(gap.outcome)
        return f"{result.check_id}: {result.collection} of {place}: {word}"
    if result.stale:
        return f"{result.check_id} has only evidence that is too old, {result.stale} outcomes"
    return f"{result.check_id} was not read whole"


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "\N{HORIZONTAL ELLIPSIS}"
