"""Triggers and their functions: declared with a table, made when missing, compared by their text.

SQLAlchemy and Alembic know none. A table keeps its own in ``Table.info``; the names of all begin
with ``changes_``, with ``counts_`` or, for references that are emptied (SQLite), with ``fk_``.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

TRIGGERS = "triggers"
"""Where a table keeps the maker of its triggers (``Table.info``)."""
_PREFIXES = ("changes_", "counts_", "fk_")
_FUNCTIONS = sa.text(
    "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = current_schema()::regnamespace "
    "AND prorettype = 'trigger'::regtype"
)
_TRIGGERS = sa.text(
    "SELECT tgname, relname, proname, prosrc FROM pg_trigger "
    "JOIN pg_class ON pg_class.oid = tgrelid JOIN pg_proc ON pg_proc.oid = tgfoid "
    "WHERE NOT tgisinternal AND tgenabled <> 'D' AND tgparentid = 0 "
    "AND relnamespace = current_schema()::regnamespace"
)


@dataclass(frozen=True)
class Trigger:
    """One trigger of a table."""

    name: str
    table: str
    text: str
    """The CREATE TRIGGER statement."""
    function: str = ""
    """Name of the function that it calls (PostgreSQL)."""
    body: str = ""
    """What the function does."""
    head: str = ""
    """The CREATE FUNCTION statement up to its body."""

    def making(self) -> Iterator[str]:
        """Give the statements that make it."""
        if self.function:
            yield f"{self.head} AS $secmesh${self.body}$secmesh$"
            yield self.text.replace("CREATE TRIGGER", "CREATE OR REPLACE TRIGGER", 1)
        else:
            yield f'DROP TRIGGER IF EXISTS "{self.name}"'
            yield self.text


@dataclass(frozen=True)
class TriggerChange:
    """A step of a migration: statements that bring one trigger to what is declared."""

    table: str
    words: str
    statements: tuple[str, ...]


Maker = Callable[[sa.Dialect], Iterable[Trigger]]


def declare(table: sa.Table, maker: Maker) -> None:
    """Give a table triggers; they are made with it, whatever makes it."""
    table.info.setdefault(TRIGGERS, []).append(maker)


def triggers_of(table: sa.Table, dialect: sa.Dialect) -> Iterator[Trigger]:
    """Give the triggers of a table."""
    for maker in table.info.get(TRIGGERS, ()):
        yield from maker(dialect)


def declared(metadata: sa.MetaData, dialect: sa.Dialect) -> dict[str, Trigger]:
    """Give all triggers of a contract by name."""
    tables = metadata.tables.values()
    return {trigger.name: trigger for table in tables for trigger in triggers_of(table, dialect)}


def differences(connection: sa.Connection, metadata: sa.MetaData) -> list[TriggerChange]:
    """Tell which triggers are missing, other than declared, or left from another contract."""
    wanted = declared(metadata, connection.dialect)
    present = _present(connection)
    changes = []
    for name, (table, _) in present.items():
        if name not in wanted:
            words = f"drop trigger {name} of {table}"
            changes.append(TriggerChange(table, words, (_drop(connection, name, table),)))
    for name, trigger in wanted.items():
        if present.get(name) != (trigger.table, trigger.body or trigger.text):
            words = f"add trigger {name} to {trigger.table}"
            changes.append(TriggerChange(trigger.table, words, tuple(trigger.making())))
    return changes


def prepare_triggers(connection: sa.Connection, metadata: sa.MetaData) -> None:
    """Make the triggers what they are declared to be; the caller holds the schema's lock."""
    for change in differences(connection, metadata):
        for statement in change.statements:
            connection.exec_driver_sql(statement)


def drop_triggers(connection: sa.Connection) -> None:
    """Drop all of ours, so that tables can be copied; ``prepare_triggers`` makes them again."""
    for name, (table, _) in _present(connection).items():
        connection.exec_driver_sql(_drop(connection, name, table))


def _drop(connection: sa.Connection, name: str, table: str) -> str:
    quote = connection.dialect.identifier_preparer.quote
    on = f" ON {quote(table)}" if connection.dialect.name == "postgresql" else ""
    return f"DROP TRIGGER IF EXISTS {quote(name)}{on}"


def _present(connection: sa.Connection) -> Mapping[str, tuple[str, str]]:
    """Give table and text of the triggers that are there."""
    if connection.dialect.name == "postgresql":
        rows = [(name, table, body) for name, table, _, body in connection.execute(_TRIGGERS)]
    else:
        master = sa.table("sqlite_master", *map(sa.column, ("type", "name", "tbl_name", "sql")))
        chosen = sa.select(master.c.name, master.c.tbl_name, master.c.sql)
        rows = [tuple(row) for row in connection.execute(chosen.where(master.c.type == "trigger"))]
    return {name: (table, text) for name, table, text in rows if name.startswith(_PREFIXES)}
