"""SQL of runs that events led to and that are old: what nothing rests on any more leaves."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.sql.change_table import TENANT
from mesh.sql.store import Store
from secmesh.inventory.v1.record_pb2 import READ_OUTCOME_ABSENT, READ_OUTCOME_READ
from secmesh.inventory.v1.sync_pb2 import Sync
from services.inventory.live.check_turn_store import CHECK_TURNS
from services.inventory.store import MANIFEST
from services.inventory.sync_store import SYNCS
from services.inventory.unit_store import UNITS

BATCH = 200
"""Runs that are looked at in one transaction."""
_WROTE_NOTHING = "progress.rows_written == 0"
_ANSWERED = (READ_OUTCOME_READ, READ_OUTCOME_ABSENT)
_UNIT = ("cloud_account_id", "region", "collection", "operation")


class OldRunStore:
    """The runs that events led to, of all tenants."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._syncs = store.target(SYNCS).table

    async def tenants(self) -> Sequence[str]:
        """Give the tenants with runs that events led to; no caller's request leads here."""
        tenant = self._syncs.c[TENANT]
        live = self._syncs.c.source == Sync.SOURCE_EVENTS
        async with self._store.whole() as connection:
            rows = await self._store.fetch(sa.select(tenant).where(live).distinct(), connection)
        return [row[0] for row in rows]

    async def forget(self, tenant: str, oldest: int) -> int:
        """Remove some runs that ended before a moment, and give how many.

        ``oldest`` is in microseconds since 1970. A run stays that a version of a record or a turn
        of a check names, and one whose reading of a collection is the newest that was answered;
        of those, too, the units leave.
        """
        async with self._store.transaction(tenant) as connection:
            told = self._old(tenant, oldest).where(self._has_units(tenant))
            done = await self._ids(connection, told)
            await self._delete(connection, tenant, UNITS, done)
            idle = self._old(tenant, oldest).where(
                self._wrote_nothing(),
                sa.not_(self._is_newest(tenant)),
                sa.not_(self._turned(tenant)),
            )
            gone = await self._ids(connection, idle)
            await self._delete(connection, tenant, MANIFEST, gone)
            if gone:
                runs = self._store.delete(SYNCS, tenant).where(self._syncs.c.id.in_(gone))
                await connection.execute(runs)
        return len(done) + len(gone)

    def _old(self, tenant: str, oldest: int) -> sa.Select[Any]:
        columns = self._syncs.c
        return (
            self._store.select(SYNCS, tenant, ("id",))
            .where(
                columns.source == Sync.SOURCE_EVENTS,
                columns.state != Sync.STATE_RUNNING,
                columns.end_time < oldest,
            )
            .order_by(columns.end_time, columns.id)
            .limit(BATCH)
            # Whoever goes on with one meanwhile keeps it.
            .with_for_update(skip_locked=True)
        )

    def _has_units(self, tenant: str) -> sa.ColumnElement[bool]:
        units = self._store.target(UNITS).table
        own = (units.c[TENANT] == tenant, units.c.sync_id == self._syncs.c.id)
        return sa.select(sa.literal(1)).select_from(units).where(*own).exists()

    def _wrote_nothing(self) -> sa.ColumnElement[bool]:
        written = self._store.condition(self._store.target(SYNCS), _WROTE_NOTHING)
        # One that never began has no counters.
        return sa.func.coalesce(written, sa.true())

    def _turned(self, tenant: str) -> sa.ColumnElement[bool]:
        turns = self._store.target(CHECK_TURNS).table
        name = sa.literal(f"tenants/{tenant}/syncs/") + self._syncs.c.id
        own = (turns.c[TENANT] == tenant, turns.c.sync == name)
        return sa.select(sa.literal(1)).select_from(turns).where(*own).exists()

    def _is_newest(self, tenant: str) -> sa.ColumnElement[bool]:
        """Tell whether no later run was answered as much of what a run read."""
        entry = self._store.target(MANIFEST).table.alias("entry")
        later = self._store.target(MANIFEST).table.alias("later")
        run = self._syncs.alias("run")
        as_much = sa.or_(
            later.c.outcome == READ_OUTCOME_READ,
            later.c.outcome == entry.c.outcome,
            entry.c.outcome.not_in(_ANSWERED),
        )
        replaced = (
            sa.select(sa.literal(1))
            .select_from(
                later.join(run, (run.c[TENANT] == later.c[TENANT]) & (run.c.id == later.c.sync_id))
            )
            .where(
                later.c[TENANT] == tenant,
                *(later.c[name] == entry.c[name] for name in _UNIT),
                run.c.start_time > self._syncs.c.start_time,
                as_much,
            )
            .correlate(entry, self._syncs)
            .exists()
        )
        return (
            sa.select(sa.literal(1))
            .select_from(entry)
            .where(
                entry.c[TENANT] == tenant,
                entry.c.sync_id == self._syncs.c.id,
                sa.not_(replaced),
            )
            .correlate(self._syncs)
            .exists()
        )

    async def _ids(self, connection: AsyncConnection, statement: sa.Select[Any]) -> Sequence[str]:
        return [row[0] for row in await self._store.fetch(statement, connection)]

    async def _delete(
        self, connection: AsyncConnection, tenant: str, collection: str, syncs: Sequence[str]
    ) -> None:
        if syncs:
            own = self._store.target(collection).table.c.sync_id.in_(syncs)
            await connection.execute(self._store.delete(collection, tenant).where(own))
