"""Rows of ``encryption_audit`` as entries."""

from collections.abc import Iterable
from typing import Any

from services.crypto.audit.entry import Entry
from services.crypto.audit.sealing import Stored

MICROSECONDS = "(extract(epoch FROM accessed_at) * 1000000)::bigint AS accessed_at"
CHOSEN = ", ".join(MICROSECONDS if name == "accessed_at" else name for name in Entry._fields)
"""The columns of an entry, in its order."""


def stored_of(rows: Iterable[Any]) -> list[Stored]:
    """Give rows of CHOSEN and the hash as entries."""
    return [_stored(row) for row in rows]


def _stored(row: Any) -> Stored:
    # PostgreSQL gives UUIDs and lists.
    writer_id, seq, entry_id, moment, tenant, subject, operation, fields, tiers, *rest, hashed = row
    entry = Entry(
        writer_id.bytes,
        seq,
        entry_id.bytes,
        moment,
        tenant,
        subject,
        operation,
        tuple(fields),
        tuple(tiers),
        *rest,
    )
    return Stored(entry, hashed)
