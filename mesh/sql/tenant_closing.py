"""A tenant refused from now on: the row that says so, and the end of what others still write."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.sql.engine import SQLITE
from mesh.sql.removed_tenants import REMOVED, TENANT, RemovedTenants, lock_key

_PAUSE = 0.05
"""Seconds between looks whether somebody still writes."""
Write = Callable[[str], AbstractAsyncContextManager[AsyncConnection]]
"""Begins a transaction that may write the row of a tenant, whoever is refused by it."""


class TenantClosing:
    """Closes tenants of one database; see ``mesh.sql.removed_tenants``."""

    def __init__(
        self,
        removed: RemovedTenants,
        write: Write,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._removed = removed
        self._write = write
        self._monotonic = monotonic
        self._closed: dict[str, float] = {}

    async def close(self, tenant: str) -> None:
        """Write the row, unless it is there."""
        async with self._write(tenant) as connection:
            make = sqlite.insert if connection.dialect.name == SQLITE else postgresql.insert
            row = {TENANT: tenant, REMOVED: time.time_ns() // 1000}
            statement = make(self._removed.table).values(row).on_conflict_do_nothing()
            made = (await connection.execute(statement)).rowcount
        self._removed.forget(tenant)
        if made or tenant not in self._closed:
            # Leases of before may last so much longer, whoever wrote the row.
            self._closed[tenant] = self._monotonic() + self._removed.lease

    async def settle(self, tenant: str, seconds: float) -> bool:
        """Wait until nobody writes in a tenant that was closed; False if someone still does then.

        It waits without queuing: a writer may begin another transaction before it ends.
        """
        end = self._monotonic() + seconds
        await asyncio.sleep(max(0.0, self._closed[tenant] - self._monotonic()))
        while not await self._is_quiet(tenant):
            if self._monotonic() >= end:
                return False
            await asyncio.sleep(_PAUSE)
        return True

    async def _is_quiet(self, tenant: str) -> bool:
        async with self._write(tenant) as connection:
            if connection.dialect.name == SQLITE:
                # It has its turn, so nobody else writes.
                return True
            key = sa.func.hashtextextended(lock_key(tenant), 0)
            got = await connection.scalar(sa.select(sa.func.pg_try_advisory_xact_lock(key)))
            return got is True
