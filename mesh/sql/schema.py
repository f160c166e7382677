"""What ``serve`` asks of its database: the tables of the contract.

A database whose history ends with this contract is taken as it stands, and an empty one is filled.
Only what stands between needs the comparison, and with it Alembic (20 MiB, half a second).
"""

import contextlib
from collections.abc import Iterator
from enum import Enum, auto

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from mesh.sql.engine import POSTGRESQL, SQLITE, WRITE, lock_schema, translated
from mesh.sql.isolation import admit, isolate, isolation_problem
from mesh.sql.migration_history import (
    Entry,
    contract_digest,
    definitions,
    has_history,
    read_past,
    write_history,
)
from mesh.sql.moving_ledger import LEDGER
from mesh.sql.partitions import prepare_partitions
from mesh.sql.postgres import DENIED, sqlstate
from mesh.sql.tables import Tables
from mesh.sql.triggers import prepare_triggers, triggers_of

_ADDITIVE = "additive"


class MigrationRefused(Exception):
    """The database was left as it was; the message says why and what to do."""


_NOT_CURRENT = "the database is not what the contract says: run `migrate` as its owner"


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    """Tell of a role that was never let in."""
    try:
        yield
    except sa.exc.ProgrammingError as error:
        if sqlstate(error) != DENIED:
            raise
        raise MigrationRefused(f"this role may not use the database: {_NOT_CURRENT}") from error


class Standing(Enum):
    """What a database is to a contract."""

    EMPTY = auto()
    """It holds no table of the contract and no history."""
    CURRENT = auto()
    """Its history ends with this contract, and all tables are there."""
    OTHER = auto()


async def require_schema(
    engine: AsyncEngine, tables: Tables, *, owner: AsyncEngine | None = None
) -> None:
    """Have a database fit to serve: an empty one is filled, a file is brought up to date.

    Raises MigrationRefused for a server's database that is not current: to change that is
    its operator's decision, since other processes use it. Where the database keeps tenants
    apart (``mesh.sql.isolation``) only its ``owner`` can fill it, and the role of ``engine``
    must be one that cannot undo that.
    """
    apart = tables.isolated and engine.dialect.name == POSTGRESQL
    role = engine.url.username if apart else None
    with translated(), _readable():
        async with (owner or engine).connect() as connection:
            standing = await connection.run_sync(standing_of, tables)
        if apart and owner is None and standing is not Standing.CURRENT:
            raise MigrationRefused(_NOT_CURRENT)
        if standing is Standing.EMPTY:
            async with (owner or engine).connect() as connection:
                await connection.execution_options(**{WRITE: True})
                async with connection.begin():
                    standing = await connection.run_sync(fill, tables, role)
    if standing is not Standing.CURRENT:
        await _bring_up_to_date(owner or engine, tables, role)
    if apart:
        with translated():
            async with engine.connect() as connection:
                if problem := await connection.run_sync(isolation_problem, tables.metadata):
                    raise MigrationRefused(problem)


def standing_of(connection: sa.Connection, tables: Tables) -> Standing:
    """Tell how a database stands; MigrationRefused while a store is moved into it."""
    present = set(sa.inspect(connection).get_table_names())
    if LEDGER in present:
        raise MigrationRefused(
            "a store is being moved into this database: `move` again to bring that to its end"
        )
    missing = tables.metadata.tables.keys() - present
    if len(missing) == len(tables.metadata.tables) and not has_history(connection):
        return Standing.EMPTY
    digest = contract_digest(tables.metadata, connection.dialect)
    if not missing and read_past(connection, digest).current:
        return Standing.CURRENT
    return Standing.OTHER


def fill(connection: sa.Connection, tables: Tables, role: str | None) -> Standing:
    """Make all tables, unless another process was faster; tell how the database stands now."""
    lock_schema(connection)
    standing = standing_of(connection, tables)
    if standing is not Standing.EMPTY:
        return standing
    tables.metadata.create_all(connection, checkfirst=False)
    prepare_partitions(connection, tables.metadata)
    prepare_triggers(connection, tables.metadata)
    made = definitions(tables.metadata, connection.dialect)
    entries = [
        Entry(
            f"create table {table.name}",
            (*map(str.strip, made[table.name]), *_triggers(table, connection.dialect)),
            _ADDITIVE,
        )
        for table in tables.metadata.sorted_tables
    ]
    isolate(connection, tables.metadata, role)
    write_history(connection, entries, contract_digest(tables.metadata, connection.dialect, made))
    admit(connection, tables.metadata, role)
    return Standing.CURRENT


def _triggers(table: sa.Table, dialect: sa.Dialect) -> Iterator[str]:
    for each in triggers_of(table, dialect):
        yield from each.making()


async def _bring_up_to_date(engine: AsyncEngine, tables: Tables, role: str | None) -> None:
    from mesh.sql.migration import migrate, plan_migration

    plan = await plan_migration(engine, tables, application=role)
    if not plan.due and not plan.empty:
        return
    if plan.empty or plan.database == SQLITE:
        await migrate(engine, tables, application=role)
        return
    problem = plan.refusal(allow_destructive=False)
    count = f"{len(plan.due)} changes are due"
    raise MigrationRefused(
        f"the database is not what the contract says: {count}; see `migrate --plan`, then "
        f"`migrate --apply`" + (f"\n{problem}" if problem else "")
    )
