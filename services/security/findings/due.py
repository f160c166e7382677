"""Until when findings are to be closed: so many days by severity (service level agreement)."""

from collections.abc import Mapping
from typing import Any

from google.protobuf.message import Message

from mesh.sql.values import timestamp_parts

SEVERITY, DUE_TIME, FIRST_SEEN = "severity", "due_time", "first_seen_time"
DAYS: Mapping[str, int] = {
    "CRITICAL": 7,
    "HIGH": 30,
    "MEDIUM": 90,
    "LOW": 120,
    # The severities of code analysis.
    "BLOCKER": 7,
    "MAJOR": 90,
    "MINOR": 120,
}
"""Days by severity, where a project has none of its own; what only informs is never due."""
_SONAR_CRITICAL = 30
_DAY = 86_400_000_000
"""Microseconds."""


def days_of(body: Message, own: Mapping[str, int] | None = None) -> int | None:
    """Give the days within which a finding is to be closed; None if there is no such time.

    ``own`` are those of its project, by severity in lower case.
    """
    field = body.DESCRIPTOR.fields_by_name[SEVERITY]
    enum = field.enum_type
    value = enum.values_by_number.get(getattr(body, SEVERITY)) if enum is not None else None
    if enum is None or value is None:
        return None
    word = value.name.removeprefix(enum.values_by_number[0].name.removesuffix("UNSPECIFIED"))
    if own is not None:
        return own.get(word.lower())
    if word == "CRITICAL" and any(each.name.endswith("_BLOCKER") for each in enum.values):
        # There it is the second of five.
        return _SONAR_CRITICAL
    return DAYS.get(word)


def has_due_time(body: Message) -> bool:
    """Tell whether findings of a kind have a time to be closed by."""
    fields = body.DESCRIPTOR.fields_by_name
    return DUE_TIME in fields and SEVERITY in fields


def set_due(body: Any, start: int, own: Mapping[str, int] | None = None) -> None:
    """Count the days from a moment, in microseconds since 1970; without any, clear the time."""
    days = days_of(body, own)
    if days is None:
        body.ClearField(DUE_TIME)
    else:
        set_moment(body, DUE_TIME, start + days * _DAY)


def moved_due(old: Any, new: Any, own: Mapping[str, int] | None = None) -> None:
    """Count anew from the same start after the severity changed."""
    days = days_of(old, own)
    if old.HasField(DUE_TIME) and days is not None:
        set_due(new, moment_of(old, DUE_TIME) - days * _DAY, own)
    elif new.HasField(FIRST_SEEN):
        set_due(new, moment_of(new, FIRST_SEEN), own)


def moment_of(body: Any, field: str) -> int:
    """Give a time in microseconds since 1970."""
    stamp = getattr(body, field)
    micros: int = stamp.seconds * 1_000_000 + stamp.nanos // 1000
    return micros


def set_moment(body: Any, field: str, moment: int) -> None:
    """Set a time in microseconds since 1970."""
    parts, stamp = timestamp_parts(moment), getattr(body, field)
    stamp.seconds, stamp.nanos = parts["seconds"], parts["nanos"]
