"""Logs split by time: parts made ahead and dropped by age on PostgreSQL, plain tables on SQLite.

The time is that in the rows' ids, UUIDs of version 7, whose texts sort by it. So the id stays the
key that others refer to, and a part holds the ids between two texts.

Rows outside of every part go into the part ``<table>_default``, so none is refused; when a
part is made for their time they move there. On SQLite, and in the default part, rows that are
too old are deleted in batches.
"""

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from mesh.contract.catalogue import CatalogueError, Kind, field_option
from mesh.identifiers import first_of
from mesh.sql.engine import POSTGRESQL, WRITE, translated
from mesh.sql.giving_way import giving_way
from mesh.sql.references import ID
from secmesh.options.v1 import kind_pb2

PARTITION = "partition"
"""Where a table keeps its Partition (``Table.info``)."""
LEAVING = "leaving"
"""Where a table keeps who is told, in the same transaction, which rows leave (``Leaving``)."""
Leaving = Callable[[sa.Connection, sa.FromClause], None]
"""Takes the rows that are about to leave, with all columns of the log."""
AHEAD = 2
"""Parts made beyond the present one."""
BATCH = 1000
"""Rows deleted in one transaction."""
_PARTITIONS = sa.text(
    "SELECT relname FROM pg_class WHERE relispartition AND relkind IN ('r', 'p') "
    "AND relnamespace = current_schema()::regnamespace"
)
_PARTS = sa.text(
    "SELECT relname, pg_get_expr(relpartbound, pg_class.oid) FROM pg_inherits "
    "JOIN pg_class ON pg_class.oid = inhrelid WHERE inhparent = to_regclass(:table)"
)
_REFERENCES_TO_PARTS = sa.text(
    # Parts have the foreign keys of their table, by the same names; they are not compared.
    "SELECT conname FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid "
    "WHERE contype = 'f' AND conparentid <> 0 AND NOT relispartition "
    "AND connamespace = CAST(current_schema() AS regnamespace)"
)
_SPLIT = sa.text("SELECT pg_get_partkeydef(to_regclass(:table))")
_BOUNDS = re.compile(r"^FOR VALUES FROM \('([^']+)'\) TO \('([^']+)'\)$")
PARTITION_KEY = f"RANGE ({ID})"
"""What PostgreSQL's PARTITION BY says of a log."""
_END = re.compile(r"p[0-9]{8}")
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Partition:
    """How the rows of a log are placed."""

    monthly: bool
    retention: timedelta | None

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
    problem = ""
    if not stated.interval:
        problem = "is split by time and names no interval"
    elif kind.option.history:
        problem = "is a log and cannot keep history"
    elif unique := next(_unique_sets(kind), None):
        problem = f"is split by its id, so nothing else can be unique in it: {', '.join(unique)}"
    if problem:
        raise CatalogueError(kind.descriptor.full_name, problem)
    kept = stated.retention.ToTimedelta() if stated.HasField("retention") else None
    return Partition(stated.interval == kind_pb2.Partition.INTERVAL_MONTH, kept)


def _unique_sets(kind: Kind) -> Iterator[list[str]]:
    fields = (*kind.envelope_fields, *kind.descriptor.fields)
    yield from ([field.name] for field in fields if field_option(field).unique)
    yield from (list(index.fields) for index in kind.option.indexes if index.unique)
    if kind.option.natural_key:
        yield list(kind.option.natural_key)


def partition_key(connection: sa.Connection, table: str) -> str:
    """Give what a table is split by, as PARTITION_KEY says it; empty for a plain one."""
    if connection.dialect.name != POSTGRESQL:
        return ""
    quoted = connection.dialect.identifier_preparer.quote(table)
    return str(connection.execute(_SPLIT, {"table": quoted}).scalar() or "")


def references_to_parts(connection: sa.Connection) -> frozenset[str]:
    """Give the foreign keys that PostgreSQL makes by itself, for parts of what is referred to."""
    if connection.dialect.name != POSTGRESQL:
        return frozenset()
    return frozenset(connection.execute(_REFERENCES_TO_PARTS).scalars())


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
    created, dropped = list[str](), list[str]()
    with translated():
        async with engine.connect() as connection:
            await connection.execution_options(**{WRITE: True})
            # Each log by itself: who holds the locks of one waits for none of another.
            for table, split in _logs(metadata) if connection.dialect.name == POSTGRESQL else ():
                prepare = partial(_prepare, table=table, split=split, now=moment)
                created += await giving_way(connection, prepare)
                drop = partial(_drop_old, table=table, split=split, now=moment)
                dropped += await giving_way(connection, drop)
            deleted = 0
            for table, split in _logs(metadata):
                while split.retention:
                    oldest = moment - split.retention
                    count = await _delete_batch(connection, table, oldest)
                    deleted += count
                    if count < BATCH:
                        break
    return Maintenance(tuple(created), tuple(dropped), deleted)


async def _delete_batch(connection: AsyncConnection, table: sa.Table, oldest: datetime) -> int:
    try:
        async with connection.begin():
            return await connection.run_sync(_delete_old, table, oldest)
    except sa.exc.IntegrityError:
        _LOG.warning("rows of %s are too old and stay: others refer to them", table.name)
        return 0


def _logs(metadata: sa.MetaData) -> list[tuple[sa.Table, Partition]]:
    found = ((table, table.info.get(PARTITION)) for table in metadata.sorted_tables)
    return [(table, split) for table, split in found if split is not None]


def _parts(connection: sa.Connection, table: sa.Table) -> dict[str, tuple[str, str] | None]:
    """Give the parts of a log with their bounds, the default one without."""
    quoted = connection.dialect.identifier_preparer.quote(table.name)
    found: dict[str, tuple[str, str] | None] = {}
    for name, bounds in connection.execute(_PARTS, {"table": quoted}):
        match = _BOUNDS.match(bounds)
        found[name] = (match[1], match[2]) if match else None
    return found


def _prepare(
    connection: sa.Connection, table: sa.Table, split: Partition, now: datetime
) -> list[str]:
    return list(_prepared(connection, table, split, now))


def _prepared(
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
    taken = [bounds for bounds in parts.values() if bounds]
    for period in split.periods(now, AHEAD + 1):
        bounds = first_of(period.start), first_of(period.end)
        if any(one[0] < bounds[1] and bounds[0] < one[1] for one in taken):
            continue
        name = _part_name(table, f"p{period.start:%Y%m%d}")
        if _make_part(connection, table, name, bounds):
            yield name


def _part_name(table: sa.Table, end: str) -> str:
    # PostgreSQL's identifiers have 63 bytes.
    return f"{table.name[:53]}_{end}"


def is_part_name(table: sa.Table, name: str) -> bool:
    """Tell whether a part of a log would be called so."""
    start, _, end = name.rpartition("_")
    return start == table.name[:53] and (end == "default" or _END.fullmatch(end) is not None)


def _make_part(
    connection: sa.Connection, table: sa.Table, name: str, bounds: tuple[str, str]
) -> bool:
    """Make a part and move into it what waited in the default one.

    Rows that others may refer to cannot move: to what refers to them they would be deleted.
    They stay, and their part is not made.
    """
    quote = connection.dialect.identifier_preparer.quote
    parent, part, default = map(quote, (table.name, name, _part_name(table, "default")))
    columns = ", ".join(quote(column.name) for column in table.c)
    start, end = (f"'{bound}'" for bound in bounds)
    waiting = f"{default} WHERE {ID} >= {start} AND {ID} < {end}"
    # No row may come in between the move and the attachment.
    connection.exec_driver_sql(f"LOCK TABLE {default} IN ACCESS EXCLUSIVE MODE")
    some = connection.exec_driver_sql(f"SELECT 1 FROM {waiting} LIMIT 1").first()  # noqa: S608  # names from the contract, bounds of our own
    if some is not None and _is_referred_to(table):
        _LOG.warning("rows of %s wait in its default part: others may refer to them", table.name)
        return False
    for statement in (
        f"CREATE TABLE {part} (LIKE {parent} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)",
        f"WITH moved AS (DELETE FROM {waiting} RETURNING {columns}) "  # noqa: S608  # see above
        f"INSERT INTO {part} ({columns}) SELECT {columns} FROM moved",
        f"ALTER TABLE {parent} ATTACH PARTITION {part} FOR VALUES FROM ({start}) TO ({end})",
    ):
        connection.exec_driver_sql(statement)
    return True


def _is_referred_to(table: sa.Table) -> bool:
    return any(
        key.referred_table is table
        for other in table.metadata.tables.values()
        for key in other.foreign_key_constraints
    )


def _drop_old(
    connection: sa.Connection, table: sa.Table, split: Partition, now: datetime
) -> list[str]:
    """Drop the parts all of whose rows are too old; those that must stay are left."""
    if split.retention is None:
        return []
    oldest = first_of(now - split.retention)
    return [
        name
        for name, bounds in _parts(connection, table).items()
        if bounds and bounds[1] <= oldest and _drop(connection, table, name)
    ]


def _drop(connection: sa.Connection, table: sa.Table, name: str) -> bool:
    """Drop one part; detached first, so that the log goes on."""
    quote = connection.dialect.identifier_preparer.quote
    statements = [
        f"ALTER TABLE {quote(table.name)} DETACH PARTITION {quote(name)}",
        f"DROP TABLE {quote(name)}",
    ]
    if _is_referred_to(table):
        # What refers to its rows goes or lets go, as its contract says.
        statements.insert(0, f"DELETE FROM {quote(name)}")  # noqa: S608  # a name from the contract
    try:
        with connection.begin_nested():
            _tell(connection, table, sa.select(*_part(table, name).c).subquery())
            for statement in statements:
                connection.exec_driver_sql(statement)
    except sa.exc.IntegrityError:
        _LOG.warning("%s is too old and stays: others refer to its rows", name)
        return False
    return True


def _delete_old(connection: sa.Connection, table: sa.Table, oldest: datetime) -> int:
    """Delete one batch of rows before a moment that no part takes with it."""
    postgres = connection.dialect.name == POSTGRESQL
    name = _part_name(table, "default") if postgres else table.name
    stored = _part(table, name)
    place: sa.ColumnElement[object] = sa.literal_column("ctid" if postgres else "rowid")
    old = stored.c[ID] < first_of(oldest)
    # In an order, so that those who are told of the batch are told of what goes.
    batch = sa.select(place).select_from(stored).where(old).order_by(stored.c[ID], place)
    batch = batch.limit(BATCH)
    if connection.scalar(sa.select(sa.exists(batch))):
        _tell(connection, table, sa.select(*stored.c).where(place.in_(batch)).subquery())
    return connection.execute(sa.delete(stored).where(place.in_(batch))).rowcount


def _part(table: sa.Table, name: str) -> sa.TableClause:
    """Give a part of a log, or a log itself, by its name."""
    return sa.table(name, *(sa.column(each.name, each.type) for each in table.c))


def _tell(connection: sa.Connection, table: sa.Table, rows: sa.FromClause) -> None:
    told: Leaving | None = table.info.get(LEAVING)
    if told is not None:
        told(connection, rows)
