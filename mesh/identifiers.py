"""Identifiers that are made here, never by a database."""

import os
import re
import time
import uuid
from datetime import datetime

_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def new_uuid() -> str:
    """Make a UUID of version 7 (RFC 9562, 5.7): sorted by time, else random."""
    number = time.time_ns() // 1_000_000 << 80 | int.from_bytes(os.urandom(10))
    number = number & ~(0xF000 << 64) | 0x7000 << 64
    number = number & ~(0xC000 << 48) | 0x8000 << 48
    return str(uuid.UUID(int=number))


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
