"""Identifiers that are made here, never by a database."""

import os
import time
import uuid


def new_uuid() -> str:
    """Make a UUID of version 7 (RFC 9562, 5.7): sorted by time, else random."""
    number = time.time_ns() // 1_000_000 << 80 | int.from_bytes(os.urandom(10))
    number = number & ~(0xF000 << 64) | 0x7000 << 64
    number = number & ~(0xC000 << 48) | 0x8000 << 48
    return str(uuid.UUID(int=number))
