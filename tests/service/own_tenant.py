"""A tenant of a shared database, worked on in the process of the test, with a clock of its own."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from google.protobuf.json_format import ParseDict

from mesh.embedded.postgres import Access
from mesh.identifiers import new_uuid
from mesh.identity.caller import Caller
from mesh.records.moments import now
from mesh.sql.engine import open_engine
from mesh.sql.store import Store
from mesh.sql.tenancy import acting_for
from secmesh.security.v1.record_pb2 import Record
from services.security.editing import RecordEditor
from tests.derived import tables_of
from tests.service.security_world import CATALOGUE

SECONDS = 20.0
"""Longest that a test waits for what other transactions hold back."""
KINDS = CATALOGUE.record_kinds


class OwnTenant:
    """Records of a tenant that no process serves."""

    def __init__(self, store: Store) -> None:
        self.tenant = f"t{new_uuid()}"
        self.later = 0
        """How far the clock of all is ahead, in microseconds."""
        self.store = store
        self.editor = RecordEditor(store, CATALOGUE, self.clock)

    def clock(self) -> int:
        return now() + self.later

    def caller(self, subject: str = "ann", *permissions: str) -> Caller:
        """Give somebody who may do all, or what is named."""
        return Caller(subject, self.tenant, frozenset(permissions or {"security.*.*"}))

    async def create(self, collection: str, **values: Any) -> str:
        body = getattr(Record(), KINDS[collection].body_field or "")
        ParseDict(values, body)
        with acting_for(self.tenant):
            async with self.store.transaction() as connection:
                made = await self.editor.add(connection, self.tenant, collection, body)
        return str(made.name)

    async def admin(self) -> str:
        return await self.create(
            "users",
            username="kim",
            email="kim@acme.example",
            role="USER_ROLE_ADMIN",
            status="USER_STATUS_ACTIVE",
            identity_provider="IDENTITY_PROVIDER_LOCAL",
        )

    async def set(self, name: str, **values: Any) -> None:
        with acting_for(self.tenant):
            async with self.store.transaction() as connection:
                record = await self.editor.find(connection, name)
                ParseDict(values, getattr(record, record.WhichOneof("body")))
                await self.editor.replace(connection, record)

    async def found(self, collection: str) -> dict[str, Any]:
        """Give the bodies of records by name."""
        with acting_for(self.tenant):
            found: Any = await self.store.messages(
                collection, self.store.select(collection, self.tenant)
            )
        return {each.name: getattr(each, each.WhichOneof("body")) for each in found}


@asynccontextmanager
async def whole_store(access: Access) -> AsyncIterator[Store]:
    """Open a database as a process that looks after it has it."""
    owner, application = open_engine(access.owner), open_engine(access.application)
    try:
        tables = tables_of(CATALOGUE, isolated=True)
        yield Store(application, tables, page_key=b"k" * 32, owner=owner)
    finally:
        await application.dispose()
        await owner.dispose()


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what other transactions hold back."""
    deadline = time.monotonic() + SECONDS
    while not await holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
