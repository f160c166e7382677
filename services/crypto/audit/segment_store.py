"""All SQL about segments: their parts, what they hold, what is signed of them, their end."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from services.crypto.audit.parts import months, part_of, part_statements, segment_in
from services.crypto.audit.statements import Run
from services.crypto.audit.tiles import HASH, WIDTH
from services.crypto.audit.tree import Range
from services.crypto.tables import AUDIT_RUNS, AUDIT_SEGMENTS, AUDIT_TILES

DEFAULT_DAYS = 2555
_LOCK_SECONDS = 10
"""Longest wait for those who use the table; writers would queue behind the change."""
_PARTS = sa.text(
    "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid "
    "WHERE inhparent = to_regclass('encryption_audit') ORDER BY relname"
)
# Who asks for the longest has it: a part holds the entries of all tenants.
_RETENTION = sa.text(
    "SELECT max(config_value::int) FROM system_config WHERE config_key = 'audit_retention_days'"
)
_SIZES = sa.text("SELECT coalesce(max(size), 0) FROM audit_checkpoints WHERE size <= :covered")
_THIN = (
    sa.text("DELETE FROM audit_checkpoints WHERE size < :thinned"),
    # The last of each writer stays: the entry after it is bound to its hash.
    sa.text(
        """DELETE FROM audit_runs AS run USING audit_segments AS segment
WHERE segment.segment = run.segment AND segment.drop_note <> ''
    AND run.first_index + run.last_seq - run.first_seq < :thinned
    AND EXISTS (SELECT 1 FROM audit_runs AS later WHERE later.writer_id = run.writer_id
        AND later.segment = run.segment AND later.last_seq > run.last_seq)"""
    ),
)


class SegmentRow(NamedTuple):
    """A segment that was closed."""

    segment: str
    anchor: str
    drop_note: str


class SegmentStore:
    """By connections of the owner of the tables."""

    async def make_parts(self, connection: AsyncConnection, moment: datetime) -> list[str]:
        """Make the parts of the present and the next months that are missing; give them."""
        there = set(await self.parts(connection))
        missing = [month for month in months(moment) if f"{month:%Y-%m}" not in there]
        if missing:
            await self._hurry(connection)
        for month in missing:
            for statement in part_statements(month):
                await connection.exec_driver_sql(statement)
        return [f"{month:%Y-%m}" for month in missing]

    async def parts(self, connection: AsyncConnection) -> list[str]:
        """Give the segments that there are parts for, in their order."""
        found = map(segment_in, await connection.scalars(_PARTS))
        return [segment for segment in found if segment]

    async def closed(self, connection: AsyncConnection) -> list[SegmentRow]:
        """Give the segments that were closed, in their order."""
        columns = AUDIT_SEGMENTS.c
        statement = sa.select(columns.segment, columns.anchor, columns.drop_note)
        rows = await connection.execute(statement.order_by(columns.segment))
        return [SegmentRow(*row) for row in rows]

    async def runs(self, connection: AsyncConnection, segment: str) -> list[Run]:
        """Give the runs of a segment, by their first index."""
        statement = sa.select(AUDIT_RUNS).where(AUDIT_RUNS.c.segment == segment)
        rows = await connection.execute(statement.order_by(AUDIT_RUNS.c.first_index))
        return [Run(*row)._replace(writer_id=row.writer_id.bytes) for row in rows]

    async def count(self, connection: AsyncConnection, segment: str) -> int:
        """Give how many entries the part of a segment holds."""
        part = sa.table(part_of(segment))
        found = await connection.scalar(sa.select(sa.func.count()).select_from(part))
        return found or 0

    async def leaves(
        self, connection: AsyncConnection, ranges: Sequence[Range]
    ) -> Mapping[int, bytes]:
        """Give the hashes at places of the tree."""
        columns = AUDIT_TILES.c
        found: dict[int, bytes] = {}
        for start, end in ranges:
            statement = sa.select(columns.number, columns.hashes).where(
                columns.level == 0, columns.number.between(start // WIDTH, (end - 1) // WIDTH)
            )
            for number, hashes in await connection.execute(statement):
                for at in range(0, len(hashes), HASH):
                    found[number * WIDTH + at // HASH] = bytes(hashes[at : at + HASH])
        return found

    async def close(self, connection: AsyncConnection, segment: str, anchor: str) -> None:
        """Write what is signed of a segment."""
        await connection.execute(sa.insert(AUDIT_SEGMENTS).values(segment=segment, anchor=anchor))

    async def retention_days(self, connection: AsyncConnection) -> int:
        """Give for how many days entries are kept."""
        return await connection.scalar(_RETENTION) or DEFAULT_DAYS

    async def thinned(self, connection: AsyncConnection, covered: int) -> int:
        """Give the size of the checkpoint before which others can go, 0 if none can."""
        return await connection.scalar(_SIZES, {"covered": covered}) or 0

    async def drop(
        self, connection: AsyncConnection, segment: str, note: str, thinned: int
    ) -> None:
        """Take a segment's part away, and the checkpoints that nothing needs any more."""
        await self._hurry(connection)
        await connection.exec_driver_sql(f"DROP TABLE {part_of(segment)}")
        await connection.execute(
            sa.update(AUDIT_SEGMENTS)
            .where(AUDIT_SEGMENTS.c.segment == segment)
            .values(drop_note=note)
        )
        for statement in _THIN:
            await connection.execute(statement, {"thinned": thinned})

    @staticmethod
    async def _hurry(connection: AsyncConnection) -> None:
        await connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'")
