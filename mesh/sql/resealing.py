"""What is sealed in a store, sealed anew by the present key of the ring.

Rows are taken some at a time, each written only where it still holds what was read: whoever
writes it meanwhile has sealed it by the present key. What is done is told by the values
themselves, so that a run that is broken off goes on where it was. Nothing of a record changes by
it: neither etag nor times, and watchers are told nothing.
"""

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from mesh.errors import Refusal
from mesh.sealing.envelope import beginning
from mesh.sealing.hashing import keyed_form
from mesh.sealing.keyring import KeyRing
from mesh.sql.at_rest import is_hashed, keys_fields
from mesh.sql.settings import SILENT
from mesh.sql.store import TENANT, Store
from mesh.sql.tables import KindTable
from mesh.sql.tenancy import acting_for

BATCH = 500
"""Rows that are read at once, and written in one transaction for each tenant."""
_LOG = logging.getLogger(__name__)


class Step(NamedTuple):
    """What came of some rows."""

    collection: str
    sealed: int
    """Rows that were sealed anew."""
    broken: int
    """Rows that no key of the ring opens; they stay as they are."""


class Resealing:
    """Works as the owner of the tables, and writes for the tenant of each row alone."""

    def __init__(self, store: Store, keys: KeyRing) -> None:
        self._store = store
        self._keys = keys

    @property
    def _targets(self) -> Sequence[KindTable]:
        kinds = self._store.tables.kinds
        found = (self._store.target(collection) for collection in sorted(kinds))
        return [target for target in found if target.codec.sealed]

    async def waiting(self) -> Mapping[str, int]:
        """Count the rows that hold values of older keys, by collection."""
        found = {}
        async with self._store.whole() as connection:
            for target in self._targets:
                rows = sa.select(sa.func.count()).select_from(target.table)
                [row] = await self._store.fetch(rows.where(self._is_old(target)), connection)
                found[target.kind.collection] = row[0]
        return found

    async def hashed(self) -> Mapping[str, int]:
        """Count the rows whose keyed hashes are of older keys: only their values move those."""
        found = {}
        present = keyed_form(next(iter(self._keys.peppers)))
        async with self._store.whole() as connection:
            for collection in sorted(self._store.tables.kinds):
                target = self._store.target(collection)
                names = keys_fields(target.kind).intersection(
                    field.name for field in target.kind.descriptor.fields if is_hashed(field)
                )
                columns = [target.table.c[name] for name in sorted(names)]
                if columns:
                    old = sa.or_(*(_other_hash(column, present) for column in columns))
                    rows = sa.select(sa.func.count()).select_from(target.table).where(old)
                    [row] = await self._store.fetch(rows, connection)
                    found[collection] = row[0]
        return found

    async def run(self) -> AsyncIterator[Step]:
        """Seal all that older keys sealed, and tell of each batch what came of it."""
        for target in self._targets:
            after: tuple[Any, ...] = ()
            while rows := await self._next(target, after):
                key = [column.name for column in target.table.primary_key.columns]
                after = tuple(rows[-1][name] for name in key)
                sealed = broken = 0
                for tenant in sorted({row[TENANT] for row in rows}):
                    mine = [row for row in rows if row[TENANT] == tenant]
                    done = await self._seal(target, tenant, mine)
                    sealed, broken = sealed + done[0], broken + done[1]
                yield Step(target.kind.collection, sealed, broken)

    async def _next(self, target: KindTable, after: tuple[Any, ...]) -> Sequence[Mapping[str, Any]]:
        key = list(target.table.primary_key.columns)
        columns = {column.name: column for column in key}
        columns |= {name: target.table.c[name] for name in target.codec.sealed}
        statement = sa.select(*columns.values()).where(self._is_old(target))
        if after:
            statement = statement.where(sa.tuple_(*key) > sa.tuple_(*map(sa.literal, after)))
        async with self._store.whole() as connection:
            rows = await self._store.fetch(statement.order_by(*key).limit(BATCH), connection)
        return [dict(zip(columns, row, strict=True)) for row in rows]

    async def _seal(
        self, target: KindTable, tenant: str, rows: Sequence[Mapping[str, Any]]
    ) -> tuple[int, int]:
        """Give how many rows of a tenant were sealed anew, and how many cannot be opened."""
        sealed = broken = 0
        with acting_for(tenant):
            async with self._store.transaction() as connection:
                # Watchers would be told of changes that change nothing.
                await connection.execute(sa.select(sa.func.set_config(SILENT, "on", True)))
                for row in rows:
                    try:
                        values = target.codec.reseal(row)
                    except Refusal as error:
                        broken += 1
                        _LOG.error("a value of %s is broken: %s", target.kind.collection, error)
                        continue
                    same = [target.table.c[name].is_not_distinct_from(row[name]) for name in row]
                    change = self._store.update(target.kind.collection, tenant).where(*same)
                    done = await connection.execute(change.values(values))
                    sealed += done.rowcount
        return sealed, broken

    def _is_old(self, target: KindTable) -> sa.ColumnElement[bool]:
        """Condition that a row has a value that another key than the present one sealed."""
        start = beginning(self._keys.first)
        length = len(start.text)
        absent = target.codec.absent
        return sa.or_(
            *(
                sa.and_(
                    column.is_not(None),
                    # What is empty stands there as it is.
                    column != (absent[column.name] or ""),
                    sa.not_(
                        sa.and_(
                            sa.func.starts_with(column, start.text),
                            sa.func.substr(column, length + 1, 1).in_(list(start.following)),
                        )
                    ),
                )
                for column in (target.table.c[name] for name in sorted(target.codec.sealed))
            )
        )


def _other_hash(column: sa.ColumnElement[Any], present: str) -> sa.ColumnElement[bool]:
    """Condition that a keyed hash is not of the present key."""
    known: sa.ColumnElement[bool] = sa.func.starts_with(column, present)
    if present.count(":") == 1:
        # Hashes of other keys begin alike, and name their key after it.
        known = sa.and_(known, sa.not_(sa.func.starts_with(column, f"{present}pepper-")))
    return sa.and_(column.is_not(None), sa.not_(known))
