"""RecordService, the same for every service whose package has a Record envelope."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeAlias

import grpc
from google.protobuf import message_factory
from google.protobuf.message import Message

from mesh.contract.catalogue import Catalogue, CatalogueError
from mesh.contract.names import collection_of, tenant_of
from mesh.errors import FieldInvalid, KindUnknown
from mesh.records.aggregation import answer_of, question_of
from mesh.records.expansion import Expansion
from mesh.records.ingest_servicer import IngestServicer
from mesh.records.kinds import describe_kinds
from mesh.records.mask import ReadMask
from mesh.records.moments import Clock, now, past_moment
from mesh.records.write_servicer import WRITES, WriteServicer
from mesh.records.writing import Guard
from mesh.sql.aggregate import aggregate
from mesh.sql.history import History
from mesh.sql.moments import READ_TIME
from mesh.sql.store import Store
from mesh.sql.tables import KindTable
from secmesh.records.v1 import aggregate_pb2, record_requests_pb2

_Dated: TypeAlias = (
    record_requests_pb2.GetRecordRequest
    | record_requests_pb2.ListRecordsRequest
    | aggregate_pb2.AggregateRecordsRequest
)
"""A request that may ask for the past."""


METHODS = ("GetRecord", "ListRecords", "ListRecordVersions", "AggregateRecords", "ListKinds")
"""What is served beside the writes, as far as the package's own contract has it."""


class RecordServicer:
    """Answers the methods of a RecordService from a store.

    Refusals leave as ``mesh.errors.Refusal``; the server's interceptor writes them.
    Tenant and permission were checked before a call arrives here.
    """

    def __init__(
        self, catalogue: Catalogue, store: Store, clock: Clock = now, guard: Guard | None = None
    ) -> None:
        """Serve the record kinds of a catalogue whose package has a RecordService.

        ``guard`` has a say in each write.
        """
        self._clock = clock
        self._catalogue = catalogue
        self._store = store
        self._page = _list_response(catalogue)
        self._description: record_requests_pb2.ListKindsResponse | None = None
        self._writes = WriteServicer(catalogue, store, clock, guard)
        self._ingest = IngestServicer(catalogue, store, clock, guard)

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register the methods under the package's own RecordService."""
        service = f"{self._catalogue.package}.RecordService"
        served: dict[str, Callable[[Any, Any], Any]] = {
            name: getattr(self, name) for name in METHODS
        }
        served |= {name: getattr(self._writes, name) for name in WRITES}
        served["IngestRecords"] = self._ingest.IngestRecords
        handlers = {
            name: self._handler(path, behaviour)
            for name, behaviour in served.items()
            if (path := f"/{service}/{name}") in self._catalogue.methods
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))

    def _handler(
        self, path: str, behaviour: Callable[[Any, Any], Any]
    ) -> "grpc.RpcMethodHandler[Message, Message]":
        method = self._catalogue.methods[path].descriptor
        request = message_factory.GetMessageClass(method.input_type)
        response = message_factory.GetMessageClass(method.output_type)
        shape = (
            grpc.stream_stream_rpc_method_handler
            if method.client_streaming
            else grpc.unary_unary_rpc_method_handler
        )
        return shape(
            behaviour,
            request_deserializer=request.FromString,
            response_serializer=response.SerializeToString,
        )

    async def GetRecord(  # noqa: N802  # the contract's name
        self, request: record_requests_pb2.GetRecordRequest, _context: object
    ) -> Message:
        """Give one record; ResourceNotFound, KindUnknown, MaskInvalid or FieldInvalid."""
        target = self._target(request.name)
        mask = ReadMask(target, request.read_mask.paths)
        found = await self._store.get(
            target.kind.collection,
            request.name,
            columns=mask.columns,
            read_time=self._read_time(request),
        )
        return mask.apply(found)

    async def ListRecords(  # noqa: N802  # the contract's name
        self, request: record_requests_pb2.ListRecordsRequest, _context: object
    ) -> Message:
        """Give one page of records; see ``Store.page`` and ``Expansion`` for what is refused."""
        target = self._target(request.parent)
        mask = ReadMask(target, request.read_mask.paths)
        read_time = self._read_time(request)
        if request.expand and read_time is not None:
            raise FieldInvalid.of("expand", "shows records as they are, not as they were")
        expansion = Expansion(self._store, target, request) if request.expand else None
        async with self._store.connection() as connection:
            page = await self._store.page(
                target.kind.collection,
                request.parent,
                filter=request.filter,
                order_by=request.order_by,
                page_size=request.page_size,
                page_token=request.page_token,
                columns=mask.columns,
                read_time=read_time,
                connection=connection,
            )
            expanded = await expansion.of(page.items, connection) if expansion else None
        records = [mask.apply(record) for record in page.items]
        answer: Any = self._page(records=records, next_page_token=page.next_page_token)
        for name, record in (expanded or {}).items():
            answer.expanded[name].CopyFrom(record)
        return answer  # type: ignore[no-any-return]  # made by its descriptor

    async def ListRecordVersions(  # noqa: N802  # the contract's name
        self, request: record_requests_pb2.ListRecordVersionsRequest, _context: object
    ) -> Message:
        """Give one page of a record's versions; ResourceNotFound if it never was.

        Raises FieldInvalid for a kind without history, FilterInvalid, MaskInvalid and
        PageTokenInvalid.
        """
        target = self._target(request.parent)
        mask = ReadMask(target, request.read_mask.paths)
        page = await History(self._store).page(
            target.kind.collection,
            request.parent,
            filter=request.filter,
            page_size=request.page_size,
            page_token=request.page_token,
            columns=mask.columns,
        )
        records = [mask.apply(record) for record in page.items]
        answer = self._answer("ListRecordVersions")
        return answer(records=records, next_page_token=page.next_page_token)

    async def AggregateRecords(  # noqa: N802  # the contract's name
        self, request: aggregate_pb2.AggregateRecordsRequest, _context: object
    ) -> aggregate_pb2.AggregateRecordsResponse:
        """Give the groups, complete; FieldInvalid or FilterInvalid."""
        target = self._target(request.parent)
        question = question_of(request, target, self._read_time(request))
        tenant = tenant_of(request.parent) or ""
        groups = await aggregate(self._store, target.kind.collection, tenant, question)
        return answer_of(question, groups)

    async def ListKinds(  # noqa: N802  # the contract's name
        self, _request: record_requests_pb2.ListKindsRequest, _context: object
    ) -> record_requests_pb2.ListKindsResponse:
        """Give the catalogue, complete in one answer."""
        if self._description is None:
            # Only who is asked pays for the comments of the contracts.
            self._description = await asyncio.to_thread(describe_kinds, self._catalogue)
        return self._description

    def _read_time(self, request: _Dated) -> int | None:
        if not request.HasField("read_time"):
            return None
        return past_moment(request.read_time, READ_TIME, self._clock)

    def _answer(self, method: str) -> type[Message]:
        """Give the message that the package's own contract answers a method with."""
        path = f"/{self._catalogue.package}.RecordService/{method}"
        return message_factory.GetMessageClass(self._catalogue.methods[path].descriptor.output_type)

    def _target(self, name: str) -> KindTable:
        """Find the kind of a record's name or collection; other resources are no records."""
        collection = collection_of(name) or ""
        if collection not in self._catalogue.record_kinds:
            raise KindUnknown(collection)
        return self._store.target(collection)


def _list_response(catalogue: Catalogue) -> type[Message]:
    """Find the message that the package's own contract answers ListRecords with."""
    path = f"/{catalogue.package}.RecordService/ListRecords"
    method = catalogue.methods.get(path)
    if method is None:
        raise CatalogueError(catalogue.package, "has no RecordService that lists records")
    return message_factory.GetMessageClass(method.descriptor.output_type)
