"""What is to be written into the security service, and what became of it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from secmesh.security.v1.record_pb2 import Record


class Fate(StrEnum):
    """What becomes of a record; the names of the counts."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    CLOSED = "closed"
    REOPENED = "reopened"
    LEFT = "left"
    REJECTED = "rejected"


@dataclass
class Change:
    """A record as it shall be, with the fields that differ from what is there."""

    record: Record
    paths: Sequence[str]
    """As an update mask has them; none if only the status changes."""
    fate: Fate
    subject: str
    """What it is about, for people."""
    known: Record | None = None
    """The record as it is; None for a new one."""
    excepted: str = ""
    """The exception by which it is closed, and its end; empty if it is mended."""


@dataclass
class Plan:
    """All that differs, and how much does not."""

    changes: list[Change] = field(default_factory=list)
    unchanged: int = 0

    def of(self, *fates: Fate) -> list[Change]:
        """Give the changes of some fates."""
        return [change for change in self.changes if change.fate in fates]

    def counts(self) -> Counter[Fate]:
        """Count what becomes of the records."""
        return Counter(
            {Fate.UNCHANGED: self.unchanged} | Counter(change.fate for change in self.changes)
        )


def differing(field_name: str, known: Any, wanted: Any, emptied: Iterable[str] = ()) -> list[str]:
    """Give the paths of the fields of a wanted body that a known one has otherwise.

    Fields that are not set are not compared, but those in ``emptied``.
    """
    names = {each.name for each, _ in wanted.ListFields()} | {*emptied}
    return [
        f"{field_name}.{name}"
        for name in sorted(names)
        if _shown(known, name) != _shown(wanted, name)
    ]


def _shown(body: Any, name: str) -> Any:
    each = body.DESCRIPTOR.fields_by_name[name]
    if each.is_repeated:
        return list(getattr(body, name))
    return getattr(body, name) if body.HasField(name) else None
