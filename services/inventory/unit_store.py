"""SQL of leases and checkpoints: who executes a run, and which of its units ended."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.names import tenant_of
from mesh.sql.store import Store
from mesh.sql.tables import Tables
from secmesh.inventory.v1.sync_unit_pb2 import SyncUnit
from services.inventory.collect.draft import timestamp

UNITS = "sync_units"
_ENDING = ("state", "owner", "lease_expire_time", "end_time", "whole", "unlisted", "progress")
_LEASE = ("owner", "lease_expire_time")


class LeaseLost(Exception):
    """Another process took a run over; nothing more may be written for it here."""


class UnitStore:
    """The units of runs, leased in the name of one process.

    The unfinished units of a run are leased together, since they hand each other
    what they read.
    """

    def __init__(self, store: Store, owner: str, lease: timedelta) -> None:
        self.store = store
        self.owner = owner
        self.lease = lease
        self._table = store.target(UNITS).table

    async def of(self, sync: str, connection: AsyncConnection | None = None) -> list[SyncUnit]:
        """Give the units of a run, in the order of collections and regions."""
        statement = (
            self.store.select(UNITS, tenant_of(sync) or "")
            .where(*self._under(sync))
            .order_by(self._table.c.collection, self._table.c.region)
        )
        found = await self.store.messages(UNITS, statement, connection=connection)
        return [unit for unit in found if isinstance(unit, SyncUnit)]

    async def insert(
        self, connection: AsyncConnection, units: Iterable[SyncUnit], *, leased: bool
    ) -> None:
        """Write the units of a new run, leased by this process or free for whoever comes first."""
        expires = self._expiry()
        written = list(units)
        for unit in written if leased else ():
            unit.owner = self.owner
            unit.lease_expire_time.CopyFrom(expires)
        await self.store.insert(connection, UNITS, written)

    async def claim(self, connection: AsyncConnection, sync: str) -> bool:
        """Lease all unfinished units of a run, unless another process's lease on one is alive.

        Whoever calls it does not execute the run: leases of its own are what a run left that
        met no store to give them back to. If it gives False, the caller rolls back.
        """
        expires = self._table.c.lease_expire_time
        free = (
            (self._table.c.owner == self.owner)
            | expires.is_(None)
            | (expires <= timestamp(datetime.now(UTC)).ToMicroseconds())
        )
        pending = sum(
            unit.state == SyncUnit.STATE_PENDING for unit in await self.of(sync, connection)
        )
        leased = self._pending(sync).where(free).values(self._lease(sync))
        return (await connection.execute(leased)).rowcount == pending

    async def renew(self, sync: str) -> bool:
        """Put off the end of the leases; False if none is held any more."""
        renewed = self._mine(sync).values(self._lease(sync))
        async with self.store.transaction() as connection:
            return (await connection.execute(renewed)).rowcount > 0

    async def release(self, sync: str) -> None:
        """Give back the leases, so that any process may go on at once."""
        nobody = SyncUnit(name=f"{sync}/units/any")
        released = self._mine(sync).values(self._values(nobody, _LEASE))
        async with self.store.transaction() as connection:
            await connection.execute(released)

    async def end(self, connection: AsyncConnection, unit: SyncUnit) -> None:
        """Write a checkpoint beside the unit's rows; LeaseLost if the lease is not held."""
        codec = self.store.target(UNITS).codec
        own = [self._table.c[column] == value for column, value in codec.ids(unit.name).items()]
        sync = unit.name.rpartition("/units/")[0]
        ended = self._mine(sync).where(*own).values(self._values(unit, _ENDING))
        if (await connection.execute(ended)).rowcount != 1:
            raise LeaseLost(sync)

    def _expiry(self) -> Timestamp:
        return timestamp(datetime.now(UTC) + self.lease)

    def _lease(self, sync: str) -> dict[str, Any]:
        # The codec wants a whole name, though only the lease is written.
        mine = SyncUnit(
            name=f"{sync}/units/any", owner=self.owner, lease_expire_time=self._expiry()
        )
        return self._values(mine, _LEASE)

    def _values(self, unit: SyncUnit, columns: tuple[str, ...]) -> dict[str, Any]:
        row = self.store.target(UNITS).codec.row(unit)
        return {column: row[column] for column in columns}

    def _pending(self, sync: str) -> sa.Update:
        return self.store.update(UNITS, tenant_of(sync) or "").where(
            *self._under(sync), self._table.c.state == SyncUnit.STATE_PENDING
        )

    def _mine(self, sync: str) -> sa.Update:
        return self._pending(sync).where(self._table.c.owner == self.owner)

    def _under(self, sync: str) -> list[sa.ColumnElement[bool]]:
        pattern = self.store.target(UNITS).kind.pattern
        ids = pattern.parent.parse(sync) or ("", "")
        return [
            self._table.c[column] == value
            for column, value in zip(pattern.columns, ids, strict=False)
        ]


async def live_lease(connection: AsyncConnection, tables: Tables) -> str:
    """Give a run that some process reads now, of whichever tenant; empty if none is read.

    Who moves the whole store asks it; no caller's request leads here.
    """
    table = tables[UNITS].table
    now = timestamp(datetime.now(UTC)).ToMicroseconds()
    alive = (table.c.state == SyncUnit.STATE_PENDING, table.c.lease_expire_time > now)
    chosen = sa.select(table.c.tenant_id, table.c.sync_id).where(*alive).limit(1)
    found = (await connection.execute(chosen)).first()
    return f"tenants/{found.tenant_id}/syncs/{found.sync_id}" if found else ""
