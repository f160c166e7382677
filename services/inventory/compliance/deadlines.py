"""By when a weakness must be mended: the plan's own date, its response times, or FedRAMP's.

Response times stand in the parameter ``ra-05_odp.03`` of SP 800-53 rev 5 (RA-5 d); FedRAMP rev 5
sets 30 days for high, 90 for moderate and 180 for low risks.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import check_pb2, ssp_pb2
from services.inventory.compliance.thresholds import ThresholdUnclear, read_threshold

PARAMETER = "ra-05_odp.03"
DEFAULT_DAYS: Mapping[check_pb2.Severity.ValueType, int] = {
    check_pb2.SEVERITY_CRITICAL: 30,
    check_pb2.SEVERITY_HIGH: 30,
    check_pb2.SEVERITY_MEDIUM: 90,
    check_pb2.SEVERITY_LOW: 180,
}
_WORDS = {
    "critical": check_pb2.SEVERITY_CRITICAL,
    "high": check_pb2.SEVERITY_HIGH,
    "moderate": check_pb2.SEVERITY_MEDIUM,
    "medium": check_pb2.SEVERITY_MEDIUM,
    "low": check_pb2.SEVERITY_LOW,
}
_EXCEPTED = (pb.VERDICT_PARTLY_SUPPORTED, pb.VERDICT_GAP_CONFIRMED, pb.VERDICT_NOT_CLAIMED)
"""Verdicts of which a failure that is excepted is a risk somebody approved."""
_SEVERITY = re.compile(rf"\b({'|'.join(_WORDS)})\b", re.IGNORECASE)


@dataclass(frozen=True)
class Deadlines:
    """The deadlines of one plan's weaknesses."""

    days: Mapping[check_pb2.Severity.ValueType, int] = field(default_factory=lambda: DEFAULT_DAYS)
    planned: Mapping[str, datetime] = field(default_factory=dict)
    """Planned completion by claim name."""

    def of(self, verdict: pb.ClaimVerdict, weighed: datetime) -> datetime:
        """Give the deadline of a weakness: counted from when it was found, not from each look.

        What is excepted must be mended when the first of its exceptions ends; a claim that is false
        all the same, such as that a control does not apply, waits for none.
        """
        until = excepted_until(verdict)
        if until is not None and is_deviation(verdict):
            return until
        planned = self.planned.get(verdict.claim)
        if planned is not None:
            return planned
        found = verdict.since.ToDatetime(UTC) if verdict.HasField("since") else weighed
        return found + timedelta(days=self.days[severity(verdict)])


def excepted_until(verdict: pb.ClaimVerdict) -> datetime | None:
    """Give when what fails counts again, if all of it is excepted; None if it is not."""
    results = verdict.check_results
    if any(result.failed for result in results):
        return None
    ends = [each.expire_time.ToDatetime(UTC) for result in results for each in result.exceptions]
    return min(ends, default=None)


def is_deviation(verdict: pb.ClaimVerdict) -> bool:
    """Tell whether all that fails is excepted, and the verdict rests on that."""
    return verdict.verdict in _EXCEPTED and excepted_until(verdict) is not None


def severity(verdict: pb.ClaimVerdict) -> check_pb2.Severity.ValueType:
    """Give the worst severity of the checks that fail, of all if none does; low if none says.

    What is excepted fails too.
    """
    results = verdict.check_results
    failing = [
        result.severity
        for result in results
        if result.severity and (result.failed or result.excepted)
    ]
    spoken = failing or [result.severity for result in results if result.severity]
    return max(spoken, default=check_pb2.SEVERITY_LOW)


def plan_deadlines(claims: Iterable[ssp_pb2.Claim]) -> Deadlines:
    """Read the deadlines that a plan sets; FedRAMP's stand for what it leaves open."""
    days = dict(DEFAULT_DAYS)
    planned: dict[str, datetime] = {}
    for claim in claims:
        if claim.HasField("planned_completion_time"):
            planned[claim.name] = claim.planned_completion_time.ToDatetime(UTC)
        if claim.control_id == "ra-5" and PARAMETER in claim.parameters:
            days |= response_days(claim.parameters[PARAMETER])
    return Deadlines(days, planned)


def response_days(text: str) -> dict[check_pb2.Severity.ValueType, int]:
    """Read response times such as ``high: 15 days; low: 120 days``; what is unclear is left out.

    Without a word for severity one time is of all. Critical is as high if it is not named.
    """
    words = list(_SEVERITY.finditer(text))
    if not words:
        alone = _days(text)
        return {} if alone is None else dict.fromkeys(DEFAULT_DAYS, alone)
    # `30 days for high, 90 days for moderate`: the time stands before its word.
    before = _days(text[: words[0].start()]) is not None
    found: dict[check_pb2.Severity.ValueType, int] = {}
    for place, word in enumerate(words):
        if before:
            start = words[place - 1].end() if place else 0
            days = _days(text[start : word.start()])
        else:
            end = words[place + 1].start() if place + 1 < len(words) else len(text)
            days = _days(text[word.end() : end])
        if days is not None:
            found[_WORDS[word[1].lower()]] = days
    if check_pb2.SEVERITY_HIGH in found:
        found.setdefault(check_pb2.SEVERITY_CRITICAL, found[check_pb2.SEVERITY_HIGH])
    return found


def _days(text: str) -> int | None:
    try:
        return read_threshold(text, check_pb2.THRESHOLD_UNIT_DAYS)
    except ThresholdUnclear:
        return None
