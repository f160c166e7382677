"""Identifiers that are made here, never by a database."""

import os
import re
import time
import uuid
from datetime import datetime
from functools import lru_cache
from hashlib import sha256

_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_RANDOM_BITS = 34
"""Bits of a derived UUID that tell streams of the same millisecond apart."""
_VARIANT = 0b10 << 62
"""The first of the lower 64 bits of a UUID (RFC 9562, 4.1)."""
_LOW_SEQUENCE_BITS = 62 - _RANDOM_BITS
_LOW_SEQUENCE = (1 << _LOW_SEQUENCE_BITS) - 1
"""Part of a sequence that stands in the lower 64 bits, the rest being before them."""
MAX_SEQUENCE = 1 << 40
"""First number that no longer fits into a derived UUID."""


def new_uuid() -> str:
    """Make a UUID of version 7 (RFC 9562, 5.7): sorted by time, else random."""
    return uuid7_of(time.time_ns() // 1_000_000, int.from_bytes(os.urandom(10)))


def new_uuid_bytes() -> bytes:
    """Make a UUID of version 7 as its 16 bytes, which is faster than its text."""
    made = bytearray((time.time_ns() // 1_000_000).to_bytes(6, "big") + os.urandom(10))
    made[6] = made[6] & 0x0F | 0x70
    made[8] = made[8] & 0x3F | 0x80
    return bytes(made)


def uuid7_of(milliseconds: int, bits: int) -> str:
    """Give the UUID of version 7 of a moment since 1970 and 80 bits, of which 74 are taken."""
    number = milliseconds << 80 | bits & ((1 << 80) - 1)
    number = number & ~(0xF000 << 64) | 0x7000 << 64
    number = number & ~(0xC000 << 48) | 0x8000 << 48
    # As uuid.UUID writes it, in a third of the time.
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def is_uuid7(text: str) -> bool:
    """Tell whether a text is a UUID of version 7, written as texts of them sort: in lower case."""
    return _UUID7.fullmatch(text) is not None


def first_of(moment: datetime) -> str:
    """Give the text that all UUIDs of version 7 made at a moment or later sort after.

    It is as long as their time, which counts milliseconds since 1970 in 48 bits.
    """
    milliseconds = max(0, int(moment.timestamp() * 1000))
    digits = f"{milliseconds:012x}"
    return f"{digits[:8]}-{digits[8:]}"


def derived_uuid(stream: str, sequence: int) -> str:
    """Make the UUID of version 7 of one item of a stream: the same one every time.

    It has the time of the stream's own UUID (version 7) and sorts by the sequence, which
    lies below MAX_SEQUENCE.
    """
    begun, digest = _stream_parts(stream)
    low = f"{_VARIANT | (sequence & _LOW_SEQUENCE) << _RANDOM_BITS | digest:016x}"
    return f"{begun}{sequence >> _LOW_SEQUENCE_BITS:03x}-{low[:4]}-{low[4:]}"


@lru_cache(maxsize=256)
def _stream_parts(stream: str) -> tuple[str, int]:
    """Give the text of time and version of a stream's UUIDs, and the bits that are its own."""
    moment = str(uuid.UUID(stream))[:13]
    digest = int.from_bytes(sha256(stream.encode()).digest()[:8]) >> (64 - _RANDOM_BITS)
    return f"{moment}-7", digest
