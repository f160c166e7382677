"""The SQL of exceptions."""

from collections.abc import Collection
from typing import cast

import sqlalchemy as sa
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.names import tenant_of
from mesh.errors import FieldInvalid
from mesh.sql import engine as dialect
from mesh.sql.paging import Page
from mesh.sql.store import Store
from secmesh.inventory.v1.check_exception_pb2 import CheckException

EXCEPTIONS = "check_exceptions"
PATH = "checkExceptions"
"""Segment of names."""
MAX_EXCEPTIONS = 10_000
"""Exceptions of a tenant: they stay, so that what was accepted can be told."""
MAX_OPEN = 50
"""Exceptions of one check that are neither revoked nor expired: each is asked of each failure."""
_OPEN = (CheckException.STATE_PROPOSED, CheckException.STATE_APPROVED)


class ExceptionStore:
    """Keeps exceptions."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def create(self, connection: AsyncConnection, exception: CheckException) -> None:
        """Store a new exception; ResourceExists, FieldInvalid if there are too many."""
        tenant = tenant_of(exception.name) or ""
        await dialect.take_turn(connection, f"{EXCEPTIONS}/{tenant}")
        table = self.store.target(EXCEPTIONS).table
        all_of_it = self.store.select(EXCEPTIONS, tenant, ("id",))
        if await self._count(connection, all_of_it) >= MAX_EXCEPTIONS:
            raise FieldInvalid.of("parent", f"has {MAX_EXCEPTIONS} exceptions and may have no more")
        of_check = all_of_it.where(
            table.c.check_id == exception.check_id,
            table.c.state.in_(_OPEN),
            table.c.expire_time > exception.create_time.ToMicroseconds(),
        )
        if await self._count(connection, of_check) >= MAX_OPEN:
            raise FieldInvalid.of(
                "check_exception.check_id",
                f"has {MAX_OPEN} exceptions that are proposed or in force and may have no more",
            )
        await self.store.insert(connection, EXCEPTIONS, [exception])

    async def replace(self, connection: AsyncConnection, exception: CheckException) -> None:
        """Store what became of an exception."""
        await self.store.upsert(connection, EXCEPTIONS, [exception])

    async def exception(
        self, name: str, connection: AsyncConnection | None = None
    ) -> CheckException:
        """Give an exception; ResourceNotFound."""
        found = await self.store.get(EXCEPTIONS, name, connection=connection)
        return cast("CheckException", found)

    async def page(
        self,
        parent: str,
        *,
        filter: str,  # noqa: A002  # AIP-132's own name
        page_size: int,
        page_token: str,
    ) -> Page:
        """Give a page of a tenant's exceptions, by id."""
        return await self.store.page(
            EXCEPTIONS, parent, filter=filter, page_size=page_size, page_token=page_token
        )

    async def approved(
        self, tenant: str, since: Timestamp, connection: AsyncConnection
    ) -> list[CheckException]:
        """Give the approved exceptions of a tenant that expire after a moment, by id."""
        table = self.store.target(EXCEPTIONS).table
        statement = self.store.select(EXCEPTIONS, tenant).where(
            table.c.state == CheckException.STATE_APPROVED,
            table.c.expire_time > since.ToMicroseconds(),
        )
        return await self._messages(statement.order_by(table.c.id), connection)

    async def in_force(
        self, tenant: str, moment: Timestamp, connection: AsyncConnection
    ) -> list[CheckException]:
        """Give the exceptions of a tenant that were in force at a moment, by id."""
        columns, then = self.store.target(EXCEPTIONS).table.c, moment.ToMicroseconds()
        statement = self.store.select(EXCEPTIONS, tenant).where(
            columns.approve_time <= then,
            columns.expire_time > then,
            sa.or_(columns.revoke_time.is_(None), columns.revoke_time > then),
        )
        return await self._messages(statement.order_by(columns.id), connection)

    async def expired(
        self, tenant: str, by: Timestamp, connection: AsyncConnection, *, limit: int
    ) -> list[CheckException]:
        """Give the approved exceptions of a tenant that had expired, the latest first."""
        table = self.store.target(EXCEPTIONS).table
        statement = self.store.select(EXCEPTIONS, tenant).where(
            table.c.state == CheckException.STATE_APPROVED,
            table.c.expire_time <= by.ToMicroseconds(),
        )
        ordered = statement.order_by(table.c.expire_time.desc(), table.c.id).limit(limit)
        return await self._messages(ordered, connection)

    async def named(
        self, tenant: str, ids: Collection[str], connection: AsyncConnection
    ) -> list[CheckException]:
        """Give those of these exceptions that there are, by id."""
        table = self.store.target(EXCEPTIONS).table
        statement = self.store.select(EXCEPTIONS, tenant).where(table.c.id.in_(ids))
        return await self._messages(statement.order_by(table.c.id), connection)

    async def _messages(
        self, statement: "sa.Select[tuple[object, ...]]", connection: AsyncConnection
    ) -> list[CheckException]:
        found = await self.store.messages(EXCEPTIONS, statement, connection=connection)
        return cast("list[CheckException]", found)

    @staticmethod
    async def _count(
        connection: AsyncConnection, statement: "sa.Select[tuple[object, ...]]"
    ) -> int:
        counted = sa.select(sa.func.count()).select_from(statement.subquery())
        return await connection.scalar(counted) or 0
