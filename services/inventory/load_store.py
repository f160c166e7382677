"""SQL of records that come from a file."""

import contextlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.names import tenant_of
from mesh.sql.store import Store
from secmesh.inventory.v1.record_pb2 import Record
from secmesh.inventory.v1.sync_pb2 import Sync
from services.inventory.collect.draft import timestamp
from services.inventory.loading import Known, Loaded, settle_loaded
from services.inventory.sync_store import SYNCS, SyncStore

_CHUNK = 500
"""Ids of one IN list; SQLite takes 32,766 parameters."""


class _Undo(Exception):
    """Rolls back what was only tried."""


class LoadStore:
    """Writes what a file changes, in one transaction."""

    def __init__(self, syncs: SyncStore) -> None:
        self._syncs = syncs
        self._store: Store = syncs.store

    async def load(
        self, sync: Sync, records: Mapping[str, list[Record]], *, validate_only: bool
    ) -> dict[str, Loaded]:
        """Write records by collection, with a run if anything is new; SyncRunning."""
        total: dict[str, Loaded] = {}
        with contextlib.suppress(_Undo):
            async with self._store.transaction() as connection:
                await self._load(connection, sync, records, total)
                if validate_only:
                    raise _Undo
        return total

    async def _load(
        self,
        connection: AsyncConnection,
        sync: Sync,
        records: Mapping[str, list[Record]],
        total: dict[str, Loaded],
    ) -> None:
        tenant, now = tenant_of(sync.name) or "", datetime.now(UTC)
        await self._syncs.refuse_second(connection, sync.name, sync.cloud_account_id)
        for collection, loaded in records.items():
            known = await self._known(connection, tenant, collection, loaded)
            changes = settle_loaded(loaded, known, sync.name, now)
            if changes.closed:
                closed = [{"closed": each, "at": when} for each, when in changes.closed.items()]
                await connection.execute(self._closing(tenant, collection), closed)
            await self._store.insert(connection, collection, changes.opened)
            total[collection] = changes
        if opened := sum(len(each.opened) for each in total.values()):
            sync.end_time.CopyFrom(timestamp(datetime.now(UTC)))
            sync.progress.resources = sum(map(len, records.values()))
            sync.progress.rows_written = opened
            sync.progress.rows_unchanged = sum(each.unchanged for each in total.values())
            await self._store.insert(connection, SYNCS, [sync])

    def _closing(self, tenant: str, collection: str) -> sa.Update:
        table = self._store.target(collection).table
        return (
            self._store.update(collection, tenant)
            .where(table.c.id == sa.bindparam("closed"))
            .values(valid_to=sa.bindparam("at"))
        )

    async def _known(
        self,
        connection: AsyncConnection,
        tenant: str,
        collection: str,
        records: Sequence[Record],
    ) -> dict[str, Known]:
        table = self._store.target(collection).table
        ids = [record.name.rpartition("/")[2] for record in records]
        known: dict[str, Known] = {}
        for start in range(0, len(ids), _CHUNK):
            chosen = table.c.id.in_(ids[start : start + _CHUNK])
            past = self._store.select(collection, tenant, past=True).where(chosen)
            grouped = past.with_only_columns(
                table.c.id,
                sa.func.max(table.c.valid_to).label("ended"),
                sa.func.min(table.c.create_time).label("created"),
            ).group_by(table.c.id)
            for row in await self._store.fetch(grouped, connection):
                known[row.id] = Known(None, row.ended or 0, row.created or 0)
            current = self._store.select(collection, tenant).where(chosen)
            for record in await self._store.messages(collection, current, connection=connection):
                if isinstance(record, Record):
                    known[record.name.rpartition("/")[2]].current = record
        return known
