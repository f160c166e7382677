"""Folds what the database's own trigger saw of ``users`` into the audit.

Whatever writes a person's row, by whatever way, is written down by the trigger; the checkpointer
turns each of its rows into an entry, in one transaction with the mark that it did.
"""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from services.crypto.audit.chain import entry_of
from services.crypto.audit.entry import Access, Entry, Operation
from services.crypto.audit.subjects import Subjects

AT_ONCE = 500
"""Rows of one transaction."""
# Rows of transactions that still run are not seen, and so not passed over: they come later.
_UNFOLDED = sa.text(
    """WITH unfolded AS (
    SELECT tenant_id, id FROM users_change_log WHERE folded_at IS NULL ORDER BY id LIMIT :limit)
UPDATE users_change_log AS log SET folded_at = now() FROM unfolded
WHERE log.tenant_id = unfolded.tenant_id AND log.id = unfolded.id
RETURNING log.id, log.tenant_id, log.user_id, log.operation, log.changed_columns,
    (extract(epoch FROM log.changed_at) * 1000000)::bigint, log.principal, log.request_id,
    log.session_role, log.subject"""
)


async def folded_changes(
    connection: AsyncConnection, subjects: Subjects, moment: int
) -> list[Entry]:
    """Give entries of changes that have none yet, which are marked in the transaction."""
    rows = sorted(await connection.execute(_UNFOLDED, {"limit": AT_ONCE}))
    return [_entry(*row[1:], subjects=subjects, moment=moment) for row in rows]


def _entry(
    tenant: str,
    user_id: object,
    operation: str,
    columns: list[str],
    changed_at: int,
    principal: str,
    request_id: str,
    role: str,
    pseudonym: bytes | None,
    *,
    subjects: Subjects,
    moment: int,
) -> Entry:
    # Whoever was erased since stands in the log as nothing but that.
    known = None if user_id is None else subjects.of(tenant, _bytes(user_id))
    told = " ".join((operation.lower(), ",".join(columns) or "-", str(changed_at), role))
    access = Access(tenant, Operation.WRITE_ROW, principal or role, request_id, details=told)
    return entry_of(access, known or bytes(pseudonym or b""), moment)


def _bytes(user_id: object) -> bytes:
    found: bytes = user_id.bytes  # type: ignore[attr-defined]  # PostgreSQL's are UUIDs
    return found
