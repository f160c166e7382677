"""Reads entries of a tenant, and what proves them; each statement begins from its rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.crypto.audit.entry import BEFORE_FIRST, Entry
from services.crypto.audit.rows import stored_of
from services.crypto.audit.sealing import Stored
from services.crypto.audit.tiles import Tile, range_hash, tiles_needed
from services.crypto.audit.tree import Range
from services.crypto.tables import (
    AUDIT_CHECKPOINTS,
    AUDIT_RUNS,
    AUDIT_TILES,
    ENCRYPTION_AUDIT,
    HONEYTOKENS,
)

_COLUMNS = ENCRYPTION_AUDIT.c
_MICROSECONDS = sa.cast(
    sa.func.extract("epoch", _COLUMNS.accessed_at) * sa.literal_column("1000000"), sa.BigInteger
)
_CHOSEN = [
    _MICROSECONDS.label(name) if name == "accessed_at" else _COLUMNS[name]
    for name in (*Entry._fields, "hash")
]
_PLACE = (_COLUMNS.accessed_at, _COLUMNS.writer_id, _COLUMNS.seq)


class Checkpoint(NamedTuple):
    """A stored checkpoint."""

    size: int
    note: str
    sealed_at: Any
    """A moment of UTC."""


class Place(NamedTuple):
    """Where an entry stands in a list, by time."""

    accessed_at: int
    writer_id: str
    seq: int


@dataclass(frozen=True)
class Selection:
    """Which entries are wanted; what is empty does not matter."""

    subjects: Sequence[bytes] | None = None
    operation: str = ""
    principal: str = ""
    failed: bool = False
    start: int | None = None
    """Microseconds since 1970."""
    end: int | None = None
    descending: bool = field(default=False, kw_only=True)


class ReadStore:
    """Entries by the caller's connection, which shows those of its tenant alone."""

    async def page(
        self,
        connection: AsyncConnection,
        tenant: str,
        selection: Selection,
        after: Place | None,
        limit: int,
    ) -> list[tuple[Stored, int | None]]:
        """Give entries after a place, and their places in the tree, None if in none yet."""
        statement = sa.select(*_CHOSEN, _index()).where(_COLUMNS.tenant_id == tenant)
        for condition in _conditions(selection):
            statement = statement.where(condition)
        if after is not None:
            bound = sa.tuple_(_moment(after.accessed_at), UUID(after.writer_id), after.seq)
            place = sa.tuple_(*_PLACE)
            statement = statement.where(place < bound if selection.descending else place > bound)
        order = [each.desc() if selection.descending else each for each in _PLACE]
        rows = await connection.execute(statement.order_by(*order).limit(limit))
        listed = [tuple(row) for row in rows]
        indexes = [row[-1] for row in listed]
        return list(zip(stored_of(row[:-1] for row in listed), indexes, strict=True))

    async def entry(
        self, connection: AsyncConnection, tenant: str, writer_id: bytes, seq: int
    ) -> tuple[Stored, int | None] | None:
        """Give an entry and its place in the tree; None if the tenant has none of this name."""
        statement = sa.select(*_CHOSEN, _index()).where(
            _COLUMNS.tenant_id == tenant,
            _COLUMNS.writer_id == UUID(bytes=writer_id),
            _COLUMNS.seq == seq,
        )
        row = (await connection.execute(statement)).first()
        if row is None:
            return None
        *values, index = row
        (stored,) = stored_of([values])
        return stored, index

    async def checkpoint(self, connection: AsyncConnection, size: int) -> Checkpoint | None:
        """Give the checkpoint of a size, the newest for 0."""
        columns = AUDIT_CHECKPOINTS.c
        statement = sa.select(columns.size, columns.note, columns.sealed_at)
        if size:
            statement = statement.where(columns.size == size)
        row = (await connection.execute(statement.order_by(columns.size.desc()).limit(1))).first()
        return None if row is None else Checkpoint(*row)

    async def hash_before(self, connection: AsyncConnection, writer_id: bytes, seq: int) -> bytes:
        """Give the hash of a writer's entry before a sealed one, whosever it is."""
        if seq == 1:
            return BEFORE_FIRST
        row = await connection.execute(_index_of(UUID(bytes=writer_id), seq - 1))
        index = row.scalar_one()
        (found,) = await self.hashes(connection, [(index, index + 1)])
        return found

    async def hashes(self, connection: AsyncConnection, ranges: Sequence[Range]) -> list[bytes]:
        """Give the hashes of ranges of the tree. Raises TileMissing."""
        tiles = await _tiles(connection, list(tiles_needed(ranges)))
        return [range_hash(tiles, *each) for each in ranges]


class HoneytokenStore:
    """Whom nobody has a reason to touch, by pseudonym: the database does not tell who it is."""

    async def mark(self, connection: AsyncConnection, tenant: str, subject: bytes) -> None:
        """Add one, unless it is there."""
        row = {"tenant_id": tenant, "subject": subject}
        await connection.execute(insert(HONEYTOKENS).values(row).on_conflict_do_nothing())

    async def unmark(
        self, connection: AsyncConnection, tenant: str, subjects: Sequence[bytes]
    ) -> None:
        """Remove those that are there."""
        columns = HONEYTOKENS.c
        condition = sa.and_(columns.tenant_id == tenant, columns.subject.in_(subjects))
        await connection.execute(sa.delete(HONEYTOKENS).where(condition))


async def _tiles(connection: AsyncConnection, wanted: Sequence[Tile]) -> Mapping[Tile, bytes]:
    columns = AUDIT_TILES.c
    statement = sa.select(columns.level, columns.number, columns.hashes).where(
        sa.tuple_(columns.level, columns.number).in_(wanted)
    )
    rows = await connection.execute(statement)
    return {Tile(level, number): bytes(hashes) for level, number, hashes in rows}


def _index() -> "sa.ScalarSelect[int]":
    return _index_of(_COLUMNS.writer_id, _COLUMNS.seq).correlate(ENCRYPTION_AUDIT).scalar_subquery()


def _index_of(writer_id: Any, seq: Any) -> "sa.Select[int]":
    runs = AUDIT_RUNS.c
    return (
        sa.select(runs.first_index + seq - runs.first_seq)
        .where(runs.writer_id == writer_id, runs.last_seq >= seq, runs.first_seq <= seq)
        .order_by(runs.last_seq)
        .limit(1)
    )


def _conditions(selection: Selection) -> list["sa.ColumnElement[bool]"]:
    conditions = [
        selection.subjects is not None and _COLUMNS.subject.in_(selection.subjects),
        selection.operation and _COLUMNS.operation == selection.operation,
        selection.principal and _COLUMNS.principal == selection.principal,
        selection.failed and sa.not_(_COLUMNS.success),
        selection.start is not None and _COLUMNS.accessed_at >= _moment(selection.start),
        selection.end is not None and _COLUMNS.accessed_at < _moment(selection.end),
    ]
    return [each for each in conditions if isinstance(each, sa.ColumnElement)]


def _moment(microseconds: int) -> "sa.ColumnElement[Any]":
    """Give a moment exactly; a float would lose microseconds."""
    epoch: sa.ColumnElement[Any] = sa.literal_column("timestamptz '1970-01-01 00:00:00+00'")
    return epoch + sa.cast(microseconds, sa.BigInteger) * sa.literal_column(
        "interval '1 microsecond'"
    )
