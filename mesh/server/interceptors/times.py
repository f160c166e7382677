"""Times that Protobuf carries and no calendar knows; rules of a contract do not see them."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import TypeAlias

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from mesh.contract.storage import message_type

_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799
"""Of the years 1 to 9999, which timestamp.proto bounds timestamps to."""
_MOST_SECONDS = 315_576_000_000
"""Of a duration, as duration.proto bounds it."""
_NANOS = 1_000_000_000

Find: TypeAlias = Callable[[Message, str], Iterator[tuple[str, str]]]
"""Gives the path, after a prefix, and the type of each time of a message that is none."""
_Judge: TypeAlias = Callable[..., bool]
_Place: TypeAlias = tuple[str, _Judge | None]
"""A field that is a time, with its judge, or that can hold some."""


def _is_timestamp(time: Timestamp) -> bool:
    return _FIRST_SECOND <= time.seconds <= _LAST_SECOND and 0 <= time.nanos < _NANOS


def _is_duration(span: Duration) -> bool:
    one_sign = span.seconds * span.nanos >= 0
    return one_sign and abs(span.seconds) <= _MOST_SECONDS and abs(span.nanos) < _NANOS


_JUDGES: dict[str, _Judge] = {
    Timestamp.DESCRIPTOR.full_name: _is_timestamp,
    Duration.DESCRIPTOR.full_name: _is_duration,
}


@cache
def malformed_times(kind: Descriptor) -> Find | None:
    """Give what finds the malformed times of messages of a type, lists and maps apart.

    None if no message of the type can hold a time: most hold none, and are not looked at.
    """
    plain: list[_Place] = []
    choices: dict[str, dict[str, _Place]] = {}
    for field in kind.fields:
        if not _holds_times(field):
            continue
        place = field.name, _JUDGES.get(message_type(field).full_name)
        choice = field.containing_oneof
        # An optional field stands alone in its oneof.
        if choice is None or len(choice.fields) == 1:
            plain.append(place)
        else:
            choices.setdefault(choice.name, {})[field.name] = place
    if not plain and not choices:
        return None

    def find(message: Message, prefix: str) -> Iterator[tuple[str, str]]:
        for place in plain:
            if message.HasField(place[0]):
                yield from _found(message, *place, prefix)
        # Of a hundred alternatives one is set.
        for choice, alternatives in choices.items():
            chosen = alternatives.get(message.WhichOneof(choice) or "")
            if chosen is not None:
                yield from _found(message, *chosen, prefix)

    return find


def _found(
    message: Message, name: str, judge: _Judge | None, prefix: str
) -> Iterator[tuple[str, str]]:
    value: Message = getattr(message, name)
    if judge is None:
        find = malformed_times(value.DESCRIPTOR)
        if find is not None:
            yield from find(value, f"{prefix}{name}.")
    elif not judge(value):
        yield f"{prefix}{name}", value.DESCRIPTOR.full_name


def _holds_times(field: FieldDescriptor, seen: frozenset[str] = frozenset()) -> bool:
    """Tell whether a field is a time or can hold one; types may hold themselves."""
    kind = field.message_type
    if kind is None or field.is_repeated or kind.full_name in seen:
        return False
    if kind.full_name in _JUDGES:
        return True
    seen |= {kind.full_name}
    return any(_holds_times(each, seen) for each in kind.fields)
