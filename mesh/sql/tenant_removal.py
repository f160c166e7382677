"""All rows of one tenant removed from a store, in an order that its references allow.

Some rows at a time, each time in a transaction of its own: whoever is stopped has done a part, and
the next goes on with what is there. Nothing is remembered but the rows themselves.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.sql.references import TENANT
from mesh.sql.removed_tenants import NAME
from mesh.sql.store import Store
from mesh.sql.tenant_closing import TenantClosing

_AT_ONCE = 1000
"""Rows of one transaction."""


@dataclass
class Removed:
    """What a removal did, and what it left, in rows by table; empty ones are not there."""

    removed: dict[str, int] = field(default_factory=dict)
    remaining: Mapping[str, int] = field(default_factory=dict)

    def add(self, table: str, rows: int) -> None:
        """Count rows that were removed."""
        if rows:
            self.removed[table] = self.removed.get(table, 0) + rows


class TenantRemoval:
    """Works as the owner of the tables: OwnerMissing where this process has no such connection."""

    def __init__(
        self,
        store: Store,
        at_once: int = _AT_ONCE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._at_once = at_once
        self._monotonic = monotonic
        if store.removed is None:
            raise ValueError("no tenant is ever removed by this contract")
        self._removed = store.removed
        self.closing = TenantClosing(store.removed, lambda _tenant: store.upkeep())
        """Refuses a tenant before its rows are removed."""
        changes = store.tables.changes or ()
        self._feed = changes[0] if changes else None
        self._tables = list(_in_order(store.tables.metadata.sorted_tables, changes))

    async def count(self, tenant: str) -> dict[str, int]:
        """Give the rows that there are of a tenant, by table."""
        found = {}
        async with self._store.whole() as connection:
            for table in self._tables:
                of_tenant = table.c[TENANT] == tenant
                counted = sa.select(sa.func.count()).select_from(table).where(of_tenant)
                if rows := await connection.scalar(counted):
                    found[table.name] = rows
        return found

    async def is_closed(self, tenant: str) -> bool:
        """Tell whether the tenant is refused."""
        async with self._store.whole() as connection:
            return await self._removed.holds(connection, tenant)

    async def remove(self, tenant: str, seconds: float) -> Removed:
        """Remove until nothing is there, or a time is over."""
        done, end = Removed(), self._monotonic() + seconds
        done.remaining = await self.count(tenant)
        while done.remaining:
            for table in self._tables:
                if table.name in done.remaining:
                    await self._empty(table, tenant, done, end)
            done.remaining = await self.count(tenant)
            if self._monotonic() >= end:
                break
        return done

    async def _empty(self, table: sa.Table, tenant: str, done: Removed, end: float) -> None:
        while rows := await self._batch(table, tenant):
            done.add(table.name, rows)
            if self._monotonic() >= end:
                return

    async def _batch(self, table: sa.Table, tenant: str) -> int:
        """Remove some rows, with what the change feed says of it; 0 if there were none."""
        try:
            async with self._store.upkeep() as connection:
                rows = await self._delete(connection, table, tenant)
                if self._feed is not None and table is not self._feed:
                    await connection.execute(
                        sa.delete(self._feed).where(self._feed.c[TENANT] == tenant)
                    )
        except sa.exc.IntegrityError:
            # Somebody wrote a row that refers to one of these: the next round begins with it.
            return 0
        return rows

    async def _delete(self, connection: AsyncConnection, table: sa.Table, tenant: str) -> int:
        key = list(table.primary_key.columns)
        own = table.c[TENANT] == tenant
        free = sa.and_(own, *_unreferred(table))
        rows = await self._of(connection, sa.delete(table), key, free)
        if rows or not (circles := _own_references(table)):
            return rows
        # Only rows that refer to each other in a circle are left, if any.
        emptied = sa.update(table).values({name: None for columns in circles for name in columns})
        await self._of(connection, emptied, key, own)
        return await self._of(connection, sa.delete(table), key, free)

    async def _of(
        self,
        connection: AsyncConnection,
        statement: Any,
        key: "Sequence[sa.Column[Any]]",
        condition: sa.ColumnElement[bool],
    ) -> int:
        some = sa.select(*key).where(condition).limit(self._at_once)
        done: Any = await connection.execute(statement.where(sa.tuple_(*key).in_(some)))
        rows: int = done.rowcount
        return rows


def _in_order(tables: Sequence[sa.Table], changes: Sequence[sa.Table]) -> Iterator[sa.Table]:
    """Give the tables that hold rows of tenants, those first that others are referred to by.

    Each transaction empties the feed of what it told itself, so the feed comes first.
    """
    yield from changes
    for table in reversed(tables):
        if TENANT in table.c and table not in changes and table.name != NAME:
            yield table


def _own_references(table: sa.Table) -> list[list[str]]:
    """Give the columns, beside the tenant's, that refer to rows of the table itself."""
    return [[name for name in key.column_keys if name != TENANT] for key in _keeping(table)]


def _unreferred(table: sa.Table) -> Iterator[sa.ColumnElement[bool]]:
    """Give the conditions that no row of the table itself keeps a row from being deleted."""
    for key in _keeping(table):
        other = table.alias()
        same = (other.c[each.parent.name] == table.c[each.column.name] for each in key.elements)
        yield ~sa.exists().where(*same)


def _keeping(table: sa.Table) -> Iterator[sa.ForeignKeyConstraint]:
    """Give the references by which rows of a table keep others of it."""
    for key in table.foreign_key_constraints:
        if key.referred_table is table and key.ondelete == "RESTRICT":
            yield key
