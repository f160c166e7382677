"""Many resources of one kind found and written at once, within a transaction.

What SQL refuses here leaves as IntegrityError, and the caller finds out which row it was.
Rows are locked and written in the order of their keys, so that writers side by side wait for
one another and never in a circle.
"""

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from google.protobuf.message import Message
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.sql import engine as dialect
from mesh.sql.copying import stage
from mesh.sql.postgres import violates_unique
from mesh.sql.references import ID
from mesh.sql.store import Store
from mesh.sql.tables import UNIQUE_FIELDS, KindTable

Key = tuple[Any, ...]
"""Stored values of some columns, None where absent."""
Row = Mapping[str, Any]

_BOUND = 5000
"""Parameters of one statement on SQLite, far below its limit."""


class BulkRows:
    """Finds, adds and replaces resources of kinds without history, by the thousand."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._copies = store.database == dialect.POSTGRESQL
        self.tells_collisions = self._copies
        """Whether ``add`` passes over rows whose place is taken; else it fails on them."""

    async def find(
        self,
        connection: AsyncConnection,
        target: KindTable,
        tenant: str,
        fields: Sequence[str],
        keys: Iterable[Key],
        columns: Sequence[str],
    ) -> dict[Key, Sequence[Any]]:
        """Give, by key, the values of columns of the rows that are there; they are ours then."""
        found: dict[Key, Sequence[Any]] = {}
        width = len(fields)
        for condition in self._matches(target, fields, keys):
            statement = self._store.select(
                target.kind.collection, tenant, [*fields, *columns]
            ).where(condition)
            statement = self._locked(connection, target, statement)
            rows = await self._store.fetch(statement, connection)
            found |= {row[:width]: row[width:] for row in map(tuple, rows)}
        return found

    async def load(
        self, connection: AsyncConnection, target: KindTable, tenant: str, ids: Iterable[str]
    ) -> dict[str, Message]:
        """Give resources with their secrets, by id."""
        keys = [(each,) for each in ids]
        found = await self.load_by(connection, target, tenant, [ID], keys)
        return {str(key[0]): record for key, record in found.items()}

    async def load_by(
        self,
        connection: AsyncConnection,
        target: KindTable,
        tenant: str,
        fields: Sequence[str],
        keys: Iterable[Key],
    ) -> dict[Key, Message]:
        """Give resources with their secrets, by key."""
        columns = target.codec.columns
        found = await self.find(connection, target, tenant, fields, keys, columns)
        decode = target.codec.decoder(columns, secrets=True)
        return {key: decode(row) for key, row in found.items()}

    async def present(
        self, connection: AsyncConnection, collection: str, tenant: str, ids: Iterable[str]
    ) -> set[str]:
        """Give those of some ids that resources have; none of these is deleted until the end."""
        target = self._store.target(collection)
        found: set[str] = set()
        for condition in self._matches(target, [ID], [(each,) for each in ids]):
            statement = self._store.select(collection, tenant, [ID]).where(condition)
            if dialect.locks_rows(connection):
                statement = statement.order_by(target.table.c[ID])
                statement = statement.with_for_update(read=True, key_share=True)
            found.update(row[0] for row in await self._store.fetch(statement, connection))
        return found

    async def add(
        self, connection: AsyncConnection, target: KindTable, rows: Sequence[Row]
    ) -> set[str]:
        """Add rows and give the ids of those that were; see ``tells_collisions``."""
        if self._copies:
            try:
                # To look for what is in the way before each row takes longer than to trip over it.
                async with connection.begin_nested():
                    await self.insert(connection, target, rows)
            except sa.exc.IntegrityError as error:
                if not violates_unique(error):
                    raise
                insertion = await self._insertion(connection, target, rows)
                passing = insertion.on_conflict_do_nothing().returning(target.table.c[ID])
                return set((await connection.execute(passing)).scalars())
        else:
            await self.insert(connection, target, rows)
        return {row[ID] for row in rows}

    async def insert(
        self, connection: AsyncConnection, target: KindTable, rows: Sequence[Row]
    ) -> None:
        """Add rows, all of which are new."""
        if self._copies:
            await connection.execute(await self._insertion(connection, target, rows))
        else:
            await connection.execute(sa.insert(target.table), list(rows))

    async def _insertion(
        self, connection: AsyncConnection, target: KindTable, rows: Sequence[Row]
    ) -> postgresql.Insert:
        # Writers side by side take their rows in one order. Copied in it they are read in it: the
        # database's own sort of whole rows takes longer.
        staged = await stage(connection, target.table, _in_order(target, rows))
        return postgresql.insert(target.table).from_select(list(rows[0]), sa.select(*staged.c))

    async def replace(
        self, connection: AsyncConnection, target: KindTable, tenant: str, rows: Sequence[Row]
    ) -> None:
        """Write rows that ``find`` gave anew."""
        table, keys = target.table, target.kind.pattern.columns
        names = [name for name in rows[0] if name not in keys]
        update = self._store.update(target.kind.collection, tenant)
        if self._copies:
            staged = await stage(connection, table, rows)
            statement = update.values({name: staged.c[name] for name in names})
            await connection.execute(statement.where(table.c[ID] == staged.c[ID]))
            return
        values = {name: sa.bindparam(f"new_{name}", type_=table.c[name].type) for name in names}
        statement = update.values(values).where(table.c[ID] == sa.bindparam("old_id"))
        await connection.execute(
            statement,
            [{"old_id": row[ID], **{f"new_{name}": row[name] for name in names}} for row in rows],
        )

    def _locked(
        self, connection: AsyncConnection, target: KindTable, statement: sa.Select[Any]
    ) -> sa.Select[Any]:
        if not dialect.locks_rows(connection):
            return statement
        ordered = statement.order_by(target.table.c[ID])
        # References to the rows can still be made: their keys do not change.
        return ordered.with_for_update(key_share=True, of=target.table)

    def _matches(
        self, target: KindTable, fields: Sequence[str], keys: Iterable[Key]
    ) -> Iterable[sa.ColumnElement[bool]]:
        """Give conditions that together hold for the rows with these keys.

        Keys that lack the same parts come together: each condition is one look into an index.
        """
        groups: dict[tuple[bool, ...], list[Key]] = {}
        for key in keys:
            # A tuple of its own for each of thousands of keys would take longer than the look.
            lacking = tuple([part is None for part in key]) if None in key else ()
            groups.setdefault(lacking, []).append(key)
        for lacking, group in groups.items():
            held = [place for place in range(len(fields)) if not (lacking and lacking[place])]
            columns = [target.table.c[fields[place]] for place in held]
            absent = [
                target.table.c[name].is_(None)
                for place, name in enumerate(fields)
                if place not in held
            ]
            if not held:
                yield sa.and_(*absent)
                continue
            wanted = [tuple([key[place] for place in held]) for key in group] if absent else group
            size = len(wanted) if self._copies else max(1, _BOUND // len(held))
            for start in range(0, len(wanted), size):
                yield sa.and_(*absent, self._any_of(columns, wanted[start : start + size]))

    def _any_of(
        self, columns: "Sequence[sa.Column[Any]]", wanted: Sequence[Key]
    ) -> sa.ColumnElement[bool]:
        if self._copies:
            # As arrays: a list of rows would be a condition of its own for each.
            arrays = [
                sa.cast([key[place] for key in wanted], postgresql.ARRAY(column.type))
                for place, column in enumerate(columns)
            ]
            if len(columns) == 1:
                return columns[0] == sa.any_(arrays[0])
            names = [f"k{place}" for place in range(len(columns))]
            listed = sa.func.unnest(*arrays).table_valued(*names).render_derived()
            return sa.tuple_(*columns).in_(sa.select(*(listed.c[name] for name in names)))
        if len(columns) == 1:
            return columns[0].in_([key[0] for key in wanted])
        return sa.tuple_(*columns).in_(wanted)


def _in_order(target: KindTable, rows: Sequence[Row]) -> Sequence[Row]:
    """Sort rows as all writers do: by the fields by which they meet."""
    values = itemgetter(*_first_unique(target), ID)
    try:
        return sorted(rows, key=values)
    except TypeError:
        # What is absent cannot be compared with what is there: it comes last.
        return sorted(rows, key=lambda row: [(value is None, value) for value in values(row)])


def _first_unique(target: KindTable) -> Sequence[str]:
    """Give the fields by which writers of the same things meet."""
    if target.kind.option.natural_key:
        return target.kind.option.natural_key
    for index in target.table.indexes:
        if fields := index.info.get(UNIQUE_FIELDS):
            return tuple(fields)
    return ()
