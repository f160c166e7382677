"""A resource as one run saw it, before it is compared with what is stored."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from mesh.aws.reader import Absent, Answer, Response, Unread

Body = TypeVar("Body", bound=Message)

Truth = bool | Unread
"""A Boolean of Kleene's logic: unknown is the read that would decide it."""


@dataclass
class Draft(Generic[Body]):
    """One resource: what was read of it, and which of its fields were not."""

    native_id: str
    """Identifies it within account, unit region and collection, whatever could be read."""
    body: Body
    arn: str = ""
    region: str = ""
    """Where it lives; empty for the unit's own region, or if that was not read."""
    region_gap: Unread | None = None
    """Why the region was not read."""
    unread: dict[str, Unread] = field(default_factory=dict)
    only_if_stored: bool = False
    """Nothing listed it in this run; it is known to exist if it was known before."""
    record: str = ""
    """Name of the record that it was made of; empty for what was read."""

    def miss(self, unread: Unread, *fields: str) -> None:
        """Mark fields whose read gave no answer; their first gap stays."""
        for name in fields:
            if name not in self.body.DESCRIPTOR.fields_by_name:
                raise ValueError(f"{self.body.DESCRIPTOR.full_name} has no field {name!r}")
            self.body.ClearField(name)
            self.unread.setdefault(name, unread)

    def take(
        self, answer: Answer, fields: Iterable[str], fill: Callable[[Body, Response | None], None]
    ) -> None:
        """Fill fields from an answer (None if absent), or mark them."""
        if isinstance(answer, Unread):
            self.miss(answer, *fields)
        else:
            fill(self.body, None if isinstance(answer, Absent) else answer)

    def decide(self, name: str, truth: Truth) -> None:
        """Set a Boolean field, or mark it."""
        if isinstance(truth, Unread):
            self.miss(truth, name)
        else:
            setattr(self.body, name, truth)

    def truth(self, name: str) -> Truth:
        """Give a Boolean field, or the gap in its place."""
        return self.unread.get(name) or bool(getattr(self.body, name))


@dataclass(frozen=True)
class Collected:
    """What a unit read.

    If nothing listed the unit's resources completely, ``unlisted`` says why, and
    a resource that is not among the drafts may well exist.
    """

    drafts: list[Draft[Any]]
    unlisted: Unread | None = None


def any_of(truths: Iterable[Truth]) -> Truth:
    """True if any is; else the first unknown; else false."""
    unknown: Unread | None = None
    for truth in truths:
        if truth is True:
            return True
        if isinstance(truth, Unread):
            unknown = unknown or truth
    return unknown or False


def all_of(truths: Iterable[Truth]) -> Truth:
    """False if any is; else the first unknown; else true."""
    unknown: Unread | None = None
    for truth in truths:
        if truth is False:
            return False
        if isinstance(truth, Unread):
            unknown = unknown or truth
    return unknown or True


def negate(truth: Truth) -> Truth:
    return truth if isinstance(truth, Unread) else not truth


def timestamp(moment: datetime) -> Timestamp:
    """Give a moment to the microsecond, the resolution of the stores."""
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def tag_map(tags: Iterable[Response]) -> dict[str, str]:
    """Give AWS's list of tags as a map."""
    return {str(tag["Key"]): str(tag.get("Value", "")) for tag in tags}
