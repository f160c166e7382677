"""SQL of the runs themselves."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.names import tenant_of
from mesh.errors import ResourceNotFound
from mesh.sql import engine as dialect
from mesh.sql.store import Store
from secmesh.inventory.v1.sync_pb2 import ManifestEntry, Sync
from secmesh.inventory.v1.sync_unit_pb2 import SyncUnit
from services.inventory.collect.draft import timestamp
from services.inventory.errors import SyncRunning
from services.inventory.store import MANIFEST
from services.inventory.unit_store import UnitStore

SYNCS = "syncs"
_OVER_APIS = (Sync.SOURCE_UNSPECIFIED, Sync.SOURCE_EVENTS)
_MOVING = ("state", "end_time", "progress", "error")
"""Columns that the process writes which executes the run."""
_ASKED = ("cancel_time",)
"""Columns that callers move meanwhile."""

Also = Callable[[AsyncConnection], Awaitable[None]]
"""Writes in a transaction."""


class _Taken(Exception):
    """Rolls a transaction back."""


class SyncStore:
    """The runs of all tenants."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._starting = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def starting(self) -> AsyncIterator[None]:
        """Let one run start at a time, so that two do not both find an account idle."""
        async with self._starting:
            yield

    async def find(self, name: str) -> Sync | None:
        """Give a run, or None."""
        try:
            return await self.get(name)
        except ResourceNotFound:
            return None

    async def get(self, name: str) -> Sync:
        """Give a run; ResourceNotFound if there is none."""
        found = await self.store.get(SYNCS, name)
        if not isinstance(found, Sync):
            raise ResourceNotFound(name)
        return found

    async def begin(
        self, sync: Sync, units: Iterable[SyncUnit], leases: UnitStore, *, leased: bool = True
    ) -> None:
        """Write a new run with its units, leased or not; SyncRunning if its account is read."""
        async with self.store.transaction() as connection:
            await self.refuse_second(connection, sync.name, sync.cloud_account_id)
            await self.store.insert(connection, SYNCS, [sync])
            await leases.insert(connection, units, leased=leased)

    async def claim(self, sync: Sync, leases: UnitStore) -> bool:
        """Take over a run; False if a process executes it.

        A run that had ended is running again. Raises SyncRunning if its account is
        being read by another run.
        """
        with contextlib.suppress(_Taken):
            async with self.store.transaction() as connection:
                # Before the leases, which whoever resets the account waits for in its turn.
                await self._take_turn(connection, sync.name, sync.cloud_account_id)
                if not await leases.claim(connection, sync.name):
                    raise _Taken
                if sync.state != Sync.STATE_RUNNING:
                    await self.refuse_second(connection, sync.name, sync.cloud_account_id)
                    again = Sync(name=sync.name, state=Sync.STATE_RUNNING)
                    again.progress.CopyFrom(sync.progress)
                    await connection.execute(self._update(again, (*_MOVING, *_ASKED)))
            return True
        return False

    async def refuse_second(
        self, connection: AsyncConnection, parent: str, cloud_account_id: str
    ) -> None:
        """Raise SyncRunning if an account is being read; no run of it begins until the commit.

        ``parent`` is the tenant's name, or one below it.
        """
        await self._take_turn(connection, parent, cloud_account_id)
        for other in await self.running(tenant_of(parent) or "", cloud_account_id, connection):
            raise SyncRunning(other.name)

    @staticmethod
    async def _take_turn(connection: AsyncConnection, parent: str, cloud_account_id: str) -> None:
        await dialect.take_turn(connection, f"{SYNCS}/{tenant_of(parent)}/{cloud_account_id}")

    async def save(self, sync: Sync, also: Also | None = None) -> None:
        """Write how a run stands that is marked as running; leave what callers asked of it.

        ``also`` writes beside it, unless the run is not marked so any more.
        """
        table = self.store.target(SYNCS).table
        saved = self._update(sync, _MOVING).where(table.c.state == Sync.STATE_RUNNING)
        async with self.store.transaction() as connection:
            if (await connection.execute(saved)).rowcount and also is not None:
                await also(connection)

    async def ask_cancel(self, name: str, when: datetime) -> None:
        """Note that a run is to end, whoever executes it."""
        asked = Sync(name=name, cancel_time=timestamp(when))
        async with self.store.transaction() as connection:
            await connection.execute(self._update(asked, _ASKED))

    def _update(self, sync: Sync, columns: tuple[str, ...]) -> sa.Update:
        target = self.store.target(SYNCS)
        row = target.codec.row(sync)
        ids = target.codec.ids(sync.name)
        return (
            self.store.update(SYNCS, row["tenant_id"])
            .where(*(target.table.c[column] == value for column, value in ids.items()))
            .values({column: row[column] for column in columns})
        )

    async def manifest(self, name: str) -> list[ManifestEntry]:
        """Give the whole manifest of a run."""
        table = self.store.target(MANIFEST).table
        own = table.c.sync_id == name.rpartition("/")[2]
        statement = self.store.select(MANIFEST, tenant_of(name) or "").where(own)
        found = await self.store.messages(MANIFEST, statement)
        return [entry for entry in found if isinstance(entry, ManifestEntry)]

    async def running(
        self,
        tenant: str,
        cloud_account_id: str = "",
        connection: AsyncConnection | None = None,
    ) -> list[Sync]:
        """Give the tenant's runs, of one account or all, that are marked as running."""
        table = self.store.target(SYNCS).table
        statement = self.store.select(SYNCS, tenant).where(table.c.state == Sync.STATE_RUNNING)
        if cloud_account_id:
            statement = statement.where(table.c.cloud_account_id == cloud_account_id)
        found = await self.store.messages(SYNCS, statement, connection=connection)
        return [sync for sync in found if isinstance(sync, Sync)]

    async def latest_read(self, tenant: str, cloud_account_id: str) -> Sync | None:
        """Give the newest run that read an account over the AWS APIs; None if none did."""
        table = self.store.target(SYNCS).table
        statement = (
            self.store.select(SYNCS, tenant)
            .where(
                table.c.cloud_account_id == cloud_account_id,
                sa.func.coalesce(table.c.source, Sync.SOURCE_UNSPECIFIED).in_(_OVER_APIS),
            )
            .order_by(table.c.start_time.desc(), table.c.id.desc())
            .limit(1)
        )
        found = await self.store.messages(SYNCS, statement)
        return next((sync for sync in found if isinstance(sync, Sync)), None)

    async def tenants_with_running(self) -> list[str]:
        """Give the tenants that have a running run.

        Start-up looks over all tenants; no caller's request leads here.
        """
        table = self.store.target(SYNCS).table
        statement = (
            sa.select(table.c.tenant_id).where(table.c.state == Sync.STATE_RUNNING).distinct()
        )
        async with self.store.connection() as connection:
            return list((await connection.execute(statement)).scalars())
