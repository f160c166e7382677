"""Logs split by time: parts made ahead and dropped by age on PostgreSQL, plain tables on SQLite.

Rows outside of every part go into the part ``<table>_default``, so none is refused; when a
part is made for their time they move there. On SQLite, and in the default part, rows that are
too old are deleted in batches.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from google.protobuf.descriptor import FieldDescriptor
from sqlalchemy.ext.asyncio import AsyncEngine

from mesh.contract.catalogue import CatalogueError, Kind, field_option
from mesh.sql.engine import POSTGRESQL, WRITE, lock_schema, translated
from mesh.sql.types import MICROSECONDS, Storage, storage_of
from secmesh.options.v1 import kind_pb2

PARTITION = "partition"
"""Where a table keeps its Partition (``Table.info``)."""
AHEAD = 2
"""Parts made beyond the present one."""
BATCH = 1000
"""Rows deleted in one transaction."""
_LOCK_SECONDS = 10
"""Longest wait for those who use a table; writers would queue behind the change."""
_PARTITIONS = sa.text(
    "SELECT relname FROM pg_class WHERE relispartition AND relkind IN ('r', 'p') "
    "AND relnamespace = current_schema()::regnamespace"
)
_PARTS = sa.text(
    "SELECT relname, pg_get_expr(relpartbound, pg_class.oid) FROM pg_inherits "
    "JOIN pg_class ON pg_class.oid = inhrelid WHERE inhparent = to_regclass(:table)"
)
_BOUNDS = re.compile(r"^FOR VALUES FROM \('([^']+)'\) TO \('([^']+)'\)$")


@dataclass(frozen=True)
class Partition:
    """How the rows of a log are placed."""

    field: str
    monthly: bool
    retention: timedelta | None

    @property
    def clause(self) -> str:
        """What PostgreSQL's PARTITION BY says."""
        return f'RANGE ("{self.field}")'

    def periods(self, moment: datetime, number: int) -> Iterator["Period"]:
        """Give periods that follow each other, from the one that a moment is in."""
        start = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        if self.monthly:
            start = start.replace(day=1)
        for _ in range(number):
            # The first of a month and 31 days later are never in the same month.
            after = start + timedelta(days=31 if self.monthly else 1)
            end = after.replace(day=1) if self.monthly else after
            yield Period(start, end)
            start = end


@dataclass(frozen=True)
class Period:
    """From a moment until before another."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class Maintenance:
    """What was done to logs."""

    created: tuple[str, ...]
    """Parts that were made."""
    dropped: tuple[str, ...]
    """Parts that were dropped with all their rows."""
    deleted: int
    """Rows deleted from the default part, or from a plain table."""


def partition_of(kind: Kind) -> Partition | None:
    """Give how a kind is split, None if it is not; CatalogueError if it cannot be so."""
    if not kind.option.HasField("partition"):
        return None
    stated = kind.option.partition
    fields: dict[str, FieldDescriptor] = {
        field.name: field for field in (*kind.envelope_fields, *kind.descriptor.fields)
    }
    field = fields.get(stated.field)
    problem = ""
    if field is None or storage_of(field) is not Storage.TIMESTAMP:
        problem = f"is split by {stated.field!r}, which is no timestamp of its own"
    elif not stated.interval:
        problem = "is split by time and names no interval"
    elif kind.option.history:
        problem = "is a log and cannot keep history"
    elif any(stated.field not in unique for unique in _unique_sets(kind, fields)):
        problem = f"is split by {stated.field!r}, without which nothing can be unique in it"
    if problem:
        raise CatalogueError(kind.descriptor.full_name, problem)
    kept = stated.retention.ToTimedelta() if stated.HasField("retention") else None
    monthly = stated.interval == kind_pb2.Partition.INTERVAL_MONTH
    return Partition(stated.field, monthly, kept)


def _unique_sets(kind: Kind, fields: dict[str, FieldDescriptor]) -> Iterator[list[str]]:
    yield from ([name] for name, field in fields.items() if field_option(field).unique)
    yield from (list(index.fields) for index in kind.option.indexes if index.unique)
    if kind.option.natural_key:
        yield list(kind.option.natural_key)


def partition_names(connection: sa.Connection) -> frozenset[str]:
    """Give the tables that are parts of another."""
    if connection.dialect.name != POSTGRESQL:
        return frozenset()
    return frozenset(connection.execute(_PARTITIONS).scalars())


def prepare_partitions(
    connection: sa.Connection, metadata: sa.MetaData, now: datetime | None = None
) -> tuple[str, ...]:
    """Make the parts that are missing, the default one too, and give their names.

    The caller holds the schema's lock (``lock_schema``) in a transaction.
    """
    if connection.dialect.name != POSTGRESQL:
        return ()
    moment = now or datetime.now(UTC)
    return tuple(
        made
        for table, split in _logs(metadata)
        for made in _prepare(connection, table, split, moment)
    )


async def maintain_partitions(
    engine: AsyncEngine, metadata: sa.MetaData, now: datetime | None = None
) -> Maintenance:
    """Make the next parts of every log and remove what is older than its retention.

    For a timer, at least once an interval; safe to run in several processes at once. Rows of
    all tenants are removed alike.
    """
    moment = now or datetime.now(UTC)
    created: tuple[str, ...] = ()
    dropped: list[str] = []
    with translated():
        async with engine.connect() as connection:
            await connection.execution_options(**{WRITE: True})
            if connection.dialect.name == POSTGRESQL:
                async with connection.begin():
                    await connection.run_sync(_lock)
                    created = await connection.run_sync(prepare_partitions, metadata, moment)
                    dropped = await connection.run_sync(_drop_old, metadata, moment)
            deleted = 0
            for table, split in _logs(metadata):
                while split.retention:
                    async with connection.begin():
                        oldest = moment - split.retention
                        count = await connection.run_sync(_delete_old, table, split, oldest)
                    deleted += count
                    if count < BATCH:
                        break
    return Maintenance(created, tuple(dropped), deleted)


def _logs(metadata: sa.MetaData) -> list[tuple[sa.Table, Partition]]:
    found = ((table, table.info.get(PARTITION)) for table in metadata.sorted_tables)
    return [(table, split) for table, split in found if split is not None]


def _lock(connection: sa.Connection) -> None:
    lock_schema(connection)
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'")


def _parts(connection: sa.Connection, table: sa.Table) -> dict[str, Period | None]:
    """Give the parts of a log, the default one without a period."""
    quoted = connection.dialect.identifier_preparer.quote(table.name)
    found = {}
    for name, bounds in connection.execute(_PARTS, {"table": quoted}):
        match = _BOUNDS.match(bounds)
        found[name] = Period(*map(datetime.fromisoformat, match.groups())) if match else None
    return found


def _prepare(
    connection: sa.Connection, table: sa.Table, split: Partition, now: datetime
) -> Iterator[str]:
    quote = connection.dialect.identifier_preparer.quote
    parts = _parts(connection, table)
    default = _part_name(table, "default")
    if default not in parts:
        connection.exec_driver_sql(
            f"CREATE TABLE {quote(default)} PARTITION OF {quote(table.name)} DEFAULT"
        )
        yield default
    # Another interval may have been stated before: parts never overlap.
    taken = [period for period in parts.values() if period]
    for period in split.periods(now, AHEAD + 1):
        if any(one.start < period.end and period.start < one.end for one in taken):
            continue
        name = _part_name(table, f"p{period.start:%Y%m%d}")
        _make_part(connection, table, split, name, period)
        yield name


def _part_name(table: sa.Table, end: str) -> str:
    # PostgreSQL's identifiers have 63 bytes.
    return f"{table.name[:53]}_{end}"


def _make_part(
    connection: sa.Connection, table: sa.Table, split: Partition, name: str, period: Period
) -> None:
    """Make a part and move into it what waited in the default one."""
    quote = connection.dialect.identifier_preparer.quote
    parent, part = quote(table.name), quote(name)
    default, field = quote(_part_name(table, "default")), quote(split.field)
    columns = ", ".join(quote(column.name) for column in table.c)
    start, end = f"'{period.start.isoformat()}'", f"'{period.end.isoformat()}'"
    for statement in (
        # No row may come in between the move and the attachment.
        f"LOCK TABLE {default} IN ACCESS EXCLUSIVE MODE",
        f"CREATE TABLE {part} (LIKE {parent} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)",
        f"WITH moved AS (DELETE FROM {default} WHERE {field} >= {start} AND {field} < {end} "  # noqa: S608  # names from the contract, moments of our own
        f"RETURNING {columns}) INSERT INTO {part} ({columns}) SELECT {columns} FROM moved",
        f"ALTER TABLE {parent} ATTACH PARTITION {part} FOR VALUES FROM ({start}) TO ({end})",
    ):
        connection.exec_driver_sql(statement)


def _drop_old(connection: sa.Connection, metadata: sa.MetaData, now: datetime) -> list[str]:
    """Drop the parts all of whose rows are too old; detached first, so that the log goes on."""
    quote = connection.dialect.identifier_preparer.quote
    dropped = []
    for table, split in _logs(metadata):
        for name, period in _parts(connection, table).items():
            if period and split.retention and period.end <= now - split.retention:
                connection.exec_driver_sql(
                    f"ALTER TABLE {quote(table.name)} DETACH PARTITION {quote(name)}"
                )
                connection.exec_driver_sql(f"DROP TABLE {quote(name)}")
                dropped.append(name)
    return dropped


def _delete_old(
    connection: sa.Connection, table: sa.Table, split: Partition, oldest: datetime
) -> int:
    """Delete one batch of rows before a moment that no part takes with it."""
    postgres = connection.dialect.name == POSTGRESQL
    stored = sa.table(
        _part_name(table, "default") if postgres else table.name,
        sa.column(split.field, table.c[split.field].type),
    )
    place: sa.ColumnElement[object] = sa.literal_column("ctid" if postgres else "rowid")
    limit = int(oldest.timestamp()) * MICROSECONDS + oldest.microsecond
    batch = sa.select(place).select_from(stored).where(stored.c[split.field] < limit).limit(BATCH)
    return connection.execute(sa.delete(stored).where(place.in_(batch))).rowcount
