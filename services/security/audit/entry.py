"""Entries of the audit log as rows, and the hash that binds each to the one before it.

The hash is SHA-256 (FIPS 180-4) over parts, each after its length in 8 bytes, big-endian: the
name of this form, the hash before, and the name and value of every column that holds something,
in the order of the names. Columns without a value are left out, so that a contract may gain some.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import orjson

from mesh.contract.catalogue import field_option
from mesh.sql.store import Store
from mesh.sql.types import Json, column_type
from secmesh.options.v1 import field_pb2

ENTRIES = "iam_audit_logs"
POSITION, PREVIOUS, HASH = "chain_position", "previous_hash", "entry_hash"
LEAVE = "audit.leave"
"""Operation of the entries that tell which others left by age."""
_FORM = b"secmesh audit entry 1"
_EMPTY = ("", "{}", "[]")


class EntryForm:
    """How rows of the audit log are hashed."""

    def __init__(self, store: Store) -> None:
        target = store.target(ENTRIES)
        self.columns: Sequence[str] = target.codec.columns
        """All columns, in the order that they are read in."""
        fields = target.codec.fields
        json = {name for name, each in fields.items() if isinstance(column_type(each), Json)}
        self._hashed = [
            (name, _framed(name.encode()), name in json)
            for name in sorted(self.columns)
            if name not in (PREVIOUS, HASH) and not self._may_be_emptied(fields, name)
        ]

    @staticmethod
    def _may_be_emptied(fields: Mapping[str, Any], name: str) -> bool:
        """Tell whether the database empties a column when what it refers to is deleted."""
        field = fields.get(name)
        empties = field_pb2.ON_DELETE_SET_NULL
        return field is not None and field_option(field).on_delete == empties

    def hash(self, previous: str, row: Mapping[str, Any]) -> str:
        """Give the hash of a row that follows an entry with the hash ``previous``, in hex."""
        parts = [_framed(_FORM), _framed(previous.encode())]
        for name, label, is_json in self._hashed:
            value = row[name]
            if value is not None and value not in _EMPTY:
                parts += (label, _framed(_bytes(value, is_json=is_json)))
        return sha256(b"".join(parts)).hexdigest()


def _framed(part: bytes) -> bytes:
    return len(part).to_bytes(8) + part


def _bytes(value: Any, *, is_json: bool) -> bytes:
    if is_json:
        # A database writes the same value in its own order.
        return b"json " + orjson.dumps(orjson.loads(value), option=orjson.OPT_SORT_KEYS)
    if isinstance(value, str):
        return b"text " + value.encode()
    if isinstance(value, bytes):
        return b"bytes " + value
    return b"number %d" % value
