"""What a database that a store is moved into remembers of it until the move has ended."""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.sql.content_digest import EMPTY
from mesh.sql.engine import POSTGRESQL, upsert

LEDGER = "secmesh_move"
"""No collection of a contract may have this name. While the table is there nobody serves."""
_LOCK = 0x73656D6F7665
"""Key of the lock of who moves; bytes of the project's name and of what is done."""
_TABLE = sa.Table(
    LEDGER,
    sa.MetaData(),
    sa.Column("table_name", sa.Text, primary_key=True),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False),
)


@dataclass(frozen=True)
class Copied:
    """How much of a table stands in the target."""

    rows: int = 0
    digest: bytes = EMPTY
    """Of those rows (``mesh.sql.content_digest``)."""


def make_ledger(connection: sa.Connection) -> None:
    """Make the ledger unless it is there."""
    _TABLE.create(connection, checkfirst=True)


async def lock_target(connection: AsyncConnection) -> bool:
    """Be the only one who moves a store into a database, as long as the connection lives."""
    return bool((await connection.execute(sa.select(sa.func.pg_try_advisory_lock(_LOCK)))).scalar())


async def copied(connection: AsyncConnection, table: str) -> Copied:
    """Tell how much of a table was copied."""
    chosen = sa.select(_TABLE.c.rows, _TABLE.c.digest).where(_TABLE.c.table_name == table)
    found = (await connection.execute(chosen)).first()
    return Copied() if found is None else Copied(found[0], bytes(found[1]))


async def note(connection: AsyncConnection, table: str, now: Copied) -> None:
    """Write how much of a table was copied, in the transaction that did."""
    row = {"table_name": table, "rows": now.rows, "digest": now.digest}
    await connection.execute(upsert(_TABLE, POSTGRESQL), row)


async def drop_ledger(connection: AsyncConnection) -> None:
    """End the move."""
    await connection.run_sync(_TABLE.drop)
