"""Bringing a database to what the contract says, declaratively.

There are no migration scripts: the database is compared with the tables of the contract,
and the difference is made in one transaction, by one process at a time. A process that is
killed leaves the database as it was. What was done stands in ``schema_history``.
"""

import contextlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations, ops
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.schema import CreateIndex, CreateTable

from mesh.sql import migration_rows as rows
from mesh.sql.engine import POSTGRESQL, SQLITE, WRITE, lock_schema, translated
from mesh.sql.isolation import admit, owner_problem
from mesh.sql.migration_compare import compare
from mesh.sql.migration_definitions import indexes_of, plain_dialect
from mesh.sql.migration_history import Entry, contract_digest, read_past, write_history
from mesh.sql.migration_steps import Effect, Step
from mesh.sql.partitions import prepare_partitions
from mesh.sql.postgres import catalogue_json
from mesh.sql.schema import MigrationRefused
from mesh.sql.tables import Tables
from mesh.sql.triggers import TriggerChange, drop_triggers, prepare_triggers, triggers_of

_LOCK_SECONDS = 30
"""Longest wait for readers and writers of a table; they would queue behind the change."""


@dataclass(frozen=True)
class Change:
    """Steps that are made together, with the SQL that makes them."""

    steps: tuple[Step, ...]
    statements: tuple[str, ...]

    @property
    def effect(self) -> Effect:
        """The worst that a step does."""
        return max((step.effect for step in self.steps), key=list(Effect).index)


@dataclass(frozen=True)
class Plan:
    """The difference between a database and the contract."""

    database: str
    changes: tuple[Change, ...]
    """What would be done, in order, if everything is allowed."""
    superseded: str
    """Who brought the database to a later contract; empty if nobody did."""
    empty: bool
    """The database holds no table of the contract."""
    left: tuple[Step, ...] = ()
    """What was not done since it was not allowed."""

    @property
    def steps(self) -> tuple[Step, ...]:
        return tuple(step for change in self.changes for step in change.steps)

    @property
    def kept(self) -> tuple[Step, ...]:
        """Drops of what the contract does not know and what is in nobody's way."""
        return tuple(step for step in self.steps if step.stays)

    @property
    def due(self) -> tuple[Step, ...]:
        """What must be done before the contract can be served."""
        return tuple(step for step in self.steps if not step.stays)

    def refusal(self, *, allow_destructive: bool) -> str:
        """Say why the plan cannot be carried out; empty if it can."""
        if blocked := [step for step in self.steps if step.effect is Effect.BLOCKED]:
            return _told("nothing was changed, because this cannot be done:", blocked)
        if allow_destructive:
            return ""
        if self.due and self.superseded:
            return _told(
                "nothing was changed, because the database is newer than this program: "
                f"it was brought to a later contract ({self.superseded}). Going back needs "
                "--allow-destructive:",
                self.due,
            )
        if lost := [step for step in self.due if step.effect is Effect.DESTRUCTIVE]:
            return _told(
                "nothing was changed, because data would be lost. What needs --allow-destructive:",
                lost,
            )
        return ""


def _told(head: str, steps: Sequence[Step]) -> str:
    return "\n".join([head, *(f"  - {step}" for step in steps)])


async def plan_migration(
    engine: AsyncEngine, tables: Tables, *, application: str | None = None
) -> Plan:
    """Compare a database with the contract; nothing is changed. For ``application`` see below."""
    with translated():
        async with engine.connect() as connection:
            return await connection.run_sync(_planned, tables, application)


async def migrate(
    engine: AsyncEngine,
    tables: Tables,
    *,
    allow_destructive: bool = False,
    application: str | None = None,
) -> Plan:
    """Make the difference and give it; safe to run in several processes at once.

    ``application`` is the role that uses isolated tables, and gets rights on their rows.
    Without ``allow_destructive`` what the contract does not know stays, and MigrationRefused
    is raised where something would be lost. Rows that are in the way refuse it always.
    """
    with translated(), _explained():
        async with engine.connect() as connection:
            await connection.execution_options(**{WRITE: True})
            await connection.run_sync(_enforce_references, False)
            try:
                async with connection.begin():
                    return await connection.run_sync(
                        _migrate, tables, allow_destructive, application
                    )
            finally:
                await connection.run_sync(_enforce_references, True)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Say what the database refused, without SQL and without data."""
    try:
        yield
    except (sa.exc.IntegrityError, sa.exc.ProgrammingError, sa.exc.DataError) as error:
        lines = str(error.orig).splitlines()
        raise MigrationRefused(f"nothing was changed: {lines[0] if lines else error}") from error


def _enforce_references(connection: sa.Connection, on: bool) -> None:
    """Switch SQLite's foreign keys: with them a table that is copied would empty its children.

    It has no effect inside a transaction, so it is asked of the driver.
    """
    if connection.dialect.name == SQLITE and not connection.closed and not connection.invalidated:
        cursor = connection.connection.cursor()
        cursor.execute(f"PRAGMA foreign_keys={'ON' if on else 'OFF'}")
        cursor.close()


def _planned(connection: sa.Connection, tables: Tables, application: str | None) -> Plan:
    digest = contract_digest(tables.metadata, connection.dialect)
    return _plan(connection, tables, application, digest)


def _plan(connection: sa.Connection, tables: Tables, application: str | None, digest: str) -> Plan:
    if connection.dialect.name != POSTGRESQL:
        return _compared(connection, tables, None, digest)
    if tables.isolated and (problem := owner_problem(connection, application)):
        raise MigrationRefused(f"nothing was changed: {problem}")
    with catalogue_json(connection):
        return _compared(connection, tables, application, digest)


def _compared(
    connection: sa.Connection, tables: Tables, application: str | None, digest: str
) -> Plan:
    past = read_past(connection, digest)
    present = set(sa.inspect(connection).get_table_names())
    return Plan(
        connection.dialect.name,
        tuple(_changes(connection, compare(connection, tables, application))),
        past.superseded,
        empty=not present & tables.metadata.tables.keys(),
    )


def _migrate(
    connection: sa.Connection, tables: Tables, allow_destructive: bool, application: str | None
) -> Plan:
    lock_schema(connection)
    if connection.dialect.name == POSTGRESQL:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'")
    digest = contract_digest(tables.metadata, connection.dialect)
    plan = _plan(connection, tables, application, digest)
    if problem := plan.refusal(allow_destructive=allow_destructive):
        raise MigrationRefused(problem)
    changes = plan.changes
    if plan.kept and not allow_destructive:
        changes = tuple(_changes(connection, plan.due))
    steps = [step for change in changes for step in change.steps]
    operations = Operations(MigrationContext.configure(connection))
    if plan.database == SQLITE and any(step.rebuilds for step in steps):
        # A table cannot be copied while a trigger speaks of it; all are made again below.
        drop_triggers(connection)
    for change in changes:
        _perform(connection, operations, change.steps)
    prepare_partitions(connection, tables.metadata)
    # A table that SQLite copied has lost its triggers, which are made with all tables.
    tables.metadata.dispatch.after_create(tables.metadata, connection)
    prepare_triggers(connection, tables.metadata)
    _check_references(connection)
    entries = [
        Entry("; ".join(map(str, change.steps)), change.statements, change.effect.value)
        for change in changes
    ]
    if not entries and not plan.superseded and not read_past(connection, digest).current:
        entries = [Entry("found as the contract says", (), Effect.ADDITIVE.value)]
    write_history(connection, entries, digest)
    admit(connection, tables.metadata, application)
    left = () if allow_destructive else plan.kept
    return Plan(plan.database, changes, plan.superseded, plan.empty, left)


def _changes(connection: sa.Connection, steps: Sequence[Step]) -> Iterator[Change]:
    """Put together what SQLite does by one copy of a table; all else stands alone."""
    grouped: list[tuple[Step, ...]] = []
    if connection.dialect.name == SQLITE:
        for rebuilds, run in groupby(steps, key=lambda step: step.rebuilds):
            chosen = list(run)
            if rebuilds:
                chosen.sort(key=lambda step: step.table)
                grouped += [tuple(one) for _, one in groupby(chosen, key=lambda step: step.table)]
            else:
                grouped += [(step,) for step in chosen]
    else:
        grouped = [(step,) for step in steps]
    dropped = {
        str(step.operation.index_name)
        for step in steps
        if isinstance(step.operation, ops.DropIndexOp)
    }
    for together in grouped:
        yield Change(together, _statements(connection, together, dropped))


def _statements(
    connection: sa.Connection, steps: Sequence[Step], dropped: Collection[str]
) -> tuple[str, ...]:
    """Write the SQL of steps without running it."""
    if any(step.effect is Effect.BLOCKED for step in steps):
        return ()
    written = StringIO()
    context = MigrationContext.configure(
        dialect=plain_dialect(connection.dialect), opts={"as_sql": True, "output_buffer": written}
    )
    _perform(connection, Operations(context), steps, dropped)
    return tuple(each.strip() for each in written.getvalue().split(";\n\n") if each.strip())


def _perform(
    connection: sa.Connection,
    operations: Operations,
    steps: Sequence[Step],
    dropped: Collection[str] = (),
) -> None:
    """Make steps: of one table together if SQLite may have to copy it, else one."""
    if connection.dialect.name == SQLITE and steps[0].rebuilds:
        _rebuild(connection, operations, steps, dropped)
        return
    for step in steps:
        match step.operation:
            case sa.Table() as table:
                operations.execute(CreateTable(table))
                for index in indexes_of(table, connection.dialect):
                    operations.execute(CreateIndex(index))
                for trigger in triggers_of(table, connection.dialect):
                    for statement in trigger.making():
                        _run(operations, statement)
            case sa.Index() as index:
                operations.impl.create_index(index)
            case TriggerChange() as change:
                for statement in change.statements:
                    _run(operations, statement)
            case operation:
                operations.invoke(operation)


def _run(operations: Operations, statement: str) -> None:
    """Run a statement as it stands, or show it."""
    context = operations.migration_context
    if context.as_sql or context.connection is None:
        context.impl.static_output(f"{statement};")
    else:
        context.connection.exec_driver_sql(statement)


def _rebuild(
    connection: sa.Connection,
    operations: Operations,
    steps: Sequence[Step],
    dropped: Collection[str],
) -> None:
    name = steps[0].table
    live = not operations.migration_context.as_sql
    before = rows.count(connection, name) if live else 0
    present = sa.Table(name, sa.MetaData(), autoload_with=connection, resolve_fks=False)
    for index in [each for each in present.indexes if each.name in dropped]:
        # It is there still if the SQL is only shown.
        present.indexes.discard(index)
    with operations.batch_alter_table(name, copy_from=present) as batch:
        for step in steps:
            if isinstance(step.operation, ops.MigrateOperation):
                batch.invoke(step.operation)
    if live and rows.count(connection, name) != before:
        raise MigrationRefused(f"nothing was changed: copying {name} lost rows")


def _check_references(connection: sa.Connection) -> None:
    if connection.dialect.name != SQLITE:
        return
    broken: Sequence[Any] = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    if broken:
        named = ", ".join(sorted({str(row[0]) for row in broken}))
        raise MigrationRefused(f"nothing was changed: rows of {named} would refer to none")
