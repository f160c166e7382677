"""The methods of a RecordService that write."""

from typing import Any

from google.protobuf import empty_pb2, message_factory
from google.protobuf.message import Message

from mesh.contract.catalogue import Catalogue
from mesh.records.batch import write_batch
from mesh.records.moments import Clock
from mesh.records.writing import Guard, RecordWriter
from mesh.server.call import find_current_call
from mesh.sql.store import Store
from secmesh.records.v1 import write_requests_pb2

WRITES = ("CreateRecord", "UpdateRecord", "DeleteRecord", "BatchWriteRecords")
"""What is served, as far as the package's own contract has it."""


class WriteServicer:
    """Answers the methods of a RecordService that write, each in one transaction.

    Etags are compared in the transaction that writes, so that no write is lost. A request
    with a ``request_id`` is done once: see ``mesh.server.interceptors.idempotency``.
    """

    # ruff: noqa: N802 - methods have the names of the contract

    def __init__(
        self, catalogue: Catalogue, store: Store, clock: Clock, guard: Guard | None = None
    ) -> None:
        """Write the record kinds of a catalogue."""
        self._catalogue = catalogue
        self._store = store
        self._writer = RecordWriter(store, catalogue.record_kinds, clock, guard)

    async def CreateRecord(self, request: Any, _context: object) -> Message:
        """Give the new record; ResourceExists, FieldInvalid, KindReadOnly, ReferenceNotFound."""
        async with self._store.transaction() as connection:
            return await self._writer.create(connection, request)

    async def UpdateRecord(self, request: Any, _context: object) -> Message:
        """Give the record as it is then; also EtagMismatch, MaskInvalid and ResourceNotFound."""
        async with self._store.transaction() as connection:
            return await self._writer.update(connection, request)

    async def DeleteRecord(
        self, request: write_requests_pb2.DeleteRecordRequest, _context: object
    ) -> empty_pb2.Empty:
        """Delete; EtagMismatch, ResourceNotFound, ResourceReferenced or KindReadOnly."""
        async with self._store.transaction() as connection:
            await self._writer.delete(connection, request)
        return empty_pb2.Empty()

    async def BatchWriteRecords(self, request: Any, _context: object) -> Message:
        """Give what became of each write; WriteRefused where all or none were asked for."""
        call = find_current_call()
        async with self._store.transaction() as connection:
            request_id = call.request_id if call is not None else ""
            written = await write_batch(self._writer, connection, request, request_id)
        path = f"/{self._catalogue.package}.RecordService/BatchWriteRecords"
        answer: Any = message_factory.GetMessageClass(
            self._catalogue.methods[path].descriptor.output_type
        )()
        for record, error in written:
            answer.results.add(record=record, error=error)
        return answer  # type: ignore[no-any-return]  # made by its descriptor
