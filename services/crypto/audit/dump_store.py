"""Writes the whole audit of a database into a bundle, from one snapshot, as its owner."""

from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from mesh.sql.engine import translated
from services.crypto.audit.bundle import (
    CHECKPOINTS,
    ENTRIES,
    PARTS,
    RUNS,
    SEGMENTS,
    TILES,
    line_of,
    line_of_run,
    write_lines,
)
from services.crypto.audit.parts import segment_in
from services.crypto.audit.rows import CHOSEN, stored_of
from services.crypto.audit.statements import Run
from services.crypto.tables import AUDIT_CHECKPOINTS, AUDIT_RUNS, AUDIT_SEGMENTS, AUDIT_TILES

_AT_ONCE = 2000
"""Rows in memory."""
_ENTRIES = sa.text(
    f"SELECT {CHOSEN}, hash FROM encryption_audit "  # noqa: S608 - columns of this package
    "ORDER BY writer_id, seq, encryption_audit.accessed_at"
)
_PARTS = sa.text(
    "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid "
    "WHERE inhparent = to_regclass('encryption_audit')"
)


async def dump_audit(owner: AsyncEngine, folder: Path) -> int:
    """Write all that is stored into an empty folder; give the number of entries."""
    with translated():
        async with owner.connect() as connection:
            count = await _dump_entries(connection, folder)
            await _dump_rest(connection, folder)
    return count


async def _dump_entries(connection: AsyncConnection, folder: Path) -> int:
    count = write_lines(folder, ENTRIES, [])
    result = await connection.stream(_ENTRIES)
    async for rows in result.partitions(_AT_ONCE):
        count += write_lines(folder, ENTRIES, map(line_of, stored_of(rows)))
    return count


async def _dump_rest(connection: AsyncConnection, folder: Path) -> None:
    checkpoints = await connection.scalars(
        sa.select(AUDIT_CHECKPOINTS.c.note).order_by(AUDIT_CHECKPOINTS.c.size)
    )
    write_lines(folder, CHECKPOINTS, ({"note": note} for note in checkpoints))
    runs = await connection.execute(sa.select(AUDIT_RUNS).order_by(AUDIT_RUNS.c.first_index))
    write_lines(folder, RUNS, (line_of_run(_run(*row)) for row in runs))
    tiles = await connection.execute(sa.select(AUDIT_TILES).where(AUDIT_TILES.c.level == 0))
    write_lines(
        folder,
        TILES,
        (
            {"level": level, "number": number, "hashes": hashes.hex()}
            for level, number, hashes in tiles
        ),
    )
    segments = await connection.execute(
        sa.select(AUDIT_SEGMENTS).order_by(AUDIT_SEGMENTS.c.segment)
    )
    write_lines(
        folder,
        SEGMENTS,
        ({"segment": name, "anchor": anchor, "drop": drop} for name, anchor, drop in segments),
    )
    parts = map(segment_in, await connection.scalars(_PARTS))
    write_lines(folder, PARTS, ({"segment": segment} for segment in parts if segment))


def _run(
    first_index: int, writer_id: object, segment: str, first_seq: int, last_seq: int, head: bytes
) -> Run:
    writer: bytes = writer_id.bytes  # type: ignore[attr-defined]  # PostgreSQL's are UUIDs
    return Run(first_index, writer, segment, first_seq, last_seq, head)
