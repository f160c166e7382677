"""SQL of whole accounts: what is stored of each, and its deletion."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.errors import ResourceNotFound
from mesh.sql.store import Store
from secmesh.inventory.v1.sync_pb2 import Sync
from services.inventory.sync_store import SYNCS, SyncStore

ACCOUNT = "cloud_account_id"


@dataclass(frozen=True)
class Runs:
    """The runs of one account."""

    count: int
    last: Sync


class AccountStore:
    """What is stored of each account of a tenant."""

    def __init__(self, syncs: SyncStore) -> None:
        self._syncs = syncs
        self.store: Store = syncs.store

    async def runs(self, tenant: str, connection: AsyncConnection | None = None) -> dict[str, Runs]:
        """Give the runs of every account by its id."""
        table = self.store.target(SYNCS).table
        account, started = table.c[ACCOUNT], table.c.start_time
        grouped = self.store.select(SYNCS, tenant).group_by(account)
        counted = grouped.with_only_columns(account, sa.func.count())
        rows = await self.store.fetch(counted, connection)
        counts: dict[str, int] = dict(map(tuple, rows))
        newest = grouped.with_only_columns(account, sa.func.max(started))
        statement = self.store.select(SYNCS, tenant).where(sa.tuple_(account, started).in_(newest))
        found = await self.store.messages(SYNCS, statement, connection=connection)
        last = {sync.cloud_account_id: sync for sync in found if isinstance(sync, Sync)}
        return {account: Runs(counts[account], sync) for account, sync in last.items()}

    async def regions(self, tenant: str, cloud_account_id: str) -> list[str]:
        """Give the regions in which an account was ever read; ResourceNotFound if never."""
        statement = self.store.select(SYNCS, tenant).where(
            self.store.target(SYNCS).table.c[ACCOUNT] == cloud_account_id
        )
        found = await self.store.messages(SYNCS, statement)
        if not found:
            raise ResourceNotFound(account_name(tenant, cloud_account_id))
        return sorted(
            {region for sync in found if isinstance(sync, Sync) for region in sync.regions}
        )

    async def reset(
        self, tenant: str, cloud_account_id: str, *, validate_only: bool
    ) -> dict[str, int]:
        """Delete an account's records and runs, all at once; give the rows by collection.

        Raises SyncRunning while it is being read, and ResourceNotFound if nothing is
        stored of it. With ``validate_only`` rows are counted and stay.
        """
        async with self.store.transaction() as connection:
            await self._syncs.refuse_second(connection, f"tenants/{tenant}", cloud_account_id)
            deleted: dict[str, int] = {}
            for collection, condition in self._owned(tenant, cloud_account_id):
                if validate_only:
                    counted = self.store.select(collection, tenant, past=True)
                    statement = counted.with_only_columns(sa.func.count()).where(condition)
                    rows = (await connection.execute(statement)).scalar_one()
                else:
                    removed = self.store.delete(collection, tenant).where(condition)
                    rows = (await connection.execute(removed)).rowcount
                if rows:
                    deleted[collection] = rows
        if not deleted:
            raise ResourceNotFound(account_name(tenant, cloud_account_id))
        return deleted

    def _owned(
        self, tenant: str, cloud_account_id: str
    ) -> Iterator[tuple[str, sa.ColumnElement[bool]]]:
        """Give which rows of which collections belong to an account, its runs last."""
        runs = self.store.target(SYNCS)
        of_account = runs.table.c[ACCOUNT] == cloud_account_id
        run_ids = self.store.select(SYNCS, tenant, ("id",)).where(of_account)
        for collection in self.store.tables:
            target = self.store.target(collection)
            columns: Any = target.table.c
            if target.kind.envelope is not None:
                yield collection, columns[ACCOUNT] == cloud_account_id
            elif target.kind.pattern.parent.text == runs.kind.pattern.text:
                yield collection, columns[target.kind.pattern.columns[1]].in_(run_ids)
        yield SYNCS, of_account


def account_name(tenant: str, cloud_account_id: str) -> str:
    """Name an account in refusals."""
    return f"tenants/{tenant}/accounts/{cloud_account_id}"
