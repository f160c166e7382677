"""Native gRPC and gRPC-Web on the same port."""

from datetime import timedelta
from typing import cast

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from secmesh.inventory.v1 import sync_service_pb2
from secmesh.inventory.v1.record_service_pb2_grpc import RecordServiceStub
from secmesh.inventory.v1.sync_service_pb2_grpc import SyncServiceStub
from secmesh.records.v1.record_requests_pb2 import GetRecordRequest
from tests.mesh.gateway_fixtures import Gateway
from tests.mesh.upstream import WAIT, Journal

GET = sync_service_pb2.GetSyncRequest(name="tenants/acme/syncs/one")
GET_PATH = "/secmesh.inventory.v1.SyncService/GetSync"
WEB = "application/grpc-web+proto"


def reason_of(error: grpc.RpcError) -> str:
    """Give the reason of an error, whose Status agrees with its code and message."""
    status = rpc_status.from_call(cast("grpc.Call", error))
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.domain == "secmesh"
    return str(info.reason)


def code_of(error: grpc.RpcError) -> grpc.StatusCode:
    code: grpc.StatusCode = cast("grpc.Call", error).code()
    return code


def test_unary_and_stream(gateway: Gateway, journal: Journal) -> None:
    with gateway.channel() as channel:
        stub = SyncServiceStub(channel)
        assert stub.GetSync(GET, metadata=gateway.bearer()).name == ""
        assert journal.last.request == GET
        watch = sync_service_pb2.WatchSyncRequest(name="tenants/acme/syncs/one")
        events = list(stub.WatchSync(watch, metadata=gateway.bearer()))
    assert [event.WhichOneof("event") for event in events] == ["sync"] * 3 + ["ended"]


def test_identity_from_outside_is_removed(gateway: Gateway, journal: Journal) -> None:
    metadata = (*gateway.bearer(), ("x-tenant", "evil"), ("x-subject", "root"))
    with gateway.channel() as channel:
        SyncServiceStub(channel).GetSync(GET, metadata=metadata)
    assert journal.last.metadata.keys().isdisjoint(("x-tenant", "x-subject"))


def test_binary_metadata_from_outside_is_removed(gateway: Gateway, journal: Journal) -> None:
    with gateway.channel() as channel:
        stub = SyncServiceStub(channel)
        stub.GetSync(GET, metadata=(*gateway.bearer(), ("x-any-bin", b"\x00\xff")))
    assert "x-any-bin" not in journal.last.metadata


def test_error_of_the_service_keeps_its_details(gateway: Gateway) -> None:
    request = GetRecordRequest(name="tenants/acme/iam_users/missing")
    with gateway.channel() as channel, pytest.raises(grpc.RpcError) as caught:
        RecordServiceStub(channel).GetRecord(request, metadata=gateway.bearer())
    assert code_of(caught.value) == grpc.StatusCode.NOT_FOUND
    assert reason_of(caught.value) == "RESOURCE_NOT_FOUND"


def test_tokens(gateway: Gateway, journal: Journal) -> None:
    old = gateway.token(lifetime=timedelta(minutes=-1))
    bearers = {
        "TOKEN_MISSING": (),
        "TOKEN_INVALID": gateway.bearer("rubbish"),
        "TOKEN_EXPIRED": gateway.bearer(old),
    }
    with gateway.channel() as channel:
        for reason, metadata in bearers.items():
            with pytest.raises(grpc.RpcError) as caught:
                SyncServiceStub(channel).GetSync(GET, metadata=metadata)
            assert code_of(caught.value) == grpc.StatusCode.UNAUTHENTICATED
            assert reason_of(caught.value) == reason
    assert journal.calls == []


@pytest.mark.parametrize(
    "path", ["/secmesh.none.v1.None/Get", "/secmesh.inventory.v1.SyncService/Dance", "/inventory"]
)
def test_unknown_method(gateway: Gateway, journal: Journal, path: str) -> None:
    with gateway.channel() as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(path, bytes, bytes)(b"", metadata=gateway.bearer())
    assert code_of(caught.value) == grpc.StatusCode.UNIMPLEMENTED
    assert reason_of(caught.value) == "METHOD_UNKNOWN"
    assert journal.calls == []


def test_deadline_of_the_caller(gateway: Gateway) -> None:
    request = sync_service_pb2.ListSyncsRequest(filter=WAIT)
    with gateway.channel() as channel, pytest.raises(grpc.RpcError) as caught:
        SyncServiceStub(channel).ListSyncs(request, metadata=gateway.bearer(), timeout=0.3)
    assert code_of(caught.value) == grpc.StatusCode.DEADLINE_EXCEEDED


def test_malformed_request_id(gateway: Gateway, journal: Journal) -> None:
    metadata = (*gateway.bearer(), ("x-request-id", "a b"))
    with gateway.channel() as channel, pytest.raises(grpc.RpcError) as caught:
        SyncServiceStub(channel).GetSync(GET, metadata=metadata)
    assert code_of(caught.value) == grpc.StatusCode.INVALID_ARGUMENT
    assert reason_of(caught.value) == "BODY_INVALID"
    assert journal.calls == []


def test_grpc_web(gateway: Gateway, journal: Journal) -> None:
    message = GET.SerializeToString()
    frame = b"\0" + len(message).to_bytes(4, "big") + message
    response = gateway.call("POST", GET_PATH, content=frame, headers={"content-type": WEB})
    assert response.headers["content-type"] == WEB
    assert response.content == b"\0" * 5 + b"\x80" + response.content[6:]
    assert b"grpc-status:0" in response.content
    assert journal.last.request == GET
    refused = gateway.client.post(GET_PATH, content=frame, headers={"content-type": WEB})
    assert refused.headers["grpc-status"] == "16"
