"""gRPC-Web on the same port: binary and text, unary and stream, errors as trailers."""

import json
import subprocess
import sys
from datetime import timedelta
from importlib.resources import files
from pathlib import Path

import grpc
import pytest

from secmesh.inventory.v1 import record_pb2, sync_service_pb2
from secmesh.records.v1.record_requests_pb2 import GetRecordRequest
from tests.mesh.gateway_fixtures import Gateway
from tests.mesh.grpc_web import BINARY, TEXT, WebAnswer, call
from tests.mesh.upstream import WAIT, Journal

BUF = Path(sys.executable).parent / "buf"
GET_RECORD = "/secmesh.inventory.v1.RecordService/GetRecord"
WATCH = "/secmesh.inventory.v1.SyncService/WatchSync"
LIST = "/secmesh.inventory.v1.SyncService/ListSyncs"
RECORD = GetRecordRequest(name="tenants/acme/iam_users/one")
MISSING = GetRecordRequest(name="tenants/acme/iam_users/missing")
FORMS = pytest.mark.parametrize("form", [BINARY, TEXT])


def bearer(gateway: Gateway, token: str = "") -> dict[str, str]:
    return {"authorization": f"Bearer {token or gateway.token()}"}


def assert_ended(answer: WebAnswer, code: grpc.StatusCode, reason: str) -> None:
    assert answer.messages == []
    assert answer.status == code.value[0]
    assert answer.reason == reason


@FORMS
def test_unary(gateway: Gateway, journal: Journal, form: str) -> None:
    answer = call(gateway.client, GET_RECORD, RECORD, bearer(gateway), form)
    assert answer.status == 0
    (message,) = answer.messages
    assert record_pb2.Record.FromString(message).iam_user.username == "ann"
    assert journal.last.request == RECORD
    assert journal.last.metadata["authorization"].startswith("Bearer ")


@FORMS
def test_stream(gateway: Gateway, form: str) -> None:
    request = sync_service_pb2.WatchSyncRequest(name="tenants/acme/syncs/one")
    answer = call(gateway.client, WATCH, request, bearer(gateway), form)
    events = [sync_service_pb2.WatchSyncResponse.FromString(each) for each in answer.messages]
    assert [event.WhichOneof("event") for event in events] == ["sync"] * 3 + ["ended"]
    assert answer.status == 0


@FORMS
def test_error_of_the_service(gateway: Gateway, form: str) -> None:
    answer = call(gateway.client, GET_RECORD, MISSING, bearer(gateway), form)
    assert_ended(answer, grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")
    watch = sync_service_pb2.WatchSyncRequest(name="tenants/acme/syncs/missing")
    answer = call(gateway.client, WATCH, watch, bearer(gateway), form)
    assert_ended(answer, grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")


@FORMS
def test_tokens(gateway: Gateway, journal: Journal, form: str) -> None:
    old = gateway.token(lifetime=timedelta(minutes=-1))
    headers = {
        "TOKEN_MISSING": {},
        "TOKEN_INVALID": bearer(gateway, "rubbish"),
        "TOKEN_EXPIRED": bearer(gateway, old),
    }
    for reason, sent in headers.items():
        answer = call(gateway.client, GET_RECORD, RECORD, sent, form)
        assert_ended(answer, grpc.StatusCode.UNAUTHENTICATED, reason)
    assert journal.calls == []


@FORMS
@pytest.mark.parametrize("path", ["/secmesh.none.v1.None/Get", f"{GET_RECORD}s", "/inventory"])
def test_unknown_method(gateway: Gateway, journal: Journal, form: str, path: str) -> None:
    answer = call(gateway.client, path, RECORD, bearer(gateway), form)
    assert_ended(answer, grpc.StatusCode.UNIMPLEMENTED, "METHOD_UNKNOWN")
    assert journal.calls == []


@FORMS
def test_rest_path_is_no_method(gateway: Gateway, journal: Journal, form: str) -> None:
    """A content type may not lead around the check of JSON bodies."""
    path = "/inventory/v1/tenants/acme/syncs"
    answer = call(gateway.client, path, RECORD, bearer(gateway), form)
    assert_ended(answer, grpc.StatusCode.UNIMPLEMENTED, "METHOD_UNKNOWN")
    assert journal.calls == []


def test_deadline_of_the_caller(gateway: Gateway) -> None:
    request = sync_service_pb2.ListSyncsRequest(filter=WAIT)
    headers = {**bearer(gateway), "grpc-timeout": "300m"}
    answer = call(gateway.client, LIST, request, headers)
    assert answer.messages == []
    assert answer.status == grpc.StatusCode.DEADLINE_EXCEEDED.value[0]


def buf_curl(gateway: Gateway, name: str, *more: str) -> subprocess.CompletedProcess[str]:
    command = [
        *(str(BUF), "curl", "--protocol", "grpcweb"),
        *("--schema", str(files("secmesh") / "image.binpb")),
        *("--data", json.dumps({"name": f"tenants/acme/{name}"})),
        *more,
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)


def test_buf_curl(gateway: Gateway) -> None:
    url = f"http://{gateway.address}"
    token = ("-H", f"Authorization: Bearer {gateway.token()}")
    record = buf_curl(gateway, "iam_users/one", *token, f"{url}{GET_RECORD}")
    assert json.loads(record.stdout)["iamUser"]["username"] == "ann", record.stderr
    watched = buf_curl(gateway, "syncs/one", *token, f"{url}{WATCH}")
    assert watched.stdout.count('"unitsDone"') == 2
    assert '"complete"' in watched.stdout
    refused = buf_curl(gateway, "iam_users/one", f"{url}{GET_RECORD}")
    assert refused.returncode == 8 * grpc.StatusCode.UNAUTHENTICATED.value[0]
    assert json.loads(refused.stderr)["code"] == "unauthenticated"
