"""Transactions of one database: who waits for whom, and for which tenant they work."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from mesh.errors import DependencyUnavailable, OwnerMissing
from mesh.sql import engine as dialect
from mesh.sql.removed_tenants import RemovedTenants
from mesh.sql.settings import ACTING, SERVED
from mesh.sql.tenancy import ACTING_FOR, concerns_removed, tenant_in_charge


class Transactions:
    """Begins and ends what reads and writes a database.

    A database that does not answer is DependencyUnavailable from every call.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        owner: AsyncEngine | None,
        *,
        isolated: bool,
        removed: RemovedTenants | None = None,
    ) -> None:
        """Use engines that the caller disposes of; tenants that were ``removed`` are refused."""
        self.engine = engine
        self.database: str = engine.dialect.name
        """``sqlite`` or ``postgresql``."""
        self.isolated = isolated and self.database == dialect.POSTGRESQL
        """Whether the database itself shows a transaction the rows of one tenant alone."""
        self.removed = removed
        """Who is kept from coming back; None where nobody is ever removed."""
        self._owner = owner
        # SQLite has one writer: who waits here holds no connection.
        single = self.database == dialect.SQLITE
        self._writer = asyncio.Lock() if single else contextlib.nullcontext()
        self._writing: set[asyncio.Task[Any] | None] = set()
        self._shared: dict[asyncio.Task[Any] | None, AsyncConnection] = {}

    @property
    def has_owner(self) -> bool:
        """Whether this process can work on the whole store."""
        return self._owner is not None or not self.isolated

    @property
    def owner(self) -> AsyncEngine:
        """The engine for work on the whole store; OwnerMissing if this process has none."""
        if self._owner is not None:
            return self._owner
        if self.isolated:
            raise OwnerMissing
        return self.engine

    @contextlib.asynccontextmanager
    async def transaction(self, tenant: str | None = None) -> AsyncIterator[AsyncConnection]:
        """Write in one transaction: committed at the end of the block, rolled back by errors.

        Where the database keeps tenants apart it is of the tenant in charge
        (``mesh.sql.tenancy``), ``tenant`` outside of calls: all other rows are hidden.

        TenantInactive for a tenant that was removed; one is not removed before the block's end.

        On SQLite writers take turns. On PostgreSQL they work side by side; what ``get``
        reads with the block's connection is theirs until its end, so that no write is
        lost. Readers go on. A reader inside the block must be given its connection to see
        what it wrote.
        """
        task = asyncio.current_task()
        if task in self._shared:
            async with self._part(task) as connection:
                yield connection
            return
        if task in self._writing:
            # It would wait for itself for ever.
            raise RuntimeError("a transaction cannot begin inside another")
        async with self._writer, self._turn(task):
            with dialect.translated():
                async with self.engine.connect() as connection:
                    served = self._served(tenant)
                    options = {ACTING_FOR: self._tenant(tenant), SERVED: served}
                    await connection.execution_options(**{dialect.WRITE: True, **options})
                    async with connection.begin():
                        await self._require_served(connection, served)
                        yield connection

    def _served(self, stated: str | None) -> str | None:
        """Give the tenant that must not have been removed; None where it does not matter."""
        if self.removed is None or concerns_removed():
            return None
        return tenant_in_charge(stated)

    async def _require_served(self, connection: AsyncConnection, tenant: str | None) -> None:
        if self.removed is not None and tenant is not None:
            await self.removed.require_served(connection, tenant)

    async def require_served(self, tenant: str) -> None:
        """Refuse a tenant that was removed: TenantInactive."""
        if self.removed is not None and not self.removed.is_served(tenant):
            async with self.connection(tenant):
                pass

    def _tenant(self, stated: str | None) -> str | None:
        return tenant_in_charge(stated) if self.isolated else None

    @contextlib.asynccontextmanager
    async def shared_transaction(self, tenant: str | None = None) -> AsyncIterator[AsyncConnection]:
        """Write in one transaction, of which those that the task begins inside become parts.

        What fails in a part is undone; all else is committed at the end of this block.
        """
        task = asyncio.current_task()
        async with self.transaction(tenant) as connection:
            self._shared[task] = connection
            try:
                yield connection
            finally:
                del self._shared[task]

    @contextlib.asynccontextmanager
    async def _part(self, task: "asyncio.Task[Any] | None") -> AsyncIterator[AsyncConnection]:
        connection = self._shared.pop(task)
        try:
            async with connection.begin_nested():
                yield connection
        finally:
            self._shared[task] = connection

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Keep other writers of this process waiting, where there is one writer at a time.

        For what writes the database by another way than a transaction of the store.
        """
        async with self._writer:
            yield

    @contextlib.asynccontextmanager
    async def _turn(self, task: "asyncio.Task[Any] | None") -> AsyncIterator[None]:
        self._writing.add(task)
        try:
            yield
        finally:
            self._writing.discard(task)

    @contextlib.asynccontextmanager
    async def connection(self, tenant: str | None = None) -> AsyncIterator[AsyncConnection]:
        """Read from one snapshot of the database; what is written here is lost.

        For ``tenant`` see ``transaction``.
        """
        with dialect.translated():
            async with self.engine.connect() as connection:
                if self.isolated:
                    await connection.execution_options(**{ACTING_FOR: self._tenant(tenant)})
                await self._require_served(connection, self._served(tenant))
                yield connection

    @contextlib.asynccontextmanager
    async def whole(self) -> AsyncIterator[AsyncConnection]:
        """Read the rows of all tenants from one snapshot; OwnerMissing."""
        with dialect.translated():
            async with self.owner.connect() as connection:
                yield connection

    @contextlib.asynccontextmanager
    async def upkeep(self, served: str | None = None) -> AsyncIterator[AsyncConnection]:
        """Write the rows of any tenant in one transaction, as the owner; OwnerMissing.

        Where it is done for one that must be ``served``, TenantInactive if that was removed.
        """
        with dialect.translated():
            async with self._writer, self.owner.connect() as connection:
                await connection.execution_options(**{dialect.WRITE: True, SERVED: served})
                async with connection.begin():
                    await self._require_served(connection, served)
                    yield connection

    async def ready(self) -> bool:
        """Tell whether the database answers, for a health check."""
        try:
            async with self.connection() as connection:
                await connection.execute(sa.select(1))
        except DependencyUnavailable:
            return False
        return True


async def act_as(connection: AsyncConnection, actor: str) -> None:
    """Tell the change feed of PostgreSQL who writes in this transaction, where no call does."""
    await connection.execute(sa.select(sa.func.set_config(ACTING, actor, True)))
