"""Entries in the binary form of COPY, which PostgreSQL takes without parsing a text.

Each row is the number of its columns as 2 bytes, then each value after its length as 4 bytes, all
big-endian (PostgreSQL, "COPY", binary format). No value of an entry is NULL.
"""

import struct
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

from services.crypto.audit.entry import Entry
from services.crypto.audit.sealing import Stored

_COLUMNS = (*Entry._fields, "hash")
LISTED = ", ".join(_COLUMNS)
"""The columns of a row, in its order."""
_TEXT_TYPE, _SMALLINT_TYPE = 25, 21
"""Numbers of PostgreSQL's types of elements."""
_ARRAY = struct.Struct(">iiiii")
_EMPTY_ARRAY = struct.Struct(">iii")
_SMALLINT = struct.Struct(">h")
_BIGINT = struct.Struct(">iq")
_SINCE_2000 = 946_684_800 * 1_000_000
"""Microseconds from 1970 to 2000, which PostgreSQL counts from."""
_REMEMBERED = 1024
"""Values of each kind that entries have in common."""
_BEGINNING = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_ROW = _SMALLINT.pack(len(_COLUMNS))
_END = _SMALLINT.pack(-1)


def copied(entries: Iterable[Stored]) -> bytes:
    """Give entries as all that one COPY sends."""
    parts = [_BEGINNING]
    for entry, hashed in entries:
        parts.append(_ROW)
        parts += [write(value) for write, value in zip(_WRITE, (*entry, hashed), strict=True)]
    parts.append(_END)
    return b"".join(parts)


def _bytes(value: bytes) -> bytes:
    return len(value).to_bytes(4, "big") + value


def _bigint(value: int) -> bytes:
    return _BIGINT.pack(_BIGINT.size - 4, value)


def _moment(value: int) -> bytes:
    return _bigint(value - _SINCE_2000)


def _flag(value: bool) -> bytes:
    return _bytes(b"\x01" if value else b"\x00")


@lru_cache(_REMEMBERED)
def _text(value: str) -> bytes:
    return _bytes(value.encode())


@lru_cache(_REMEMBERED)
def _texts(values: tuple[str, ...]) -> bytes:
    return _array(_TEXT_TYPE, [value.encode() for value in values])


@lru_cache(_REMEMBERED)
def _smallints(values: tuple[int, ...]) -> bytes:
    return _array(_SMALLINT_TYPE, [_SMALLINT.pack(value) for value in values])


def _array(element: int, values: Sequence[bytes]) -> bytes:
    """Give a list: dimensions, whether a NULL is in it, type, size, number of the first."""
    if not values:
        return _bytes(_EMPTY_ARRAY.pack(0, 0, element))
    parts = [_ARRAY.pack(1, 0, element, len(values), 1)]
    parts += map(_bytes, values)
    return _bytes(b"".join(parts))


_FORMS: dict[str, Callable[[Any], bytes]] = {
    **dict.fromkeys(("writer_id", "entry_id", "subject", "hash"), _bytes),
    **dict.fromkeys(("seq", "duration_us"), _bigint),
    "accessed_at": _moment,
    "fields": _texts,
    "tiers": _smallints,
    "success": _flag,
}
_WRITE = [_FORMS.get(name, _text) for name in _COLUMNS]
