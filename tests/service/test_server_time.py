"""Deadlines, cancellation and token expiry."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from mesh.client import CallRefused, open_channel
from mesh.contract.catalogue import load_catalogue
from mesh.server.call import current_call, find_current_call
from secmesh.inventory.v1 import (
    record_pb2,
    record_service_pb2_grpc,
    sync_pb2,
    sync_service_pb2,
    sync_service_pb2_grpc,
)
from secmesh.records.v1 import record_requests_pb2
from tests.service.server_fixtures import PACKAGE, RECORD, SYNC, Running, running, until

GET = record_requests_pb2.GetRecordRequest(name=RECORD)
WATCH = sync_service_pb2.WatchSyncRequest(name=SYNC)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as started:
        yield started


@pytest.fixture
async def channel(server: Running) -> AsyncIterator[grpc.aio.Channel]:
    async with open_channel(server.address, package=PACKAGE, token=server.token()) as opened:
        yield opened


class Sleeper:
    """A handler that hangs and notes how it was ended."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.ended: list[str] = []

    async def unary(self, _request: Any, _context: Any) -> Any:
        self.started.set()
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise
        finally:
            self.ended.append("finally")

    async def stream(self, _request: Any, _context: Any) -> AsyncIterator[Any]:
        yield sync_service_pb2.WatchSyncResponse(sync=sync_pb2.Sync(name=SYNC))
        await self.unary(None, None)


async def test_the_methods_limit_ends_a_call_without_a_deadline(tmp_path: Path) -> None:
    catalogue = load_catalogue(PACKAGE)
    limit = timedelta(seconds=1)
    methods = {path: replace(each, timeout=limit) for path, each in catalogue.methods.items()}
    sleeper = Sleeper()
    async with running(tmp_path, catalogue=replace(catalogue, methods=methods)) as server:
        server.records.get = sleeper.unary
        server.syncs.watch = sleeper.stream
        async with open_channel(server.address, package=PACKAGE, token=server.token()) as channel:
            events = aiter(sync_service_pb2_grpc.SyncServiceStub(channel).WatchSync(WATCH))
            records = record_service_pb2_grpc.RecordServiceStub(channel)
            unary = asyncio.ensure_future(records.GetRecord(GET))
            assert (await anext(events)).sync.name == SYNC
            ended = await asyncio.gather(unary, anext(events), return_exceptions=True)
    for caught in ended:
        assert isinstance(caught, CallRefused)
        assert caught.code == grpc.StatusCode.DEADLINE_EXCEEDED
        assert caught.reason == "DEADLINE_EXCEEDED"
    assert sleeper.ended == ["cancelled", "finally"] * 2


async def test_a_timeout_of_the_handlers_own_is_not_the_deadline(
    server: Running, channel: grpc.aio.Channel
) -> None:
    async def own(_request: Any, _context: Any) -> Any:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(30)

    server.records.get = own
    with pytest.raises(CallRefused) as caught:
        await record_service_pb2_grpc.RecordServiceStub(channel).GetRecord(GET)
    assert caught.value.reason == "INTERNAL"


async def test_the_callers_deadline_is_the_calls(
    server: Running, channel: grpc.aio.Channel
) -> None:
    left: list[float] = []

    async def look(_request: Any, _context: Any) -> Any:
        left.append(current_call().remaining)
        return record_pb2.Record()

    server.records.get = look
    stub = record_service_pb2_grpc.RecordServiceStub(channel)
    await stub.GetRecord(GET, timeout=20)
    await stub.GetRecord(GET, timeout=3600)
    assert 0 < left[0] <= 20
    limit = load_catalogue(PACKAGE).methods[f"/{PACKAGE}.RecordService/GetRecord"].timeout
    assert 20 < left[1] <= limit.total_seconds()


@pytest.mark.parametrize("how", ["cancel", "deadline"])
@pytest.mark.parametrize("shape", ["unary", "stream"])
async def test_the_end_of_a_call_reaches_its_handler(
    server: Running, channel: grpc.aio.Channel, how: str, shape: str
) -> None:
    sleeper = Sleeper()
    server.records.get = sleeper.unary
    server.syncs.watch = sleeper.stream
    timeout = 1 if how == "deadline" else 20
    call: Any
    if shape == "unary":
        call = record_service_pb2_grpc.RecordServiceStub(channel).GetRecord(GET, timeout=timeout)
        waiting = asyncio.ensure_future(call)
    else:
        call = sync_service_pb2_grpc.SyncServiceStub(channel).WatchSync(WATCH, timeout=timeout)
        events = aiter(call)
        await anext(events)
        waiting = asyncio.ensure_future(anext(events))
    await asyncio.wait_for(sleeper.started.wait(), 60)
    if how == "cancel":
        call.cancel()
    results = await asyncio.gather(waiting, return_exceptions=True)
    await until(lambda: sleeper.ended == ["cancelled", "finally"])
    if how == "cancel":
        assert isinstance(results[0], asyncio.CancelledError)
    else:
        assert isinstance(results[0], CallRefused)
        assert results[0].code == grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_handler_that_swallows_its_cancellation_ends_as_cancelled(
    server: Running, channel: grpc.aio.Channel, caplog: pytest.LogCaptureFixture
) -> None:
    """gRPC leaks such a call (grpc#43360) unless CancelledError is raised after all."""
    swallowed = asyncio.Event()

    async def swallow(_request: Any, _context: Any) -> AsyncIterator[Any]:
        try:
            yield sync_service_pb2.WatchSyncResponse(sync=sync_pb2.Sync(name=SYNC))
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            swallowed.set()

    server.syncs.watch = swallow
    caplog.set_level("INFO", "mesh.server.call")
    call = sync_service_pb2_grpc.SyncServiceStub(channel).WatchSync(WATCH)
    events = aiter(call)
    await anext(events)
    call.cancel()
    await asyncio.wait_for(swallowed.wait(), 60)
    await until(lambda: bool(caplog.records))
    assert [record.fields["code"] for record in caplog.records] == ["CANCELLED"]  # type: ignore[attr-defined] # our extra


async def test_a_handler_that_fails_while_it_is_cancelled_harms_nobody(
    server: Running, channel: grpc.aio.Channel
) -> None:
    failed = asyncio.Event()

    async def fail_in_cleanup(_request: Any, _context: Any) -> Any:
        try:
            await asyncio.sleep(30)
        finally:
            failed.set()
            raise ValueError("secret detail")

    server.records.get = fail_in_cleanup
    stub = record_service_pb2_grpc.RecordServiceStub(channel)
    with pytest.raises(CallRefused) as caught:
        await stub.GetRecord(GET, timeout=1)
    assert caught.value.code == grpc.StatusCode.DEADLINE_EXCEEDED
    await asyncio.wait_for(failed.wait(), 60)
    server.records.get = type(server.records)().get
    assert (await stub.GetRecord(GET)).name == RECORD


@pytest.mark.parametrize("shape", ["unary", "stream"])
async def test_what_handlers_use_is_closed_after_they_rolled_back(
    tmp_path: Path, shape: str
) -> None:
    happened: list[str] = []
    started = asyncio.Event()

    async def roll_back(_request: Any, _context: Any) -> Any:
        started.set()
        try:
            await asyncio.sleep(300)
        finally:
            for _ in range(20):
                await asyncio.sleep(0.01)
            happened.append("rolled back")

    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        yield sync_service_pb2.WatchSyncResponse(sync=sync_pb2.Sync(name=SYNC))
        await roll_back(request, context)

    async def dispose() -> None:
        happened.append("disposed")

    async with running(tmp_path, dispose=dispose) as server:
        server.records.get, server.syncs.watch = roll_back, stream
        async with open_channel(server.address, package=PACKAGE, token=server.token()) as channel:
            if shape == "unary":
                call: Any = record_service_pb2_grpc.RecordServiceStub(channel).GetRecord(GET)
            else:
                call = sync_service_pb2_grpc.SyncServiceStub(channel).WatchSync(WATCH)
            await asyncio.wait_for(started.wait(), 60)
            await server.server.stop()
            assert happened == ["rolled back", "disposed"]
            call.cancel()


async def test_a_stream_ends_with_its_callers_token(server: Running) -> None:
    sleeper = Sleeper()
    server.syncs.watch = sleeper.stream
    # The clock of its end is the machine's: long enough for the call to begin on a busy one.
    token = server.token(lifetime=timedelta(seconds=12))
    async with open_channel(server.address, package=PACKAGE, token=token) as channel:
        events = aiter(sync_service_pb2_grpc.SyncServiceStub(channel).WatchSync(WATCH))
        await anext(events)
        with pytest.raises(CallRefused) as caught:
            await anext(events)
    assert (caught.value.code, caught.value.reason) == (
        grpc.StatusCode.UNAUTHENTICATED,
        "TOKEN_EXPIRED",
    )
    assert sleeper.ended == ["cancelled", "finally"]


async def test_a_task_left_running_does_not_keep_the_calls_deadline(
    server: Running, channel: grpc.aio.Channel
) -> None:
    seen: list[Any] = []
    answered = asyncio.Event()

    async def later() -> None:
        seen.append(find_current_call())
        await answered.wait()
        seen.append(find_current_call())

    tasks: list[asyncio.Task[None]] = []

    async def leave_behind(_request: Any, _context: Any) -> Any:
        tasks.append(asyncio.create_task(later()))
        await asyncio.sleep(0)
        return record_pb2.Record()

    server.records.get = leave_behind
    await record_service_pb2_grpc.RecordServiceStub(channel).GetRecord(GET)
    answered.set()
    await asyncio.wait_for(tasks[0], 60)
    assert seen[0] is not None
    assert seen[1] is None
