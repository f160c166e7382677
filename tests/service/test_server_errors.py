"""What callers see of errors: a typed status with a request id, and nothing else."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from mesh.client import CallRefused, open_channel
from mesh.errors import FieldInvalid, PageTokenInvalid, ResourceNotFound
from mesh.identity.token import TokenVerifier
from mesh.server.interceptors import INTERCEPTORS
from mesh.server.interceptors.errors import MAX_STATUS_BYTES, bounded
from secmesh.inventory.v1 import (
    record_service_pb2_grpc,
    ssp_requests_pb2,
    sync_pb2,
    sync_service_pb2,
    sync_service_pb2_grpc,
)
from secmesh.inventory.v1.compliance_service_pb2_grpc import ComplianceServiceStub
from secmesh.records.v1 import record_requests_pb2
from tests.service.server_fixtures import PACKAGE, RECORD, SYNC, Running, running

GET = record_requests_pb2.GetRecordRequest(name=RECORD)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as started:
        yield started


@pytest.fixture
async def channel(server: Running) -> AsyncIterator[grpc.aio.Channel]:
    async with open_channel(server.address, package=PACKAGE, token=server.token()) as opened:
        yield opened


async def refused(call: Any) -> CallRefused:
    with pytest.raises(CallRefused) as caught:
        await call
    return caught.value


async def fail(_request: Any, _context: Any) -> Any:
    raise ValueError("secret detail")


def test_the_order_of_the_interceptors() -> None:
    assert [each.__name__ for each in INTERCEPTORS] == [
        "RequestId",
        "Trace",
        "Metrics",
        "Errors",
        "Deadline",
        "Identity",
        "Permission",
        "Validation",
        "Served",
        "Idempotency",
    ]


async def test_an_auth_failure_carries_the_request_id(server: Running) -> None:
    """RequestId and Errors stand outside of Identity."""
    async with open_channel(server.address, package=PACKAGE) as channel:
        stub = record_service_pb2_grpc.RecordServiceStub(channel)
        error = await refused(stub.GetRecord(GET, metadata=(("x-request-id", "req.1_a-B"),)))
    assert (error.code, error.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_MISSING")
    assert error.request_id == "req.1_a-B"
    assert isinstance(error.detail(error_details_pb2.ErrorInfo), error_details_pb2.ErrorInfo)


async def test_slow_key_reading_counts_against_the_deadline(
    server: Running, channel: grpc.aio.Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deadline stands outside of Identity."""

    async def hang(_self: TokenVerifier, _token: str) -> Any:
        await asyncio.sleep(30)

    monkeypatch.setattr(TokenVerifier, "authenticate", hang)
    stub = record_service_pb2_grpc.RecordServiceStub(channel)
    error = await refused(stub.GetRecord(GET, timeout=0.1))
    assert error.code == grpc.StatusCode.DEADLINE_EXCEEDED


async def test_validation_never_runs_for_an_unpermitted_caller(server: Running) -> None:
    """Permission stands outside of Validation."""
    invalid = sync_service_pb2.StartSyncRequest(
        parent="tenants/acme", sync=sync_pb2.Sync(cloud_account_id="not 12 digits")
    )
    viewer = server.token(roles=("viewer",))
    async with open_channel(server.address, package=PACKAGE, token=viewer) as channel:
        error = await refused(sync_service_pb2_grpc.SyncServiceStub(channel).StartSync(invalid))
    assert error.reason == "PERMISSION_MISSING"
    assert error.metadata["permission"] == "inventory.syncs.create"
    assert "cloud_account_id" not in str(error.status)


async def test_the_text_of_an_exception_stays_inside(
    server: Running, channel: grpc.aio.Channel
) -> None:
    server.records.get = fail
    error = await refused(record_service_pb2_grpc.RecordServiceStub(channel).GetRecord(GET))
    assert (error.code, error.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert error.request_id
    assert "secret" not in str(error.status)


async def test_a_refusal_travels_whole(server: Running, channel: grpc.aio.Channel) -> None:
    async def refuse(_request: Any, _context: Any) -> Any:
        raise ResourceNotFound(RECORD)

    server.records.get = refuse
    error = await refused(record_service_pb2_grpc.RecordServiceStub(channel).GetRecord(GET))
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")
    assert error.metadata["resource"] == RECORD
    info = error.detail(error_details_pb2.ResourceInfo)
    assert info is not None
    assert info.resource_name == RECORD


async def test_a_refusal_inside_a_task_group_is_the_answer(
    server: Running, channel: grpc.aio.Channel
) -> None:
    async def refuse() -> None:
        raise PageTokenInvalid

    async def fan_out(_request: Any, _context: Any) -> Any:
        async with asyncio.TaskGroup() as group:
            group.create_task(refuse())
            group.create_task(asyncio.sleep(30))

    server.records.get = fan_out
    error = await refused(record_service_pb2_grpc.RecordServiceStub(channel).GetRecord(GET))
    assert error.reason == "PAGE_TOKEN_INVALID"


async def test_an_error_in_the_middle_of_a_stream_is_a_status(
    server: Running, channel: grpc.aio.Channel
) -> None:
    closed = asyncio.Event()

    async def break_down(request: Any, _context: Any) -> AsyncIterator[Any]:
        try:
            yield sync_service_pb2.WatchSyncResponse(sync=sync_pb2.Sync(name=request.name))
            raise KeyError("secret detail")
        finally:
            closed.set()

    server.syncs.watch = break_down
    stub = sync_service_pb2_grpc.SyncServiceStub(channel)
    events = aiter(stub.WatchSync(sync_service_pb2.WatchSyncRequest(name=SYNC)))
    assert (await anext(events)).sync.name == SYNC
    error = await refused(anext(events))
    assert error.reason == "INTERNAL"
    assert "secret" not in str(error.status)
    assert closed.is_set()


async def test_every_broken_bound_is_named_by_its_path(channel: grpc.aio.Channel) -> None:
    request = sync_service_pb2.StartSyncRequest(
        parent="tenants/acme",
        sync=sync_pb2.Sync(cloud_account_id="12", regions=["us-east-1", "moon"]),
    )
    error = await refused(sync_service_pb2_grpc.SyncServiceStub(channel).StartSync(request))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
    bad = error.detail(error_details_pb2.BadRequest)
    assert bad is not None
    assert [(each.field, each.reason) for each in bad.field_violations] == [
        ("sync.cloud_account_id", "STRING.PATTERN"),
        ("sync.regions[1]", "STRING.PATTERN"),
    ]
    assert all(each.description for each in bad.field_violations)


@pytest.mark.parametrize("given", ["", "with space", "x" * 129, "semi;colon", "{}"])
async def test_an_unfit_request_id_is_replaced(
    server: Running, channel: grpc.aio.Channel, given: str
) -> None:
    server.records.get = fail
    stub = record_service_pb2_grpc.RecordServiceStub(channel)
    error = await refused(stub.GetRecord(GET, metadata=(("x-request-id", given),)))
    assert error.request_id != given
    # RFC 9562: version 7, variant 10.
    assert re.fullmatch(
        r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", error.request_id
    )


async def test_a_method_left_out_is_unimplemented(channel: grpc.aio.Channel) -> None:
    stub = sync_service_pb2_grpc.SyncServiceStub(channel)
    error = await refused(stub.GetSync(sync_service_pb2.GetSyncRequest(name=SYNC)))
    assert (error.code, error.reason) == (grpc.StatusCode.UNIMPLEMENTED, "METHOD_UNKNOWN")


async def test_an_unregistered_service_is_unimplemented(channel: grpc.aio.Channel) -> None:
    stub = ComplianceServiceStub(channel)
    request = ssp_requests_pb2.GetSspRequest(name="tenants/acme/ssps/s")
    error = await refused(stub.GetSsp(request))
    assert error.code == grpc.StatusCode.UNIMPLEMENTED


async def test_a_handler_without_a_contract_is_refused(tmp_path: Path) -> None:
    calls = []

    async def serve(request: bytes, _context: Any) -> bytes:
        calls.append(request)
        return request

    def register(server: grpc.aio.Server) -> None:
        handler: Any = grpc.unary_unary_rpc_method_handler(serve)
        generic = grpc.method_handlers_generic_handler("stray.Service", {"Do": handler})
        server.add_generic_rpc_handlers((generic,))

    async with running(tmp_path, register=register) as server:
        token = server.token(permissions=("*.*.*",))
        async with open_channel(server.address, package=PACKAGE, token=token) as channel:
            method: Any = channel.unary_unary("/stray.Service/Do")
            error = await refused(method(b"x"))
    assert (error.code, error.reason) == (grpc.StatusCode.UNIMPLEMENTED, "METHOD_UNKNOWN")
    assert calls == []


async def test_an_error_too_large_for_trailers_still_arrives(
    server: Running, channel: grpc.aio.Channel
) -> None:
    name = "tenants/rival/iam_users/" + "x" * 100_000
    stub = record_service_pb2_grpc.RecordServiceStub(channel)
    error = await refused(stub.GetRecord(record_requests_pb2.GetRecordRequest(name=name)))
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"), (
        error.message
    )
    assert error.request_id


def test_a_bounded_status_keeps_its_reason() -> None:
    violations = [
        error_details_pb2.BadRequest.FieldViolation(field=f"f{n}", description="x" * 1000)
        for n in range(50)
    ]
    status = bounded(FieldInvalid(*violations).status("r-1"))
    assert status.ByteSize() <= MAX_STATUS_BYTES
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.reason, info.metadata["request_id"]) == ("FIELD_INVALID", "r-1")
    small = status_pb2.Status(code=5, message="small")
    assert bounded(small) is small


async def test_a_larger_message_than_agreed_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path, max_message_bytes=5 * 1024 * 1024) as server:
        token = server.token()
        async with open_channel(server.address, package=PACKAGE, token=token) as channel:
            stub = record_service_pb2_grpc.RecordServiceStub(channel)
            # Above gRPC's own default of 4 MiB, below the setting: the server reads it.
            fits = record_requests_pb2.ListRecordsRequest(
                parent="tenants/acme/iam_users", filter="x" * 4_500_000
            )
            assert (await refused(stub.ListRecords(fits))).reason == "FIELD_INVALID"
            fits.filter = "x" * 6_000_000
            error = await refused(stub.ListRecords(fits))
            assert error.code == grpc.StatusCode.RESOURCE_EXHAUSTED
