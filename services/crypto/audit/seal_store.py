"""What the checkpointer reads and writes, as the owner of the tables."""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from mesh.sql.engine import WRITE, translated
from services.crypto.audit.rows import CHOSEN, stored_of
from services.crypto.audit.sealing import Head, Sealed, Stored, Tree
from services.crypto.audit.statements import Run
from services.crypto.audit.tiles import Tile, edge
from services.crypto.tables import AUDIT_CHECKPOINTS, AUDIT_RUNS, AUDIT_TILES

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_LOCK = 0x5ECA0D17C0DE
"""The advisory lock of who seals, closes and drops."""
_HEADS = sa.text(
    """WITH RECURSIVE writers AS (
    (SELECT writer_id FROM encryption_audit WHERE accessed_at >= :since
        ORDER BY writer_id LIMIT 1)
    UNION ALL
    SELECT (SELECT writer_id FROM encryption_audit
        WHERE accessed_at >= :since AND writer_id > writers.writer_id
        ORDER BY writer_id LIMIT 1)
    FROM writers WHERE writer_id IS NOT NULL)
SELECT writers.writer_id, run.last_seq, run.head FROM writers LEFT JOIN LATERAL (
    SELECT last_seq, head FROM audit_runs WHERE audit_runs.writer_id = writers.writer_id
    ORDER BY last_seq DESC LIMIT 1) AS run ON true
WHERE writers.writer_id IS NOT NULL"""
)
_WAITING = sa.text(
    f"""SELECT entry.* FROM unnest(CAST(:writers AS uuid[]), CAST(:seqs AS bigint[]))
    AS head (writer, last), LATERAL (
    SELECT {CHOSEN}, hash FROM encryption_audit WHERE writer_id = head.writer
        AND seq > head.last AND encryption_audit.accessed_at >= :since
    ORDER BY seq LIMIT :each) AS entry
ORDER BY entry.writer_id, entry.seq"""  # noqa: S608 - columns of this package
)


class SealStore:
    """The tables of checkpoints."""

    def __init__(self, owner: AsyncEngine) -> None:
        self._owner = owner

    @contextlib.asynccontextmanager
    async def turn(self, *, patient: bool = False) -> AsyncIterator[AsyncConnection | None]:
        """Give a transaction of who alone seals now.

        While another process does it is None, unless ``patient``: then that one is waited for.
        """
        take = sa.func.pg_advisory_xact_lock if patient else sa.func.pg_try_advisory_xact_lock
        with translated():
            async with self._owner.connect() as connection:
                await connection.execution_options(**{WRITE: True})
                async with connection.begin():
                    taken = await connection.scalar(sa.select(take(_LOCK)))
                    # The patient one answers nothing.
                    yield connection if taken is not False else None

    async def tree(self, connection: AsyncConnection) -> Tree:
        """Give the newest checkpoint and the right edge of the tree."""
        note = await newest_note(connection)
        if note is None:
            return Tree()
        size, text = note
        return Tree(size, await self.tiles(connection, edge(size)), text)

    async def tiles(
        self, connection: AsyncConnection, wanted: Sequence[Tile]
    ) -> Mapping[Tile, bytes]:
        """Give the tiles that there are of some."""
        columns = AUDIT_TILES.c
        statement = sa.select(columns.level, columns.number, columns.hashes).where(
            sa.tuple_(columns.level, columns.number).in_(wanted)
        )
        rows = await connection.execute(statement)
        return {Tile(level, number): bytes(hashes) for level, number, hashes in rows}

    async def waiting(
        self, connection: AsyncConnection, since: datetime, each: int
    ) -> tuple[list[Stored], dict[bytes, Head]]:
        """Give entries behind the last sealed ones of their writers, and those last ones.

        Args:
            connection: A transaction.
            since: Entries before are passed over.
            each: Most entries of one writer.
        """
        seqs: dict[UUID, int] = {}
        heads: dict[bytes, Head] = {}
        for writer_id, seq, head in await connection.execute(_HEADS, {"since": since}):
            seqs[writer_id] = seq or 0
            if seq is not None:
                heads[writer_id.bytes] = Head(seq, bytes(head))
        asked = {"writers": list(seqs), "seqs": list(seqs.values()), "since": since, "each": each}
        return stored_of(await connection.execute(_WAITING, asked)), heads

    async def add(self, connection: AsyncConnection, sealed: Sealed) -> None:
        """Write a checkpoint and what came in with it."""
        await connection.execute(sa.insert(AUDIT_RUNS), [_row_of(run) for run in sealed.runs])
        tiles = insert(AUDIT_TILES)
        replaced = tiles.on_conflict_do_update(
            index_elements=[AUDIT_TILES.c.level, AUDIT_TILES.c.number],
            set_={"hashes": tiles.excluded.hashes},
        )
        await connection.execute(
            replaced,
            [
                {"level": tile.level, "number": tile.number, "hashes": hashes}
                for tile, hashes in sealed.tiles.items()
            ],
        )
        checkpoint = {"size": sealed.size, "note": sealed.note, "sealed_at": sa.func.now()}
        await connection.execute(sa.insert(AUDIT_CHECKPOINTS).values(checkpoint))


def _row_of(run: Run) -> dict[str, object]:
    return {**run._asdict(), "writer_id": UUID(bytes=run.writer_id)}


async def newest_note(connection: AsyncConnection) -> tuple[int, str] | None:
    """Give the size and the note of the newest checkpoint."""
    columns = AUDIT_CHECKPOINTS.c
    statement = sa.select(columns.size, columns.note).order_by(columns.size.desc()).limit(1)
    row = (await connection.execute(statement)).first()
    return None if row is None else (row.size, row.note)
