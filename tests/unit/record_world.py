"""A store of the record contract and the servicer over it, as tests of writes use them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from mesh.records.servicer import RecordServicer
from mesh.records.write_servicer import WriteServicer
from mesh.sealing.keyring import KeyRing
from mesh.sql.engine import open_engine
from mesh.sql.store import Store
from mesh.sql.tables import Tables, create_tables
from secmesh.records.v1 import record_requests_pb2
from secmesh.records.v1.write_requests_pb2 import DeleteRecordRequest
from tests.unit.record_contract import message, request_of, store_catalogue

ITEMS, SHELVES, TALES, ENTRIES = (
    f"tenants/acme/{each}" for each in ("items", "shelves", "tales", "entries")
)
KEYS = KeyRing({"one": b"1" * 32}, b"p" * 32)
START = 1_795_262_400_000_000
"""First moment of the clock, in microseconds since 1970."""


class Records:
    """Calls the servicers' methods; the clock moves by a second with each write."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.moment = START
        self.reads = RecordServicer(store_catalogue(), store)
        self.writes = WriteServicer(store_catalogue(), store, self.tick)

    def tick(self) -> int:
        self.moment += 1_000_000
        return self.moment

    async def get(self, name: str) -> Any:
        return await self.reads.GetRecord(record_requests_pb2.GetRecordRequest(name=name), None)

    async def names(self, parent: str, condition: str = "") -> list[str]:
        """Give the last parts of the names under a parent, in order."""
        request = record_requests_pb2.ListRecordsRequest(parent=parent, filter=condition)
        found: Any = await self.reads.ListRecords(request, None)
        return [record.name.rpartition("/")[2] for record in found.records]

    async def stored(self, name: str) -> Any:
        """Give a record as it is stored, with its secrets."""
        return await self.store.get(name.split("/")[2], name, secrets=True)

    async def create(self, parent: str, record_id: str = "", **body: Any) -> Any:
        request = request_of("CreateRecord", parent=parent, record_id=record_id)
        request.record.CopyFrom(record_of(parent, **body))
        return await self.writes.CreateRecord(request, None)

    async def update(self, record: Any, *paths: str, **fields: Any) -> Any:
        request = request_of(
            "UpdateRecord", record=record, update_mask=FieldMask(paths=paths), **fields
        )
        return await self.writes.UpdateRecord(request, None)

    async def delete(self, name: str, **fields: Any) -> None:
        await self.writes.DeleteRecord(DeleteRecordRequest(name=name, **fields), None)

    async def batch(self, writes: Sequence[Any], **fields: Any) -> Any:
        request = request_of("BatchWriteRecords", parent="tenants/acme", writes=writes, **fields)
        return await self.writes.BatchWriteRecords(request, None)


def record_of(name: str, **body: Any) -> Any:
    """Make a record of the collection in a name, with a body."""
    collection = name.split("/")[2]
    record = message("Record")
    if name.count("/") == 3:
        record.name = name
    field = store_catalogue().kinds[collection].body_field or ""
    getattr(record, field).SetInParent()
    inner = getattr(record, field)
    inner.MergeFrom(type(inner)(**body))
    return record


@asynccontextmanager
async def records_on(url: str, keys: KeyRing = KEYS) -> AsyncIterator[Records]:
    """Open a database of the contract's tables."""
    engine = open_engine(url)
    store = Store(engine, Tables(store_catalogue(), keys=keys), page_key=b"k" * 32)
    await create_tables(engine, store.tables)
    yield Records(store)
    await engine.dispose()
