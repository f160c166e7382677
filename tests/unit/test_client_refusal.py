"""The typed error of a call, and what a channel takes from the contract."""

import asyncio
import time
from contextvars import copy_context
from types import SimpleNamespace
from typing import Any

import grpc
import grpc_testing
import pytest
from google.rpc import error_details_pb2, status_pb2

from mesh.client import CallRefused, open_channel, refusal_of
from mesh.client.outgoing import MARGIN_SECONDS, Outgoing
from mesh.contract.catalogue import load_catalogue
from mesh.errors import DependencyUnavailable, ResourceNotFound
from mesh.server.call import Call, enter_call
from secmesh.inventory.v1 import (
    record_pb2,
    record_service_pb2,
    record_service_pb2_grpc,
    sync_service_pb2,
    sync_service_pb2_grpc,
)
from secmesh.records.v1.record_requests_pb2 import GetRecordRequest
from secmesh_client import Tls, connect, over
from secmesh_client.aio import ending
from secmesh_client.aio.ending import Ending
from secmesh_client.contract import rules
from secmesh_client.refusal import DETAILS_KEY
from secmesh_client.service_config import channel_options, service_config

PACKAGE = "secmesh.inventory.v1"
RECORD = "tenants/acme/iam_users/u1"


def failed(code: grpc.StatusCode, text: str, *trailers: tuple[str, Any]) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, None, grpc.aio.Metadata(*trailers), text)


def test_every_part_of_a_refusal_is_read() -> None:
    status = DependencyUnavailable("store", retry_after_seconds=7).status("r-1")
    error = refusal_of(
        failed(
            grpc.StatusCode.UNAVAILABLE, status.message, (DETAILS_KEY, status.SerializeToString())
        )
    )
    assert error.code is grpc.StatusCode.UNAVAILABLE
    assert error.reason == "DEPENDENCY_UNAVAILABLE"
    assert error.metadata == {"dependency": "store", "request_id": "r-1"}
    assert error.request_id == "r-1"
    assert error.message == "store does not answer"
    retry = error.detail(error_details_pb2.RetryInfo)
    assert retry is not None
    assert retry.retry_delay.seconds == 7
    assert error.detail(error_details_pb2.BadRequest) is None
    assert str(error) == "DEPENDENCY_UNAVAILABLE: store does not answer"


@pytest.mark.parametrize(
    "details",
    [
        None,
        b"\xff not a status",
        status_pb2.Status(code=5, message="lies").SerializeToString(),
    ],
)
def test_an_error_that_no_service_of_ours_wrote(details: bytes | None) -> None:
    trailers = () if details is None else ((DETAILS_KEY, details),)
    error = refusal_of(failed(grpc.StatusCode.UNAVAILABLE, "connection refused", *trailers))
    assert (error.code, error.reason, error.metadata) == (grpc.StatusCode.UNAVAILABLE, "", {})
    assert error.message == "connection refused"
    assert error.status.code == 14


BROKEN = "Internal error from Core"


def test_what_no_server_said_is_unavailable() -> None:
    error = refusal_of(failed(grpc.StatusCode.INTERNAL, BROKEN))
    assert (error.code, error.status.code) == (grpc.StatusCode.UNAVAILABLE, 14)
    said = refusal_of(failed(grpc.StatusCode.INTERNAL, "the service failed"))
    assert said.code is grpc.StatusCode.INTERNAL


class Ended:
    """A call as gRPC's asyncio has it: each status that is set hides the one before."""

    def __init__(self) -> None:
        self._cython_call: Any = SimpleNamespace(_status=None)
        self._callbacks: list[Any] = []

    def add_done_callback(self, callback: Any) -> None:
        self._callbacks.append(callback)

    def end(self, code: grpc.StatusCode, text: str) -> None:
        self._cython_call._status = SimpleNamespace(
            code=lambda: code.value[0],
            details=lambda: text,
            trailing_metadata=lambda: (("x-request-id", "r-3"),),
        )
        for callback in self._callbacks:
            callback(self)


@pytest.mark.parametrize("first", ["status", "write", "status after a while"])
async def test_a_write_that_breaks_does_not_hide_why_the_call_ended(first: str) -> None:
    call = Ended()
    kept = Ending(call)
    raised = failed(grpc.StatusCode.INTERNAL, BROKEN)
    refused = (grpc.StatusCode.PERMISSION_DENIED, "no")
    if first == "status":
        call.end(*refused)
    call.end(grpc.StatusCode.INTERNAL, BROKEN)
    if first == "write":
        call.end(*refused)
    if first == "status after a while":
        asyncio.get_running_loop().call_soon(call.end, *refused)
    found = refusal_of(await kept.of(raised))
    assert (found.code, found.message, found.request_id) == (*refused, "r-3")


async def test_a_connection_that_broke_has_no_other_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "_PATIENCE_SECONDS", 0.01)
    call = Ended()
    kept = Ending(call)
    call.end(grpc.StatusCode.INTERNAL, BROKEN)
    error = refusal_of(await kept.of(failed(grpc.StatusCode.INTERNAL, BROKEN)))
    assert error.code is grpc.StatusCode.UNAVAILABLE
    other = failed(grpc.StatusCode.NOT_FOUND, "gone")
    assert await kept.of(other) is other


@pytest.mark.parametrize("where", ["headers", "trailers"])
def test_the_request_id_beside_a_refusal_of_the_gateway_is_read(where: str) -> None:
    status = DependencyUnavailable("edge").status("")
    del status.details[0]
    beside = grpc.aio.Metadata(("x-request-id", "r-2"))
    nothing = grpc.aio.Metadata()
    error = grpc.aio.AioRpcError(
        grpc.StatusCode.UNAVAILABLE,
        beside if where == "headers" else nothing,
        beside if where == "trailers" else nothing,
        status.message,
    )
    assert refusal_of(error).request_id == "r-2"


def test_only_what_is_safe_to_send_again_is_retried() -> None:
    catalogue = load_catalogue(PACKAGE)
    (entry,) = service_config(rules(PACKAGE))["methodConfig"]
    named = {f"/{each['service']}/{each['method']}" for each in entry["name"]}
    assert named == {path for path, method in catalogue.methods.items() if method.idempotent}
    assert f"/{PACKAGE}.SyncService/StartSync" not in named
    assert f"/{PACKAGE}.RecordService/GetRecord" in named
    assert entry["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]
    assert entry["retryPolicy"]["maxAttempts"] == 5
    assert service_config(rules(PACKAGE))["retryThrottling"]["maxTokens"] > 0


def test_channel_options_raise_the_limits_and_ping() -> None:
    options = dict(channel_options(PACKAGE, 16 << 20))
    assert options["grpc.max_receive_message_length"] == 16 << 20
    assert options["grpc.max_send_message_length"] == 16 << 20
    assert options["grpc.keepalive_time_ms"] == 60_000
    assert options["grpc.keepalive_timeout_ms"] == 20_000


@pytest.mark.parametrize(
    "target", ["example.org:443", "10.0.0.7:50051", "dns:///mesh:50051", "0.0.0.0:1", "evil"]
)
def test_a_token_does_not_cross_a_network_in_the_clear(target: str) -> None:
    with pytest.raises(ValueError, match="loopback"):
        connect(target, token="t")
    connect(target, token="t", allow_plaintext=True).close()
    connect(target, token="t", tls=Tls()).close()


@pytest.mark.parametrize("target", ["127.0.0.1:1", "[::1]:1", "localhost:1", "unix:socket"])
async def test_loopback_needs_no_tls(target: str) -> None:
    connect(target).close()
    await open_channel(target, package=PACKAGE).close()


def test_an_outgoing_call_never_outlives_the_call_that_makes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outgoing = Outgoing(PACKAGE, None)
    path = f"/{PACKAGE}.RecordService/GetRecord"
    assert outgoing.default_timeout(path) == 30
    assert outgoing.default_timeout("/grpc.health.v1.Health/Check") is None
    assert outgoing.timeout(None, 30) == 30
    assert outgoing.timeout(2, 30) == 2
    assert outgoing.timeout(None, None) is None

    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)

    def serving(seconds: float) -> tuple[float | None, ...]:
        enter_call(Call("/x/Y", request_id="r-1", deadline=now + seconds))
        asked = ((None, 30), (2, 30), (None, None), (0.5, 30))
        return tuple(outgoing.timeout(*each) for each in asked)

    left = copy_context().run(serving, 1.0)
    assert left[:3] == pytest.approx([1 - MARGIN_SECONDS] * 3)
    assert left[3] == 0.5
    # Too late to ask: the call fails at once instead of having no limit.
    assert copy_context().run(serving, 0.01) == (0.0, 0.0, 0.0, 0.0)
    assert outgoing.timeout(None, 30) == 30


def test_what_the_caller_gives_is_kept() -> None:
    outgoing = Outgoing(PACKAGE, "t-1")
    own = (("authorization", "Bearer own"), ("x-request-id", "mine"))

    def serving(given: Any) -> Any:
        enter_call(Call("/x/Y", request_id="r-1"))
        return outgoing.metadata(given)

    assert copy_context().run(serving, own) == own
    assert copy_context().run(serving, None) == (
        ("authorization", "Bearer t-1"),
        ("x-request-id", "r-1"),
    )


class Fake:
    """A channel of grpcio-testing under the rules of ours."""

    def __init__(self) -> None:
        services = [
            file.DESCRIPTOR.services_by_name[name]
            for file, name in (
                (record_service_pb2, "RecordService"),
                (sync_service_pb2, "SyncService"),
            )
        ]
        self.testing: Any = grpc_testing.channel(services, grpc_testing.strict_real_time())
        self.channel = over(self.testing, token=lambda: "t-1")
        self.services = services

    def method(self, service: int, name: str) -> Any:
        return self.services[service].methods_by_name[name]


def test_a_fake_channel_carries_the_token_and_the_methods_limit() -> None:
    fake = Fake()
    future = record_service_pb2_grpc.RecordServiceStub(fake.channel).GetRecord.future(
        GetRecordRequest(name=RECORD)
    )
    metadata, request, rpc = fake.testing.take_unary_unary(fake.method(0, "GetRecord"))
    assert dict(metadata)["authorization"] == "Bearer t-1"
    assert request.name == RECORD
    rpc.terminate(record_pb2.Record(name=RECORD), (), grpc.StatusCode.OK, "")
    assert future.result().name == RECORD


def test_a_stream_of_a_fake_channel_raises_typed_errors() -> None:
    fake = Fake()
    stream = sync_service_pb2_grpc.SyncServiceStub(fake.channel).WatchSync(
        sync_service_pb2.WatchSyncRequest(name="tenants/acme/syncs/s")
    )
    _, _, rpc = fake.testing.take_unary_stream(fake.method(1, "WatchSync"))
    rpc.send_initial_metadata(())
    rpc.send_response(sync_service_pb2.WatchSyncResponse())
    assert next(iter(stream)) == sync_service_pb2.WatchSyncResponse()
    status = ResourceNotFound("tenants/acme/syncs/s").status("r-1")
    trailers = ((DETAILS_KEY, status.SerializeToString()),)
    rpc.terminate(trailers, grpc.StatusCode.NOT_FOUND, status.message)
    with pytest.raises(CallRefused) as caught:
        next(stream)
    assert (caught.value.reason, caught.value.request_id) == ("RESOURCE_NOT_FOUND", "r-1")
