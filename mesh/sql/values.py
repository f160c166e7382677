"""One value of a field between protobuf and its stored form (see ``mesh.sql.types``).

A stored value is what JSON holds; a column holds the same, except that bytes and
messages of other packages stay bytes there.
"""

import base64
import math
from collections.abc import Callable
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor

from mesh.contract.storage import MICROSECONDS, Storage, item_storage, message_type
from mesh.errors import FieldInvalid

Convert = Callable[[Any], Any]

_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799
"""Years 1 to 9999, the range of google.protobuf.Timestamp."""
_LAST_DURATION_SECOND = 315_576_000_000
"""The range of google.protobuf.Duration, both ways."""
_FLOATS = frozenset({FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT})


def scalar_encoder(
    field: FieldDescriptor, *, binary: bool, nul_free: bool = False
) -> Convert | None:
    """Give the way from protobuf to storage; None if the value is stored as it is.

    ``binary`` tells whether the place can hold bytes, ``nul_free`` that the value surely has no
    NUL. Not for messages of our own.
    """
    storage = item_storage(field)
    if storage is Storage.TIMESTAMP:
        return _timestamp_encoder(field.full_name)
    if storage is Storage.DURATION:
        return _duration_encoder(field.full_name)
    if storage is Storage.OPAQUE:
        return _serialize if binary else lambda value: _to_base64(_serialize(value))
    if field.type in _FLOATS:
        return _finite(field.full_name)
    if field.type == FieldDescriptor.TYPE_STRING:
        # In JSON text, the whole document is looked through at once.
        return _text(field.full_name) if binary and not nul_free else None
    return _to_base64 if field.type == FieldDescriptor.TYPE_BYTES and not binary else None


def scalar_decoder(field: FieldDescriptor, *, binary: bool) -> Convert | None:
    """Give the way back, to what a message's constructor takes; None if nothing changes."""
    storage = item_storage(field)
    if storage is Storage.TIMESTAMP:
        return timestamp_parts
    if storage is Storage.DURATION:
        return duration_parts
    if storage is Storage.OPAQUE:
        parse = message_factory.GetMessageClass(message_type(field)).FromString
        return parse if binary else lambda value: parse(base64.b64decode(value))
    return base64.b64decode if field.type == FieldDescriptor.TYPE_BYTES and not binary else None


def _timestamp_encoder(name: str) -> Convert:
    def encode(value: Any) -> int:
        seconds: int = value.seconds
        if not _FIRST_SECOND <= seconds <= _LAST_SECOND:
            raise FieldInvalid.of(name, "must lie in the years 1 to 9999")
        micros: int = seconds * MICROSECONDS + value.nanos // 1000
        return micros

    return encode


def _duration_encoder(name: str) -> Convert:
    def encode(value: Any) -> int:
        seconds: int = value.seconds
        if not -_LAST_DURATION_SECOND <= seconds <= _LAST_DURATION_SECOND:
            raise FieldInvalid.of(name, "must be within 10000 years")
        micros: int = seconds * MICROSECONDS + value.nanos // 1000
        return micros

    return encode


def _finite(name: str) -> Convert:
    def encode(value: float) -> float:
        if not math.isfinite(value):
            raise FieldInvalid.of(name, "must be a finite number")
        # SQLite knows no negative zero: adding zero makes it the positive one everywhere.
        return value + 0.0

    return encode


def _text(name: str) -> Convert:
    def encode(value: str) -> str:
        if "\0" in value:
            raise no_nul(name)
        return value

    return encode


def no_nul(name: str) -> FieldInvalid:
    """Refuse the one character that PostgreSQL cannot keep and SQLite cannot count."""
    return FieldInvalid.of(name, "must not hold the character NUL")


def _serialize(value: Any) -> bytes:
    serialized: bytes = value.SerializeToString(deterministic=True)
    return serialized


def _to_base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def timestamp_parts(micros: int) -> dict[str, int]:
    """Split microseconds since 1970 into the fields of google.protobuf.Timestamp."""
    seconds, rest = divmod(micros, MICROSECONDS)
    return {"seconds": seconds, "nanos": rest * 1000}


def duration_parts(micros: int) -> dict[str, int]:
    """Split microseconds into the fields of google.protobuf.Duration, both of one sign."""
    sign = -1 if micros < 0 else 1
    seconds, rest = divmod(abs(micros), MICROSECONDS)
    return {"seconds": sign * seconds, "nanos": sign * rest * 1000}
