"""A database of the security service in this process, written and read for any tenant."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from mesh.embedded.postgres import Access
from mesh.identifiers import new_uuid
from mesh.records.moments import now
from mesh.records.servicer import RecordServicer
from mesh.records.writing import RecordWriter
from mesh.sealing.keyring import KeyRing
from mesh.sql.engine import open_engine
from mesh.sql.store import Store
from mesh.sql.tables import Tables
from mesh.sql.tenancy import acting_for
from secmesh.records.v1.write_requests_pb2 import DeleteRecordRequest
from secmesh.security.v1.record_pb2 import Record
from secmesh.security.v1.record_write_pb2 import CreateRecordRequest, UpdateRecordRequest
from services.security.audit.chain_store import Chain
from services.security.audit.entry import ENTRIES, POSITION
from services.security.audit.guard import AuditGuard
from services.security.audit.verification import Verdict, Verification
from services.security.guards import Guards
from tests.service.security_records import Tag, body_of
from tests.service.security_world import CATALOGUE, KINDS


@cache
def audited_tables() -> Tables:
    """Derive the tables, once in a process."""
    return Tables(CATALOGUE, isolated=True, keys=KeyRing({"one": b"1" * 32}, b"p" * 32))


@dataclass(frozen=True)
class Tenant:
    """The records of one tenant, and the chain of what became of them."""

    name: str
    store: Store

    @property
    def parent(self) -> str:
        return f"tenants/{self.name}"

    @property
    def chain(self) -> Chain:
        return Chain(self.store)

    @property
    def servicer(self) -> RecordServicer:
        return RecordServicer(CATALOGUE, self.store)

    @property
    def owner(self) -> AsyncEngine:
        return self.store.owner

    def request(self, collection: str, tag: str, **values: Any) -> CreateRecordRequest:
        """Give what creates a record with the fields that it needs, and these."""
        kind = KINDS[collection]
        body = body_of(kind, Tag(tag), {}, whole=False)
        for name, value in values.items():
            setattr(body, name, value)
        request = CreateRecordRequest(parent=f"{self.parent}/{collection}", record_id=new_uuid())
        getattr(request.record, kind.body_field or "").CopyFrom(body)
        return request

    async def create(self, collection: str, tag: str, **values: Any) -> Any:
        return await self.write("create", self.request(collection, tag, **values))

    async def update(self, record: Record) -> Any:
        return await self.write("update", UpdateRecordRequest(record=record))

    async def delete(self, record: Any) -> None:
        await self.write("delete", DeleteRecordRequest(name=record.name))

    async def write(self, verb: str, request: Any) -> Any:
        """Write in a transaction of its own."""
        writer = RecordWriter(self.store, CATALOGUE.record_kinds, now, Guards([AuditGuard()]))
        with acting_for(self.name):
            async with self.store.transaction() as connection:
                return await getattr(writer, verb)(connection, request)

    async def entries(self) -> Sequence[Any]:
        """Give the entries in the order of the chain, bodies alone."""
        with acting_for(self.name):
            page = await self.store.page(
                ENTRIES, self.parent, order_by=POSITION, page_size=1000, filter="has(entry_hash)"
            )
        records: Any = page.items
        return [record.iam_audit_log for record in records]

    async def check(self, **known: Any) -> Verdict:
        return await Verification(self.store, self.chain).check(self.name, **known)

    async def tamper(self, statement: str, **values: Any) -> int:
        """Do to the entries what only the owner of the tables can; give how many rows."""
        async with self.store.upkeep() as connection:
            # Nothing announces it either.
            await connection.exec_driver_sql("SELECT set_config('secmesh.silent', 'on', true)")
            done = await connection.execute(sa.text(statement), {"tenant": self.name, **values})
            return done.rowcount


@asynccontextmanager
async def tenant_of(access: Access, name: str) -> AsyncIterator[Tenant]:
    """Open a database as the service does, for one tenant."""
    owner, application = open_engine(access.owner), open_engine(access.application)
    yield Tenant(name, Store(application, audited_tables(), page_key=b"k" * 32, owner=owner))
    await application.dispose()
    await owner.dispose()
