"""An inventory service that notes what it gets, to see the gateway alone."""

import asyncio
import contextlib
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.api import httpbody_pb2
from google.protobuf import message_factory
from google.protobuf.message import Message
from google.rpc import code_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from mesh.contract.catalogue import Catalogue, Method, load_catalogue
from mesh.errors import DeadlineExceeded, Refusal, ResourceNotFound
from secmesh.inventory.v1 import iam_pb2, record_pb2, record_service_pb2, sync_pb2, sync_service_pb2

PACKAGE = "secmesh.inventory.v1"
MESSAGE_BYTES = 16 * 1024 * 1024
ARN_BYTES = 2000
ENDLESS = "/endless"
"""End of the name of a run whose events stop without an end."""
WAIT = "wait"
"""Filter of a list that takes a minute."""
LATE = "late"
"""Filter of a list that is ended before its deadline."""
LATE_SECONDS = 1.5
"""How long before it."""


@dataclass(frozen=True)
class Seen:
    """One call as it arrived."""

    method: str
    request: Any
    metadata: dict[str, Any]
    seconds: float | None
    """Until the deadline."""


@dataclass
class Journal:
    calls: list[Seen] = field(default_factory=list)

    @property
    def last(self) -> Seen:
        return self.calls[-1]


async def refuse(context: Any, refusal: Refusal) -> None:
    status = refusal.status(dict(context.invocation_metadata())["x-request-id"])
    code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
    trailers = (("grpc-status-details-bin", status.SerializeToString()),)
    await context.abort(code, status.message, trailers)


async def answer(method: Method, request: Any, context: Any) -> Message:
    """Give an answer that shows what was asked; an empty one where nothing is to be seen."""
    name = method.descriptor.name
    if name == "GetRecord":
        if request.name.endswith("/missing"):
            await refuse(context, ResourceNotFound(request.name))
        user = iam_pb2.IamUser(username="ann", mfa_enabled=False)
        return record_pb2.Record(name=request.name, iam_user=user)
    if name == "ListRecords":
        user = iam_pb2.IamUser(attached_policies=["x" * ARN_BYTES] * 4)
        records = [record_pb2.Record(iam_user=user)] * request.page_size
        return record_service_pb2.ListRecordsResponse(records=records)
    if name == "StartSync":
        return sync_pb2.Sync(name=f"{request.parent}/syncs/one", state=sync_pb2.Sync.STATE_RUNNING)
    if name == "ExportAssessment":
        plan: Message = httpbody_pb2.HttpBody(content_type="text/markdown", data=b"# Plan\n")
        return plan
    if name == "ListSyncs" and request.filter == WAIT:
        await asyncio.sleep(60)
    if name == "ListSyncs" and request.filter == LATE:
        # As services do, before gRPC's core ends the call without a reason.
        await asyncio.sleep(max(0.0, context.time_remaining() - LATE_SECONDS))
        await refuse(context, DeadlineExceeded("the call took longer than its deadline"))
    empty: Message = message_factory.GetMessageClass(method.descriptor.output_type)()
    return empty


async def events(request: Any, context: Any) -> AsyncIterator[sync_service_pb2.WatchSyncResponse]:
    """Stream three states and how it ended."""
    if request.name.endswith("/missing"):
        await refuse(context, ResourceNotFound(request.name))
    for units in range(3):
        progress = sync_pb2.SyncProgress(units_done=units)
        sync = sync_pb2.Sync(name=request.name, progress=progress)
        yield sync_service_pb2.WatchSyncResponse(sync=sync)
    if request.name.endswith(ENDLESS):
        await asyncio.sleep(60)
    ended = sync_service_pb2.WatchSyncResponse()
    ended.ended.code = code_pb2.OK
    ended.ended.message = "complete"
    yield ended


class Upstream:
    """The service on an event loop of its own thread."""

    def __init__(self) -> None:
        self.journal = Journal()
        self.address = ""
        self._catalogue = load_catalogue(PACKAGE)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: grpc.aio.Server | None = None

    def start(self, address: str) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(address), self._loop).result(10)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _start(self, address: str) -> None:
        limit = ("grpc.max_receive_message_length", MESSAGE_BYTES)
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0), limit])
        server.add_generic_rpc_handlers(tuple(_handlers(self._catalogue, self.journal)))
        servicer = health.aio.HealthServicer()
        await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        self.address = f"127.0.0.1:{server.add_insecure_port(address)}"
        await server.start()
        self._server = server

    async def _stop(self) -> None:
        if self._server is not None:
            await self._server.stop(0)


def _handlers(catalogue: Catalogue, journal: Journal) -> Iterator[grpc.GenericRpcHandler]:
    for service in catalogue.services:
        methods = {
            method.descriptor.name: _handler(method, journal)
            for method in catalogue.methods.values()
            if method.descriptor.containing_service.full_name == service
        }
        yield grpc.method_handlers_generic_handler(service, methods)


def _handler(method: Method, journal: Journal) -> "grpc.RpcMethodHandler[Any, Any]":
    def note(request: Any, context: Any) -> None:
        metadata = dict(context.invocation_metadata() or ())
        seen = Seen(method.descriptor.name, request, metadata, context.time_remaining())
        journal.calls.append(seen)

    async def unary(request: Any, context: Any) -> Message:
        note(request, context)
        return await answer(method, request, context)

    async def stream(request: Any, context: Any) -> AsyncIterator[Message]:
        note(request, context)
        if method.descriptor.name == "WatchSync":
            async for event in events(request, context):
                yield event

    async def collect(requests: AsyncIterator[Any], context: Any) -> Message:
        request = await anext(requests)
        async for more in requests:
            request.file.data += more.file.data
        note(request, context)
        return await answer(method, request, context)

    read = message_factory.GetMessageClass(method.descriptor.input_type).FromString
    if method.upload is not None:
        return grpc.stream_unary_rpc_method_handler(collect, read, _write)
    if method.descriptor.server_streaming:
        return grpc.unary_stream_rpc_method_handler(stream, read, _write)
    return grpc.unary_unary_rpc_method_handler(unary, read, _write)


def _write(message: Message) -> bytes:
    return message.SerializeToString()


@contextlib.contextmanager
def running_upstream(address: str = "127.0.0.1:0") -> Iterator[Upstream]:
    upstream = Upstream()
    upstream.start(address)
    try:
        yield upstream
    finally:
        upstream.stop()


if __name__ == "__main__":
    # As a process of its own, which a test can kill.
    with running_upstream() as serving:
        sys.stdout.write(f"{serving.address}\n")
        sys.stdout.flush()
        threading.Event().wait()
