"""Calls that no well-behaved client makes: they are refused in the same form as all others."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from mesh.client import CallRefused, open_channel
from mesh.server.call import REQUEST_ID_KEY
from secmesh.inventory.v1.record_pb2 import Record
from secmesh.inventory.v1.record_service_pb2_grpc import RecordServiceStub
from secmesh.inventory.v1.sync_pb2 import Sync
from secmesh.inventory.v1.sync_service_pb2 import StartSyncRequest
from secmesh.inventory.v1.sync_service_pb2_grpc import SyncServiceStub
from secmesh.records.v1.record_requests_pb2 import GetRecordRequest, ListRecordsRequest
from tests.service.server_fixtures import PACKAGE, RECORD, Running, running

GET = "/secmesh.inventory.v1.RecordService/GetRecord"
WATCH = "/secmesh.inventory.v1.SyncService/WatchSync"
MALFORMED = (b"\xff" * 40, b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x02\xff\xff", b"\x0a" * 100)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as started:
        yield started


@pytest.fixture
async def channel(server: Running) -> AsyncIterator[grpc.aio.Channel]:
    async with open_channel(server.address, package=PACKAGE, token=server.token()) as opened:
        yield opened


async def refused(channel: grpc.aio.Channel, path: str, message: bytes) -> CallRefused:
    """Send bytes as they are, to a unary method or a stream of responses."""
    method: Any = channel.unary_stream(path)
    with pytest.raises(CallRefused) as caught:
        [each async for each in method(message)]
    return caught.value


@pytest.mark.parametrize("path", [GET, WATCH])
@pytest.mark.parametrize("message", MALFORMED)
async def test_bytes_that_are_no_message(
    channel: grpc.aio.Channel, path: str, message: bytes
) -> None:
    error = await refused(channel, path, message)
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "BODY_INVALID")
    assert error.request_id
    assert "protobuf." not in error.message
    assert "Error" not in error.message


async def test_bytes_of_a_stranger_are_not_parsed(server: Running) -> None:
    async with open_channel(server.address, package=PACKAGE) as channel:
        error = await refused(channel, GET, MALFORMED[0])
    assert error.reason == "TOKEN_MISSING"


@pytest.mark.parametrize(
    "path", ["/secmesh.inventory.v1.RecordService/Nothing", "/no.Service/Get", "/x", f"{GET}/"]
)
async def test_a_method_that_does_not_exist(channel: grpc.aio.Channel, path: str) -> None:
    error = await refused(channel, path, b"")
    assert (error.code, error.reason) == (grpc.StatusCode.UNIMPLEMENTED, "METHOD_UNKNOWN")
    assert error.metadata["method"] == path
    assert error.request_id


@pytest.mark.parametrize("characters", [7_000, 9_000, 15_000, 60_000])
async def test_long_metadata_is_no_matter_of_chance(
    channel: grpc.aio.Channel, characters: int
) -> None:
    stub = RecordServiceStub(channel)
    metadata = (("x-envoy-original-path", "a" * characters), (REQUEST_ID_KEY, "mine"))
    for _ in range(5):  # between gRPC's two limits calls are refused at random
        found = await stub.GetRecord(GetRecordRequest(name=RECORD), metadata=metadata)
        assert found == Record(name=RECORD)


async def test_a_message_of_a_million_faults_is_refused_at_once(channel: grpc.aio.Channel) -> None:
    sync = Sync(cloud_account_id="123456789012", collections=["1"] * 1_000_000)
    request = StartSyncRequest(parent="tenants/acme", sync=sync)
    async with asyncio.timeout(10):  # each one named would take minutes
        with pytest.raises(CallRefused) as caught:
            await SyncServiceStub(channel).StartSync(request)
    assert caught.value.reason == "FIELD_INVALID"
    assert caught.value.message.startswith("sync.collections")


async def test_messages_after_a_malformed_one_are_served(channel: grpc.aio.Channel) -> None:
    await refused(channel, GET, MALFORMED[0])
    stub = RecordServiceStub(channel)
    assert await stub.GetRecord(GetRecordRequest(name=RECORD)) == Record(name=RECORD)
    page = await stub.ListRecords(ListRecordsRequest(parent="tenants/acme/iam_users"))
    assert not page.records
