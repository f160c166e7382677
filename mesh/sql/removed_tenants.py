"""Tenants that were removed: kept by id alone, so that nothing is written for them any more.

Each process remembers for some seconds, its lease, what it read of a tenant. Whoever removes one
writes the row, waits until all leases of before are over, and then for those who write: on
PostgreSQL they hold a lock of the tenant with others, on SQLite there is one at a time. A writer
that found its lease good after it had the lock is waited for, any other reads the row. So what was
written before is there to be removed, and nothing comes after.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.errors import TenantInactive
from mesh.sql.settings import RIGHTS
from mesh.sql.types import Timestamp, id_type
from secmesh.options.v1 import kind_pb2

NAME = "removed_tenants"
"""No collection of a contract may have this name."""
TENANT, REMOVED = "tenant_id", "remove_time"
LEASE_SECONDS = 2.0
"""How long a process answers by what it read of a tenant."""
SHARED_LOCK = "pg_advisory_xact_lock_shared(hashtextextended(%s, 0))"
"""What keeps a tenant from being removed until the transaction ends, by ``lock_key``."""
STATUS = "offboarded"
"""What refusals call these tenants."""
_REMEMBERED = 10_000
"""Tenants that a process remembers at most."""


def removed_tenants_table(metadata: sa.MetaData) -> sa.Table:
    """Make the table: a row for each tenant that was removed, for good; the owner writes it."""
    return sa.Table(
        NAME,
        metadata,
        sa.Column(TENANT, id_type(), nullable=False),
        sa.Column(REMOVED, Timestamp(), nullable=False),
        sa.PrimaryKeyConstraint(TENANT),
        info={RIGHTS: kind_pb2.RIGHTS_READ},
    )


def lock_key(tenant: str) -> str:
    """Name the lock that writers of a tenant share, and that its removal waits for."""
    return f"tenants/{tenant}"


@dataclass(frozen=True, slots=True)
class _Lease:
    removed: bool
    until: float
    """On the monotonic clock."""


class RemovedTenants:
    """Knows who is served; asks the database once in a lease."""

    def __init__(
        self,
        table: sa.Table,
        lease: float = LEASE_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.table = table
        self.lease = lease
        self._monotonic = monotonic
        self._leases: dict[str, _Lease] = {}
        tenant = table.c[TENANT]
        self._asked = sa.select(tenant).where(tenant == sa.bindparam("asked"))

    def is_served(self, tenant: str) -> bool:
        """Tell whether it is known that a tenant is served; TenantInactive if it was removed."""
        found = self._leases.get(tenant)
        if found is None or self._monotonic() >= found.until:
            return False
        if found.removed:
            raise TenantInactive(f"tenants/{tenant}", STATUS)
        return True

    async def require_served(self, connection: AsyncConnection, tenant: str) -> None:
        """Ask unless it is known; TenantInactive. The connection must not have read before."""
        if self.is_served(tenant):
            return
        asked = self._monotonic()
        removed = await self.holds(connection, tenant)
        if len(self._leases) >= _REMEMBERED:
            self._leases.clear()
        self._leases[tenant] = _Lease(removed, asked + self.lease)
        if removed:
            raise TenantInactive(f"tenants/{tenant}", STATUS)

    async def holds(self, connection: AsyncConnection, tenant: str) -> bool:
        """Read whether a tenant was removed."""
        return await connection.scalar(self._asked, {"asked": tenant}) is not None

    def forget(self, tenant: str) -> None:
        """Have the next call ask."""
        self._leases.pop(tenant, None)
