"""IngestRecords: a stream of records in, a stream of what became of them out."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.rpc import code_pb2, status_pb2

from mesh.contract.catalogue import Catalogue
from mesh.contract.names import collection_of, tenant_of
from mesh.errors import FieldInvalid, PermissionMissing, Refusal
from mesh.identifiers import MAX_SEQUENCE, new_uuid
from mesh.records.ingest import ChunkWriter
from mesh.records.ingest_item import (
    NEW,
    UNCHANGED,
    UPDATED,
    Item,
    identify,
)
from mesh.records.ingest_keys import Keys
from mesh.records.ingest_new import NewItems
from mesh.records.ingest_stream import Inbox
from mesh.records.moments import Clock
from mesh.records.writing import Guard, RecordWriter
from mesh.server.call import current_call
from mesh.sql.store import Store
from mesh.sql.tables import KindTable
from secmesh.records.v1 import ingest_pb2

_VERBS = ("create", "update")
"""What a caller must be allowed to do with each kind of a stream."""


class IngestServicer:
    """Answers IngestRecords of a RecordService; see docs/RECORDS.md for its promises."""

    def __init__(
        self, catalogue: Catalogue, store: Store, clock: Clock, guard: Guard | None = None
    ) -> None:
        """Write the record kinds of a catalogue."""
        self._catalogue = catalogue
        self._store = store
        self._writer = RecordWriter(store, catalogue.record_kinds, clock, guard)

    async def IngestRecords(  # noqa: N802  # the contract's name
        self, requests: AsyncIterator[Any], _context: object
    ) -> AsyncIterator[ingest_pb2.IngestRecordsResponse]:
        """Give what became of each record, in their order, as they are stored.

        Records are refused one by one; the stream ends at a kind that the caller may not or
        nobody can write (PermissionMissing, KindReadOnly, KindUnknown) and at what is no
        stream (FieldInvalid): what was answered before stays.
        """
        first = await anext(aiter(requests), None)
        if first is None or not first.parent:
            raise FieldInvalid.of("parent", "must be set in the first message", "REQUIRED")
        stream = _Stream(first, self._catalogue, self._writer, self._store)
        async with Inbox(_all(first, requests), stream.admit).reading() as chunks:
            async for items in chunks:
                yield await stream.write(items)
        yield ingest_pb2.IngestRecordsResponse(
            stream_id=stream.id, ended=status_pb2.Status(code=code_pb2.OK)
        )


async def _all(first: Any, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    yield first
    async for request in requests:
        for field in ("parent", "validate_only", "stream_id"):
            value = getattr(request, field)
            if value and value != getattr(first, field):
                raise FieldInvalid.of(field, "is another than in the first message", "NOT_ALLOWED")
        yield request


class _Stream:
    """What holds for all of one stream."""

    def __init__(
        self, first: Any, catalogue: Catalogue, writer: RecordWriter, store: Store
    ) -> None:
        """Refuse a stream of a collection that the caller may not or nobody can write."""
        self.id: str = first.stream_id or new_uuid()
        self._collections = {
            kind.body_field: collection for collection, kind in catalogue.record_kinds.items()
        }
        self._writer = writer
        self._keep = not first.validate_only
        self._tenant = tenant_of(first.parent) or ""
        self._chunks = ChunkWriter(store, writer, self._tenant, self.id)
        self._targets: dict[str, tuple[KindTable, Keys]] = {}
        self._new: dict[FieldDescriptor, NewItems] = {}
        self._last = 0
        self._mostly_new = self._chunks.expects_new = True
        """Whether it is worth while to prepare records as new before they are looked for."""
        self._only = collection_of(first.parent) or ""
        if self._only:
            self._target(self._only)

    async def write(self, items: Sequence[Item]) -> ingest_pb2.IngestRecordsResponse:
        """Decide items, and tell what became of them."""
        await self._chunks.write(items, keep=self._keep)
        answer = ingest_pb2.IngestRecordsResponse(
            durable_sequence=items[-1].sequence if self._keep else 0, stream_id=self.id
        )
        for item in items:
            item.tell(answer, durable=self._keep)
        outcomes = Counter([item.outcome for item in items])
        known = outcomes[UPDATED] + outcomes[UNCHANGED]
        self._mostly_new = outcomes[NEW] > known
        self._chunks.expects_new = outcomes[NEW] == len(items)
        return answer

    def admit(self, each: Any) -> Item:
        """Take a record into the stream, and prepare it while others are written.

        Raises what ends the stream.
        """
        sequence, record = each.sequence, each.record
        if not self._last < sequence < MAX_SEQUENCE:
            problem = f"must lie above {self._last} and below {MAX_SEQUENCE}"
            raise FieldInvalid.of("items.sequence", problem, "SEQUENCE")
        self._last = sequence
        if self._mostly_new and (made := self._new_item(sequence, record)) is not None:
            return made
        target, keys = self._target(self._only or self._collection(record))
        item = Item(sequence, record, target)
        try:
            identify(item, keys, self._tenant)
        except Refusal as refused:
            item.reject(refused)
        else:
            if self._mostly_new:
                self._chunks.prepare(item)
        return item

    def _new_item(self, sequence: int, record: Any) -> Item | None:
        """Take a record for new that says nothing but its body, as one of its kind did before."""
        told = record.ListFields()
        if len(told) != 1:
            return None
        [(field, body)] = told
        made = self._new.get(field)
        return None if made is None else made.item(sequence, record, body)

    def _collection(self, record: Any) -> str:
        """Tell a record's collection by its name, else by its body; KindUnknown."""
        if record.name and (named := collection_of(record.name)):
            return named
        return self._collections.get(record.WhichOneof("body"), "")

    def _target(self, collection: str) -> tuple[KindTable, Keys]:
        """Give the table of a collection; refuse one that is not the caller's to write."""
        known = self._targets.get(collection)
        if known is None:
            target = self._writer.writable(f"tenants/{self._tenant}/{collection}")
            for verb in _VERBS:
                needed = target.kind.permission(verb)
                if not current_call().caller.permits(needed):
                    raise PermissionMissing(needed)
            known = self._targets[collection] = (target, Keys(target.kind, self._writer.hashed))
            self._make_new(*known)
        return known

    def _make_new(self, target: KindTable, keys: Keys) -> None:
        """Let records of a collection that may be written be made as new ones are."""
        made = NewItems(self._writer, target, keys, self._tenant, self.id)
        if made.applies:
            self._new[target.kind.message.fields_by_name[target.kind.body_field]] = made
