"""Types of values in conditions, and the form in which values are compared.

Timestamps and durations are ints of microseconds, as they are stored: finer parts of a
message or literal are cut off, so that memory and SQL see the same moment.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import Any, TypeAlias

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from mesh.contract.catalogue import is_map
from mesh.contract.storage import MICROSECONDS, Storage, item_storage, message_type


class CelType(Enum):
    """Scalar types of CEL."""

    BOOL = auto()
    INT = auto()
    UINT = auto()
    DOUBLE = auto()
    STRING = auto()
    BYTES = auto()
    TIMESTAMP = auto()
    DURATION = auto()


@dataclass(frozen=True)
class ListType:
    item: "Type"


@dataclass(frozen=True)
class MapType:
    key: "Type"
    value: "Type"


@dataclass(frozen=True)
class MessageType:
    descriptor: Descriptor


@dataclass(frozen=True)
class OpaqueType:
    """What is stored in a form that SQL cannot compare: only its presence can be asked."""

    name: str
    """As CEL names it: a message of another package, or bytes or uint within JSON."""


Type: TypeAlias = CelType | ListType | MapType | MessageType | OpaqueType
Value: TypeAlias = Any
"""A scalar, a message, a list or a map; None is unknown."""

# CEL's ranges: int64 and uint64, years 1 to 9999, and a duration of about 10,000 years.
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LONGEST = 315_576_000_000 * MICROSECONDS
RANGES: Mapping[CelType, tuple[int, int]] = {
    CelType.INT: (-(2**63), 2**63 - 1),
    # SQL has no unsigned integers of 64 bits.
    CelType.UINT: (0, 2**63 - 1),
    CelType.TIMESTAMP: (
        (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND,
        (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND,
    ),
    CelType.DURATION: (-_LONGEST, _LONGEST),
}
"""Least and greatest value of the types that are integers underneath."""

_SCALARS: Mapping[int, CelType] = {
    FieldDescriptor.CPPTYPE_BOOL: CelType.BOOL,
    FieldDescriptor.CPPTYPE_INT32: CelType.INT,
    FieldDescriptor.CPPTYPE_INT64: CelType.INT,
    FieldDescriptor.CPPTYPE_ENUM: CelType.INT,
    FieldDescriptor.CPPTYPE_UINT32: CelType.UINT,
    FieldDescriptor.CPPTYPE_UINT64: CelType.UINT,
    FieldDescriptor.CPPTYPE_FLOAT: CelType.DOUBLE,
    FieldDescriptor.CPPTYPE_DOUBLE: CelType.DOUBLE,
}


_WIDE = frozenset({FieldDescriptor.TYPE_UINT64, FieldDescriptor.TYPE_FIXED64})


def type_of(field: FieldDescriptor, *, in_json: bool = False) -> Type:
    """Give the type of a field's value, in a column of its own or within JSON."""
    if is_map(field):
        entry = message_type(field).fields_by_name
        return MapType(_single(entry["key"], in_json=True), _single(entry["value"], in_json=True))
    if field.is_repeated:
        return ListType(_single(field, in_json=True))
    return _single(field, in_json=in_json)


def _single(field: FieldDescriptor, *, in_json: bool) -> Type:
    """Give the type of one value of a field: of the item, if it is a list."""
    storage = item_storage(field)
    if storage is Storage.TIMESTAMP:
        return CelType.TIMESTAMP
    if storage is Storage.DURATION:
        return CelType.DURATION
    if field.message_type is not None:
        opaque = storage is Storage.OPAQUE
        descriptor = field.message_type
        return OpaqueType(descriptor.full_name) if opaque else MessageType(descriptor)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return OpaqueType("bytes") if in_json else CelType.BYTES
    if field.type in _WIDE:
        return OpaqueType("uint")
    return _SCALARS.get(field.cpp_type, CelType.STRING)


def describe(kind: Type) -> str:
    """Name a type as CEL does."""
    match kind:
        case CelType():
            return kind.name.lower()
        case ListType():
            return f"list({describe(kind.item)})"
        case MapType():
            return f"map({describe(kind.key)}, {describe(kind.value)})"
        case MessageType():
            return kind.descriptor.full_name
        case OpaqueType():
            return kind.name


def from_datetime(moment: datetime) -> int:
    """Count microseconds since 1970; ValueError without a time zone."""
    if moment.tzinfo is None:
        raise ValueError("a timestamp needs a time zone")
    return (moment - _EPOCH) // _MICROSECOND


def from_timedelta(length: timedelta) -> int:
    """Count microseconds."""
    return length // _MICROSECOND


def _finite(value: float) -> float | None:
    """Hide NaN and infinity, which are refused in storage."""
    return value if math.isfinite(value) else None


def _microseconds(message: Any) -> int:
    """Count the whole microseconds of a Timestamp or Duration, as storage does."""
    return int(message.seconds * MICROSECONDS + message.nanos // 1000)


def reader(kind: Type) -> Callable[[Any], Value] | None:
    """Give the function from what a message holds to a value; None if they are the same."""
    match kind:
        case CelType.TIMESTAMP | CelType.DURATION:
            return _microseconds
        case CelType.DOUBLE:
            return _finite
        case ListType(item) if (read_item := reader(item)) is not None:
            read = read_item
            return lambda held: [read(each) for each in held]
        case MapType(_, value) if (read_value := reader(value)) is not None:
            convert = read_value
            return lambda held: {key: convert(each) for key, each in held.items()}
        case _:
            return None


_PYTHON: Mapping[CelType, type] = {
    CelType.BOOL: bool,
    CelType.INT: int,
    CelType.UINT: int,
    CelType.DOUBLE: float,
    CelType.STRING: str,
    CelType.BYTES: bytes,
    CelType.TIMESTAMP: datetime,
    CelType.DURATION: timedelta,
}


def parameter_value(name: str, kind: CelType, given: object) -> Value:
    """Turn a parameter's Python value into the form that is compared; None stays unknown.

    Raises TypeError for a value of another type and ValueError for one out of range.
    """
    if given is None:
        return None
    wanted = _PYTHON[kind]
    # bool is an int in Python and is not in CEL.
    if not isinstance(given, wanted) or (wanted is int and isinstance(given, bool)):
        raise TypeError(f"parameter {name!r} is {kind.name.lower()}, not {type(given).__name__}")
    if isinstance(given, datetime):
        return from_datetime(given)
    if isinstance(given, timedelta):
        return from_timedelta(given)
    if isinstance(given, float):
        return _finite(given)
    if isinstance(given, str):
        check_text(given)
    if isinstance(given, int) and kind in RANGES:
        least, greatest = RANGES[kind]
        if not least <= given <= greatest:
            raise ValueError(f"parameter {name!r} is out of range")
    return given


def check_text(text: str) -> None:
    """Refuse text that databases do not keep: NUL (PostgreSQL) and lone surrogates."""
    if "\0" in text:
        raise ValueError("text cannot hold the character NUL")
    text.encode()
