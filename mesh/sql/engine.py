"""Database engines, and what differs between databases outside of types and conditions."""

import contextlib
from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as postgres_dialect
from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from mesh.errors import DeadlineExceeded, DependencyUnavailable
from mesh.sql import postgres, sqlite
from mesh.sql.settings import WRITE, EngineUrlError, Pool
from mesh.sql.tracing import trace_statements

__all__ = [
    "WRITE",
    "EngineUrlError",
    "Pool",
    "lock_schema",
    "locks_rows",
    "open_engine",
    "take_turn",
    "translated",
    "upsert",
    "violated_check",
    "violates_reference",
    "violates_unique",
]
SQLITE, POSTGRESQL = "sqlite", "postgresql"
"""What engines call their databases."""

_OPENERS = {
    "sqlite": sqlite.open_sqlite,
    "sqlite+aiosqlite": sqlite.open_sqlite,
    "postgresql": postgres.open_postgres,
    "postgresql+psycopg": postgres.open_postgres,
}
_DATABASES = (sqlite, postgres)
_SCHEMA_LOCK = 0x7365636D657368
"""Key of the advisory lock in PostgreSQL; the bytes of the project's name."""


def open_engine(url: str, pool: Pool | None = None) -> AsyncEngine:
    """Open an engine for a URL; nothing is connected yet.

    ``sqlite:///relative.db`` and ``sqlite:////absolute.db`` are files, readable by their
    owner alone; ``sqlite://`` is a scratch database of this process, removed with it.
    ``postgresql://user:password@host/database`` is a server. Raises EngineUrlError.
    """
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError as error:
        raise EngineUrlError("the database URL cannot be parsed") from error
    if parsed.drivername not in _OPENERS:
        raise EngineUrlError(f"databases of type {parsed.drivername!r} are not supported")
    engine = _OPENERS[parsed.drivername](parsed, pool or Pool())
    trace_statements(engine.sync_engine)
    return engine


def upsert(table: sa.Table, database: str) -> sa.Insert:
    """Give an INSERT that replaces the row with the same primary key."""
    statement: sqlite_dialect.Insert | postgres_dialect.Insert
    statement = (
        postgres_dialect.insert(table) if database == POSTGRESQL else sqlite_dialect.insert(table)
    )
    key = list(table.primary_key.columns)
    values = {
        column.name: statement.excluded[column.name] for column in table.c if column not in key
    }
    if not values:
        return statement.on_conflict_do_nothing(index_elements=key)
    return statement.on_conflict_do_update(index_elements=key, set_=values)


def violated_check(error: sa.exc.IntegrityError) -> str | None:
    """Give the name of the CHECK (or ``table.column`` of the NOT NULL) that a row breaks."""
    return next(filter(None, (each.violated_check(error) for each in _DATABASES)), None)


def violates_unique(error: sa.exc.IntegrityError) -> bool:
    """Tell whether a row exists already under the same key."""
    return any(each.violates_unique(error) for each in _DATABASES)


def violates_reference(error: sa.exc.IntegrityError) -> bool:
    """Tell whether a row refers to none, or is still referred to."""
    return any(each.violates_reference(error) for each in _DATABASES)


def locks_rows(connection: AsyncConnection) -> bool:
    """Tell whether rows that are read to be written again must be locked."""
    sync = connection.sync_connection
    writes = sync is not None and sync.get_execution_options().get(WRITE, False)
    return bool(writes) and connection.dialect.name == POSTGRESQL


async def take_turn(connection: AsyncConnection, name: str) -> None:
    """Let one transaction at a time decide by what it finds, until its end; of each name one."""
    # On SQLite writers take turns anyway.
    if connection.dialect.name == POSTGRESQL:
        key = sa.func.hashtextextended(name, 0)
        await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))


def lock_schema(connection: sa.Connection) -> None:
    """Let one process at a time change tables, until the transaction ends."""
    if connection.dialect.name == POSTGRESQL:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_SCHEMA_LOCK)))


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn failures of the database itself into refusals, without SQL text.

    DeadlineExceeded for a statement that outlived its call, else DependencyUnavailable.
    """
    try:
        yield
    except (sa.exc.IntegrityError, sa.exc.ProgrammingError, sa.exc.DataError):
        raise
    except sa.exc.DBAPIError as error:
        if postgres.sqlstate(error) == postgres.CANCELED:
            raise DeadlineExceeded("the call took longer than its deadline") from error
        raise DependencyUnavailable("store") from error
    except sa.exc.TimeoutError as error:
        raise DependencyUnavailable("store") from error
