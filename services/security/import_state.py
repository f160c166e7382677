"""What a new report changes of a finding that is known, and what people decided stays.

A finding is open, closed because reports no longer show it, or decided by a person. Reports close
and reopen; they never touch a decision. The status itself changes by a step of its declared life.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from secmesh.security.v1 import sast_issue_pb2, vocabulary_pb2
from services.security.findings.machine import STATUS

SEEN_LAST, _JUDGED = "last_seen_time", "assess_time"
SEEN = (SEEN_LAST, "scan_id", "baseline_state")
"""What changes of a finding that is only seen again."""
KEPT = ("first_seen_time", "first_scan_id")
"""What stays as it was when the finding was new."""


class Way(StrEnum):
    """How a report moves a known finding."""

    CLOSED = "closed"
    REOPENED = "reopened"
    SILENCED = "silenced"


@dataclass(frozen=True)
class Move:
    """A step that a report makes a finding take: to a status, and with a resolution or 0."""

    way: Way
    status: int
    resolution: int = 0


@dataclass(frozen=True)
class Life:
    """The states of one kind of finding, as numbers of its enum."""

    open: frozenset[int]
    closed: int
    reopened: int
    resolution: str = ""
    ends: frozenset[int] = frozenset()
    """Resolutions that come from reports, where a kind has resolutions."""
    fixed: int = 0
    resolved: int = 0
    """State of what was decided, where a resolution says what."""

    def is_open(self, body: Any) -> bool:
        return body.status in self.open

    def is_closed(self, body: Any) -> bool:
        """Whether reports closed it, and may open it again."""
        if body.status == self.closed:
            return True
        return (
            bool(self.resolution)
            and body.status == self.resolved
            and getattr(body, self.resolution) in self.ends
        )

    def closing(self) -> Move:
        """End a finding that reports do not show any more."""
        return Move(Way.CLOSED, self.closed, self.fixed)


_STATUS, _SAST = vocabulary_pb2, sast_issue_pb2
FINDING = Life(
    open=frozenset(
        {
            *(_STATUS.FINDING_STATUS_OPEN, _STATUS.FINDING_STATUS_IN_TRIAGE),
            *(_STATUS.FINDING_STATUS_CONFIRMED, _STATUS.FINDING_STATUS_IN_PROGRESS),
            _STATUS.FINDING_STATUS_REOPENED,
        }
    ),
    closed=_STATUS.FINDING_STATUS_RESOLVED,
    reopened=_STATUS.FINDING_STATUS_REOPENED,
)
ISSUE = Life(
    open=frozenset(
        {
            *(_SAST.SAST_ISSUE_STATUS_OPEN, _SAST.SAST_ISSUE_STATUS_CONFIRMED),
            _SAST.SAST_ISSUE_STATUS_REOPENED,
        }
    ),
    closed=_SAST.SAST_ISSUE_STATUS_CLOSED,
    reopened=_SAST.SAST_ISSUE_STATUS_REOPENED,
    resolution="resolution",
    ends=frozenset({_SAST.SAST_RESOLUTION_FIXED, _SAST.SAST_RESOLUTION_REMOVED}),
    fixed=_SAST.SAST_RESOLUTION_FIXED,
    resolved=_SAST.SAST_ISSUE_STATUS_RESOLVED,
)
LIVES = {
    "sast_issues": ISSUE,
    "dast_vulnerabilities": FINDING,
    "app_security_issues": FINDING,
    "misconfigurations": FINDING,
}


@dataclass(frozen=True)
class Change:
    """What an update of a known finding writes, by the names of fields, and how it moves."""

    fields: frozenset[str]
    move: Move | None = None


def settle(life: Life | None, old: Any, given: Any) -> Change:
    """Take from a new body what a known one keeps; tell which fields then change."""
    known = given.DESCRIPTOR.fields_by_name
    for name in KEPT:
        if name in known and old.HasField(name):
            given.ClearField(name)
    if SEEN_LAST in known and _micros(old, SEEN_LAST) > _micros(given, SEEN_LAST):
        # An older report says nothing of what was seen since.
        given.ClearField(SEEN_LAST)
    if life is None:
        # Of judgements, the latest stays.
        is_older = _JUDGED in known and _micros(old, _JUDGED) > _micros(given, _JUDGED)
        return Change(frozenset() if is_older else frozenset(_set(given)))
    move = _move(life, old, given)
    for name in (STATUS, life.resolution):
        if name:
            given.ClearField(name)
    return Change(frozenset(_set(given)), move)


def _move(life: Life, old: Any, given: Any) -> Move | None:
    if life.is_open(given):
        return Move(Way.REOPENED, life.reopened) if life.is_closed(old) else None
    if not life.is_open(old):
        return None
    if life.is_closed(given):
        return life.closing()
    # Silenced where it was found: nobody has decided otherwise.
    return Move(
        Way.SILENCED, given.status, getattr(given, life.resolution) if life.resolution else 0
    )


def _micros(body: Any, name: str) -> int:
    return int(getattr(body, name).ToMicroseconds()) if body.HasField(name) else 0


def _set(body: Any) -> Iterator[str]:
    return (field.name for field, _ in body.ListFields())
