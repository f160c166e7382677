"""Our channels against a real server: retries, propagation, typed errors, sync and aio."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from mesh.client import CallRefused, open_channel, outgoing
from mesh.errors import DependencyUnavailable
from mesh.server.call import current_call
from secmesh.inventory.v1 import (
    record_pb2,
    record_service_pb2,
    record_service_pb2_grpc,
    sync_pb2,
    sync_service_pb2,
    sync_service_pb2_grpc,
)
from secmesh.records.v1.record_requests_pb2 import GetRecordRequest, ListRecordsRequest
from secmesh_client import connect
from tests.ports import free_port
from tests.service.server_fixtures import PACKAGE, RECORD, SYNC, Running, running

GET = GetRecordRequest(name=RECORD)
LIST = ListRecordsRequest(parent="tenants/acme/iam_users")
START = sync_service_pb2.StartSyncRequest(
    parent="tenants/acme", sync=sync_pb2.Sync(cloud_account_id="123456789012")
)
WATCH = sync_service_pb2.WatchSyncRequest(name=SYNC)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as started:
        yield started


@pytest.fixture
async def channel(server: Running) -> AsyncIterator[grpc.aio.Channel]:
    async with open_channel(server.address, package=PACKAGE, token=server.token()) as opened:
        yield opened


class Flaky:
    """Is unavailable a number of times, then answers."""

    def __init__(self, failures: int, answer: Any) -> None:
        self.failures, self.answer, self.calls = failures, answer, 0

    async def __call__(self, _request: Any, _context: Any) -> Any:
        self.calls += 1
        if self.calls <= self.failures:
            raise DependencyUnavailable("store")
        return self.answer


async def test_a_reading_call_is_tried_five_times(
    server: Running, channel: grpc.aio.Channel
) -> None:
    stub = record_service_pb2_grpc.RecordServiceStub(channel)
    server.records.get = recovers = Flaky(4, record_pb2.Record(name=RECORD))
    assert (await stub.GetRecord(GET)).name == RECORD
    assert recovers.calls == 5
    server.records.get = broken = Flaky(99, None)
    with pytest.raises(CallRefused) as caught:
        await stub.GetRecord(GET)
    assert caught.value.reason == "DEPENDENCY_UNAVAILABLE"
    assert broken.calls == 5


async def test_a_server_that_is_back_is_found_by_the_next_call(tmp_path: Path) -> None:
    listen = f"127.0.0.1:{free_port()}"
    async with running(tmp_path, listen=listen) as server:
        token = server.token()
    async with open_channel(listen, package=PACKAGE, token=token) as channel:
        stub = record_service_pb2_grpc.RecordServiceStub(channel)
        # By itself gRPC would wait longer after each of these.
        for _ in range(3):
            with pytest.raises(CallRefused) as caught:
                await stub.GetRecord(GET)
            assert caught.value.code is grpc.StatusCode.UNAVAILABLE
        async with running(tmp_path, listen=listen):
            assert (await stub.GetRecord(GET)).name == RECORD


async def test_a_call_that_is_not_safe_to_repeat_is_sent_once(
    server: Running, channel: grpc.aio.Channel
) -> None:
    server.syncs.start = flaky = Flaky(1, sync_pb2.Sync(name=SYNC))
    with pytest.raises(CallRefused) as caught:
        await sync_service_pb2_grpc.SyncServiceStub(channel).StartSync(START)
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE
    assert flaky.calls == 1


async def test_other_errors_are_not_retried(server: Running, channel: grpc.aio.Channel) -> None:
    calls = []

    async def fail(_request: Any, _context: Any) -> Any:
        calls.append(1)
        raise ValueError

    server.records.get = fail
    with pytest.raises(CallRefused):
        await record_service_pb2_grpc.RecordServiceStub(channel).GetRecord(GET)
    assert calls == [1]


async def test_deadline_and_request_id_go_on_to_the_next_service(
    server: Running, channel: grpc.aio.Channel
) -> None:
    seen: dict[str, Any] = {}

    async def first(_request: Any, _context: Any) -> Any:
        seen["first"] = current_call()
        seen["left"] = current_call().remaining
        await record_service_pb2_grpc.RecordServiceStub(channel).ListRecords(LIST)
        return record_pb2.Record(name=RECORD)

    async def second(_request: Any, context: Any) -> Any:
        seen["second"] = current_call()
        seen["next"] = context.time_remaining()
        return record_service_pb2.ListRecordsResponse()

    server.records.get, server.records.list_records = first, second
    stub = record_service_pb2_grpc.RecordServiceStub(channel)
    await stub.GetRecord(GET, timeout=25, metadata=(("x-request-id", "r-1"),))
    assert seen["first"] is not seen["second"]
    assert seen["second"].request_id == "r-1"
    # On the wire gRPC rounds timeouts up by a few percent; the method's own limit is 30 s.
    assert 5 < seen["next"] <= seen["left"] * 1.05 < 25 * 1.06


async def test_a_slow_next_service_leaves_time_to_answer(
    server: Running, channel: grpc.aio.Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The inner call ends before the outer one does, so that the outer can say why."""
    # As long as a machine may need that does other work as well.
    monkeypatch.setattr(outgoing, "MARGIN_SECONDS", 20.0)
    inner: list[CallRefused] = []

    async def pass_on(_request: Any, _context: Any) -> Any:
        try:
            await record_service_pb2_grpc.RecordServiceStub(channel).ListRecords(LIST)
        except CallRefused as error:
            inner.append(error)
        return record_pb2.Record(name="answered")

    async def hang(_request: Any, _context: Any) -> Any:
        await asyncio.sleep(30)

    server.records.get, server.records.list_records = pass_on, hang
    stub = record_service_pb2_grpc.RecordServiceStub(channel)
    assert (await stub.GetRecord(GET, timeout=20.3)).name == "answered"
    assert [each.code for each in inner] == [grpc.StatusCode.DEADLINE_EXCEEDED]


async def test_the_methods_limit_is_the_default_deadline(
    server: Running, channel: grpc.aio.Channel
) -> None:
    left: dict[str, float] = {}

    async def unary(_request: Any, context: Any) -> Any:
        left["unary"] = context.time_remaining()
        return record_pb2.Record()

    async def stream(_request: Any, context: Any) -> AsyncIterator[Any]:
        left["stream"] = context.time_remaining()
        yield sync_service_pb2.WatchSyncResponse()

    server.records.get, server.syncs.watch = unary, stream
    await record_service_pb2_grpc.RecordServiceStub(channel).GetRecord(GET)
    async for _ in sync_service_pb2_grpc.SyncServiceStub(channel).WatchSync(WATCH):
        pass
    # gRPC rounds timeouts up by a few percent.
    assert 10 < left["unary"] <= 30 * 1.05
    assert 3590 < left["stream"] <= 3600 * 1.05


async def test_a_token_can_be_asked_for_at_each_call(server: Running) -> None:
    tokens = iter(["nonsense", server.token()])
    async with open_channel(server.address, package=PACKAGE, token=lambda: next(tokens)) as channel:
        stub = record_service_pb2_grpc.RecordServiceStub(channel)
        with pytest.raises(CallRefused) as caught:
            await stub.GetRecord(GET)
        assert caught.value.reason == "TOKEN_INVALID"
        assert (await stub.GetRecord(GET)).name == RECORD


async def test_leaving_a_stream_early_ends_it(server: Running, channel: grpc.aio.Channel) -> None:
    ended = asyncio.Event()

    async def endless(_request: Any, _context: Any) -> AsyncIterator[Any]:
        try:
            while True:
                yield sync_service_pb2.WatchSyncResponse()
                await asyncio.sleep(0.01)
        finally:
            ended.set()

    server.syncs.watch = endless
    async for _ in sync_service_pb2_grpc.SyncServiceStub(channel).WatchSync(WATCH):
        break
    await asyncio.wait_for(ended.wait(), 60)


async def test_a_stream_that_is_refused_while_it_is_sent_says_why(
    server: Running, channel: grpc.aio.Channel
) -> None:
    async def messages() -> AsyncIterator[Any]:
        while True:
            yield GetRecordRequest(name="x" * 9999)
            await asyncio.sleep(0)

    for _ in range(20):
        with pytest.raises(CallRefused) as caught:
            async for _ in channel.stream_stream(
                f"/{PACKAGE}.RecordService/NoSuchMethod",
                request_serializer=GetRecordRequest.SerializeToString,
            )(messages()):
                pass
        assert caught.value.code is grpc.StatusCode.UNIMPLEMENTED


async def test_a_message_of_our_size_passes_both_ways(
    server: Running, channel: grpc.aio.Channel
) -> None:
    """Above gRPC's default of 4 MiB."""

    async def large(_request: Any, _context: Any) -> Any:
        return record_pb2.Record(name="x" * (8 << 20))

    server.records.get = large
    record = await record_service_pb2_grpc.RecordServiceStub(channel).GetRecord(GET)
    assert len(record.name) == 8 << 20


async def test_nobody_listening_is_unavailable() -> None:
    async with open_channel("127.0.0.1:1", package=PACKAGE) as channel:
        with pytest.raises(CallRefused) as caught:
            await record_service_pb2_grpc.RecordServiceStub(channel).GetRecord(GET)
    assert (caught.value.code, caught.value.reason) == (grpc.StatusCode.UNAVAILABLE, "")


async def test_the_blocking_channel_does_the_same(server: Running) -> None:
    async def hang(_request: Any, _context: Any) -> AsyncIterator[Any]:
        yield sync_service_pb2.WatchSyncResponse()
        raise DependencyUnavailable("store")

    server.syncs.watch = hang

    def work() -> None:
        token = server.token()
        with connect(server.address, token=token) as channel:
            records = record_service_pb2_grpc.RecordServiceStub(channel)
            assert records.GetRecord(GET).name == RECORD
            response, call = records.GetRecord.with_call(
                GET, metadata=(("x-request-id", "r-9"),), timeout=20
            )
            assert response.name == RECORD
            assert ("x-request-id", "r-9") in [tuple(each) for each in call.trailing_metadata()]
            with pytest.raises(CallRefused) as unary:
                records.GetRecord(GetRecordRequest(name="tenants/rival/iam_users/u"))
            assert unary.value.reason == "RESOURCE_NOT_FOUND"
            events = sync_service_pb2_grpc.SyncServiceStub(channel).WatchSync(WATCH)
            assert next(events) == sync_service_pb2.WatchSyncResponse()
            with pytest.raises(CallRefused) as stream:
                next(events)
            assert stream.value.reason == "DEPENDENCY_UNAVAILABLE"
        with connect(server.address) as channel:
            records = record_service_pb2_grpc.RecordServiceStub(channel)
            with pytest.raises(CallRefused) as missing:
                records.GetRecord(GET)
            assert missing.value.reason == "TOKEN_MISSING"

    began = time.monotonic()
    await asyncio.to_thread(work)
    assert time.monotonic() - began < 20
