"""Records as services of this package change them: read with a lock, written with a new etag."""

from typing import Any

from google.protobuf.message import Message
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.catalogue import Catalogue
from mesh.contract.names import collection_of, tenant_of
from mesh.errors import EtagMismatch, ResourceNotFound
from mesh.identifiers import new_uuid
from mesh.records.moments import Clock, now
from mesh.records.writing import RecordWriter
from mesh.sql.rows import Rows
from mesh.sql.store import Store
from secmesh.security.v1.record_pb2 import Record
from services.security.users import Users


class RecordEditor:
    """Changes records within transactions of the caller, past the guard of RecordService."""

    def __init__(self, store: Store, catalogue: Catalogue, clock: Clock = now) -> None:
        self.clock = clock
        self.users = Users(store)
        self._store = store
        self._rows = Rows(store)
        self._writer = RecordWriter(store, catalogue.record_kinds, clock)

    async def find(self, connection: AsyncConnection, name: str, etag: str = "") -> Any:
        """Give a record, the transaction's own until its end; ResourceNotFound, EtagMismatch."""
        target = self._store.target(collection_of(name) or "")
        record: Any = await self._rows.find(connection, target, name)
        if record is None:
            raise ResourceNotFound(name)
        if etag and etag != record.etag:
            raise EtagMismatch(name)
        return record

    async def replace(self, connection: AsyncConnection, record: Any) -> Any:
        """Write a record that ``find`` gave; give it as it is read, without secrets."""
        target = self._store.target(collection_of(record.name) or "")
        moment = self._writer.stamp(target.kind, record)
        await self._rows.replace(connection, target, record, moment)
        return target.codec.message(target.codec.row(record))

    async def add(
        self, connection: AsyncConnection, tenant: str, collection: str, body: Message
    ) -> Any:
        """Add a record; ResourceExists, ReferenceNotFound."""
        target = self._store.target(collection)
        record = Record(name=f"tenants/{tenant}/{collection}/{new_uuid()}")
        getattr(record, target.kind.body_field or "").CopyFrom(body)
        moment = self._writer.stamp(target.kind, record)
        await self._rows.add(connection, target, record, moment)
        return target.codec.message(target.codec.row(record))

    async def user_of(self, connection: AsyncConnection, tenant: str, subject: str) -> str:
        """Give the name of the user that a token's subject is; empty if there is none."""
        found = await self.users.of_subject(connection, tenant, subject)
        return str(found.name) if found is not None else ""


def required_tenant(name: str) -> str:
    """Give the tenant of a name that was checked before."""
    tenant = tenant_of(name)
    if tenant is None:
        raise ResourceNotFound(name)
    return tenant
