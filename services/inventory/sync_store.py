"""SQL of the runs themselves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import sqlalchemy as sa

from mesh.errors import ResourceNotFound
from mesh.sql.store import Store
from secmesh.inventory.v1.sync_pb2 import Sync
from services.inventory.collect.draft import timestamp

SYNCS = "syncs"
_MOVING = ("state", "end_time", "progress", "error")
"""Columns that the process writes which executes the run."""
_ASKED = ("cancel_time",)
"""Columns that callers move meanwhile."""


class SyncStore:
    """The runs of all tenants."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._starting = asyncio.Lock()

    @asynccontextmanager
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

    async def insert(self, sync: Sync) -> None:
        """Write a new run."""
        async with self.store.transaction() as connection:
            await self.store.insert(connection, SYNCS, [sync])

    async def save(self, sync: Sync) -> None:
        """Write how a run stands, and leave what callers asked of it."""
        async with self.store.transaction() as connection:
            await connection.execute(self._update(sync, _MOVING))

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

    async def running(self, tenant: str, cloud_account_id: str = "") -> list[Sync]:
        """Give the tenant's runs, of one account or all, that are marked as running."""
        table = self.store.target(SYNCS).table
        statement = self.store.select(SYNCS, tenant).where(table.c.state == Sync.STATE_RUNNING)
        if cloud_account_id:
            statement = statement.where(table.c.cloud_account_id == cloud_account_id)
        found = await self.store.messages(SYNCS, statement)
        return [sync for sync in found if isinstance(sync, Sync)]

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
