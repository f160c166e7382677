"""The moments that requests name, as the store counts them."""

import time
from collections.abc import Callable

from google.protobuf.timestamp_pb2 import Timestamp

from mesh.contract.storage import MICROSECONDS
from mesh.errors import FieldInvalid

Clock = Callable[[], int]
"""Gives microseconds since 1970 UTC."""

_FIRST_SECOND = -62_135_596_800
"""The beginning of year 1, the first that google.protobuf.Timestamp knows."""
_NANOS = 1_000_000_000


def now() -> int:
    """Give the microseconds since 1970 UTC."""
    return time.time_ns() // 1000


def past_moment(stamp: Timestamp, field: str, clock: Clock = now) -> int:
    """Give a moment in microseconds; FieldInvalid if it has not come or is no moment."""
    if stamp.seconds < _FIRST_SECOND or not 0 <= stamp.nanos < _NANOS:
        raise FieldInvalid.of(field, "must lie in the years 1 to 9999")
    micros: int = stamp.seconds * MICROSECONDS + stamp.nanos // 1000
    if micros > clock():
        raise FieldInvalid.of(field, "must not lie in the future")
    return micros
