"""Identifiers that are made here, never by a database."""

import os
import time
import uuid
from hashlib import sha256

_RANDOM_BITS = 34
"""Bits of a derived UUID that tell streams of the same millisecond apart."""
MAX_SEQUENCE = 1 << 40
"""First number that no longer fits into a derived UUID."""


def new_uuid() -> str:
    """Make a UUID of version 7 (RFC 9562, 5.7): sorted by time, else random."""
    number = time.time_ns() // 1_000_000 << 80 | int.from_bytes(os.urandom(10))
    number = number & ~(0xF000 << 64) | 0x7000 << 64
    number = number & ~(0xC000 << 48) | 0x8000 << 48
    return str(uuid.UUID(int=number))


def derived_uuid(stream: str, sequence: int) -> str:
    """Make the UUID of version 7 of one item of a stream: the same one every time.

    It has the time of the stream's own UUID (version 7) and sorts by the sequence, which
    lies below MAX_SEQUENCE.
    """
    time_part = uuid.UUID(stream).int >> 80
    digest = int.from_bytes(sha256(stream.encode()).digest()[:8]) >> (64 - _RANDOM_BITS)
    rest = sequence << _RANDOM_BITS | digest
    high, low = rest >> 62, rest & ((1 << 62) - 1)
    return str(uuid.UUID(int=time_part << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low))
