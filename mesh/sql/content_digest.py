"""A digest of a table's content that is the same in every database.

A chain over the rows in the order of their keys: SHA-256 of the digest so far and the row, whose
values stand each after its length. JSON counts by what it means: keys sorted, numbers by value.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import orjson
import sqlalchemy as sa

from mesh.sealing.canonical import length_prefixed
from mesh.sql.types import Json

EMPTY = bytes(32)
"""The digest of no rows."""
_LENGTH = 8
_LEAST, _MOST = -(2**63), 2**64 - 1
_PLAIN = frozenset({"[]", "{}"})


class RowDigest:
    """Adds the rows of one table to a digest."""

    def __init__(self, columns: "Sequence[sa.Column[Any]]") -> None:
        """Take the columns, in the order in which rows have their values."""
        self._json = [isinstance(each.type, Json) for each in columns]

    def add(self, digest: bytes, row: Sequence[Any]) -> bytes:
        """Give the digest with one row more."""
        parts = map(_bytes, row, self._json)
        return sha256(digest + length_prefixed(parts, width=_LENGTH)).digest()


def _bytes(value: Any, is_json: bool) -> bytes:  # one of two columns of a map
    if value is None:
        return b"0"
    if is_json and value not in _PLAIN:
        meant = _number_by_value(orjson.loads(value))
        return b"j" + orjson.dumps(meant, option=orjson.OPT_SORT_KEYS)
    if isinstance(value, str):
        return b"s" + value.encode()
    if isinstance(value, float):
        # Negative zero is kept as zero.
        return b"d" + (value + 0.0).hex().encode()
    if isinstance(value, int):
        return b"i" + str(int(value)).encode()
    return b"b" + bytes(value)


def _number_by_value(value: Any) -> Any:
    """Give JSON with whole numbers as integers: one database writes 1e16, another its digits."""
    if isinstance(value, dict):
        return {key: _number_by_value(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_number_by_value(each) for each in value]
    if isinstance(value, float) and value.is_integer() and _LEAST <= value <= _MOST:
        return int(value)
    return value
