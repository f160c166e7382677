"""The moments of one record, in the order in which such things happen."""

from collections.abc import Iterable
from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from services.security.seeding.draw import Draw

_ORDER = (
    *("valid_from_time", "effective_time", "period_start_time", "occur_time", "receive_time"),
    *("first_commit_time", "joined_time", "discover_time", "enroll_time", "install_time"),
    *("enable_time", "encrypt_time", "grant_time", "launch_time", "apply_time", "deploy_time"),
    *("decide_time", "start_time", "first_seen_time", "event_time", "send_time", "open_time"),
    *("click_time", "submit_time", "detect_time", "record_time", "measure_time", "verify_time"),
    *("acknowledge_time", "review_time", "contain_time", "use_time", "last_commit_time"),
    *("last_attack_time", "last_activity_time", "last_seen_time", "last_use_time"),
    *("resolve_time", "complete_time", "end_time", "period_end_time", "close_time", "scan_time"),
    *("analyze_time", "execute_time", "report_time", "generate_time", "assess_time"),
)
_LATER = (
    *("due_time", "expire_time", "next_rotate_time", "next_assess_time", "next_due_time"),
    *("valid_until_time", "locked_until", "access_review_due_time", "send_by_time"),
)
"""What lies ahead of all that happened."""
_RANK = {name: rank for rank, name in enumerate(_ORDER)}
_SHORT = ("duration_ms", "duration_seconds")
_SHORT_SPAN, _LONG_SPAN = 2 * 3600, 21 * 86_400
"""Seconds from the first moment to the last, where the record says how long it took, and else."""
_AHEAD = 60 * 86_400
_BACK = 90 * 86_400
"""How far back things begin."""
_TIMESTAMP = "google.protobuf.Timestamp"
_EXPIRED = "expired"


class Timeline:
    """Sets the moments of one kind's records."""

    def __init__(self, body: Descriptor, until: int) -> None:
        """``until``: seconds since 1970 after which nothing has happened."""
        names = [
            each.name
            for each in body.fields
            if each.message_type is not None and each.message_type.full_name == _TIMESTAMP
        ]
        middle = len(_ORDER) / 2
        self._past = sorted(
            (name for name in names if name not in _LATER),
            key=lambda name: _RANK.get(name, middle),
        )
        self._later = [name for name in names if name in _LATER]
        self._until = until
        short = any(name in body.fields_by_name for name in _SHORT)
        self._span = _SHORT_SPAN if short else _LONG_SPAN

    def birth(self, draw: Draw) -> int:
        """Give when it began, in seconds since 1970; the last days have the most."""
        return self._until - 1 - int(_BACK * draw.random.random() ** 2)

    def set(self, body: Any, wanted: Iterable[str], birth: int, draw: Draw) -> None:
        """Set those moments that a record has; the first is that of its beginning."""
        chosen = frozenset(wanted)
        past = [name for name in self._past if name in chosen]
        end = min(birth + int(self._span * draw.random.random()) + 1, self._until)
        last = birth
        for place, name in enumerate(past):
            if place:
                rest = len(past) - place
                last += int((end - last) * draw.random.random() / rest * 2) if rest > 1 else 0
                last = end if rest == 1 else min(last, end)
            getattr(body, name).seconds = last
        for name in self._later:
            if name in chosen:
                over = _EXPIRED in draw.said
                ahead = 0 if over else 1 + int(_AHEAD * draw.random.random())
                getattr(body, name).seconds = (last if over else self._until) + ahead


def span_of(body: Message, start: str, end: str) -> int | None:
    """Give the milliseconds between two moments of a record; None if one is not said."""
    fields = body.DESCRIPTOR.fields_by_name
    if start not in fields or end not in fields:
        return None
    if not (body.HasField(start) and body.HasField(end)):
        return None
    first, last = getattr(body, start), getattr(body, end)
    return int((last.seconds - first.seconds) * 1000)
