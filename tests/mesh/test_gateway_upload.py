"""Files sent as they are, through Envoy to the real service: whole or not at all."""

import http.client
import json
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.api.httpbody_pb2 import HttpBody

from gateway.contracts import deployables
from mesh.server.upload import PER_TENANT
from secmesh.inventory.v1 import ssp_requests_pb2
from secmesh.inventory.v1.compliance_service_pb2_grpc import ComplianceServiceStub
from tests.mesh.gateway_fixtures import Gateway, assert_refused, violations
from tests.mesh.test_gateway_grpc import code_of, reason_of
from tests.mesh.test_gateway_inventory import as_role, mesh
from tests.service.compliance_world import document, requirement

__all__ = ["mesh"]  # the fixture of the real service
SSPS = "/inventory/v1/tenants/acme/ssps"
UPLOAD_SSP = "/secmesh.inventory.v1.ComplianceService/UploadSsp"
METHOD = deployables()["inventory"].catalogue.methods[UPLOAD_SSP]
assert METHOD.upload is not None
MAX_BYTES = METHOD.upload.max_bytes
CHUNK = 256 * 1024
INVALID = grpc.StatusCode.INVALID_ARGUMENT
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
TITLE = "Plan"


def plan(size: int = 0) -> bytes:
    """Write a plan that is padded to a size in bytes."""
    small = document(requirement("ac-2"))
    return small + b" " * (size - len(small))


def path_of(ssp: str) -> str:
    return f"{SSPS}/{ssp}:upload"


def stored(mesh: Gateway, ssp: str) -> bool:
    return mesh.get(f"{SSPS}/{ssp}").status_code == 200


@pytest.fixture
def ssp() -> str:
    """An id that no other test has."""
    return f"p{uuid.uuid4().hex[:12]}"


@pytest.fixture
def big_file(tmp_path: Path) -> Path:
    path = tmp_path / "plan.json"
    path.write_bytes(plan(13 * 1024 * 1024))
    return path


def curl(mesh: Gateway, ssp: str, file: Path, *options: str) -> tuple[int, Any]:
    """Send a file as operators do; give the status and the JSON."""
    done = subprocess.run(
        [
            *("curl", "-sS", "--max-time", "60", "-w", "\n%{http_code}", *options),
            *("-H", f"authorization: Bearer {mesh.token()}", "--data-binary", f"@{file}"),
            f"http://{mesh.address}{path_of(ssp)}",
        ],
        capture_output=True,
        check=True,
        text=True,
    )
    body, _, status = done.stdout.rpartition("\n")
    return int(status), json.loads(body)


@pytest.mark.parametrize(
    "options",
    [
        ("--http1.1",),
        ("--http1.1", "-H", "transfer-encoding: chunked"),
        ("--http2-prior-knowledge",),
        ("--http1.1", "-H", "content-type: application/json"),
    ],
    ids=str,
)
def test_file_larger_than_json_takes(
    mesh: Gateway, ssp: str, big_file: Path, options: tuple[str, ...]
) -> None:
    status, answer = curl(mesh, ssp, big_file, *options)
    assert (status, answer.get("title")) == (200, TITLE), answer
    assert answer["name"] == f"tenants/acme/ssps/{ssp}"
    assert stored(mesh, ssp)


def test_small_file_with_a_baseline_replaces_the_plan(mesh: Gateway, ssp: str) -> None:
    for baseline in ("BASELINE_NIST_LOW", "BASELINE_NIST_HIGH"):
        target = f"{path_of(ssp)}?baseline={baseline}"
        answer = mesh.call("POST", target, content=plan())
        assert answer.status_code == 200, answer.text
        assert answer.json()["baseline"] == baseline


def messages(ssp: str, content: bytes, **first: Any) -> Iterator[ssp_requests_pb2.UploadSspRequest]:
    request = ssp_requests_pb2.UploadSspRequest
    named = {"parent": "tenants/acme", "ssp_id": ssp, **first}
    yield request(file=HttpBody(data=content[:CHUNK]), **named)
    for start in range(CHUNK, len(content), CHUNK):
        yield request(file=HttpBody(data=content[start : start + CHUNK]))


def test_native_stream(mesh: Gateway, ssp: str) -> None:
    with mesh.channel() as channel:
        stub = ComplianceServiceStub(channel)
        sent = messages(ssp, plan(5 * 1024 * 1024))
        assert stub.UploadSsp(sent, metadata=mesh.bearer()).title == TITLE
    assert stored(mesh, ssp)


def test_native_stream_too_large(mesh: Gateway, ssp: str) -> None:
    taken = 0

    def counted() -> Iterator[ssp_requests_pb2.UploadSspRequest]:
        nonlocal taken
        for message in messages(ssp, plan(4 * MAX_BYTES)):
            taken += len(message.file.data)
            yield message

    with mesh.channel() as channel, pytest.raises(grpc.RpcError) as refused:
        ComplianceServiceStub(channel).UploadSsp(counted(), metadata=mesh.bearer())
    assert (code_of(refused.value), reason_of(refused.value)) == (EXHAUSTED, "BODY_TOO_LARGE")
    # Buffers on the way take some more.
    assert taken < 3 * MAX_BYTES
    assert not stored(mesh, ssp)


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        ({"parent": ""}, "FIELD_INVALID"),
        ({"ssp_id": ""}, "FIELD_INVALID"),
        ({"ssp_id": "A B"}, "FIELD_INVALID"),
        ({"parent": "tenants/globex"}, "RESOURCE_NOT_FOUND"),
    ],
    ids=str,
)
def test_first_message_says_what_it_is_for(
    mesh: Gateway, ssp: str, first: dict[str, str], reason: str
) -> None:
    sent = messages(ssp, plan(), **first)
    with mesh.channel() as channel, pytest.raises(grpc.RpcError) as refused:
        ComplianceServiceStub(channel).UploadSsp(sent, metadata=mesh.bearer())
    assert reason_of(refused.value) == reason


def test_later_message_cannot_point_elsewhere(mesh: Gateway, ssp: str) -> None:
    def sent() -> Iterator[ssp_requests_pb2.UploadSspRequest]:
        yield from messages(ssp, plan())
        yield from messages(f"{ssp}-other", b" ")

    with mesh.channel() as channel, pytest.raises(grpc.RpcError) as refused:
        ComplianceServiceStub(channel).UploadSsp(sent(), metadata=mesh.bearer())
    assert (code_of(refused.value), reason_of(refused.value)) == (INVALID, "FIELD_INVALID")
    assert not stored(mesh, ssp)


def test_announced_size_is_refused_before_the_file_is_sent(mesh: Gateway, ssp: str) -> None:
    head = (
        f"POST {path_of(ssp)} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {mesh.token()}\r\n"
        f"Content-Length: {MAX_BYTES + 1}\r\n\r\n"
    )
    status, body = mesh.raw(head.encode())
    assert status == 413
    assert json.loads(body)["details"][0]["reason"] == "BODY_TOO_LARGE"


def test_announced_size_is_refused_over_http2(mesh: Gateway, ssp: str) -> None:
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path_of(ssp),
        ":authority": "a",
        "authorization": f"Bearer {mesh.token()}",
        "content-length": str(MAX_BYTES + 1),
    }
    frames = list(http2_frames(mesh.address, fields))
    body = b"".join(payload for kind, payload in frames if kind == DATA)
    assert json.loads(body)["details"][0]["reason"] == "BODY_TOO_LARGE"
    assert frames[-1] == (RST_STREAM, NO_ERROR)


DATA, HEADERS, RST_STREAM, SETTINGS = 0, 1, 3, 4
NO_ERROR = bytes(4)


def http2_frames(address: str, fields: dict[str, str]) -> Iterator[tuple[int, bytes]]:
    """Begin one request whose body never comes; give the frames of its answer (RFC 9113)."""

    def text(value: str) -> bytes:
        size = len(value)
        # A length from 127 on goes on in groups of 7 bits (RFC 7541, 5.1).
        more = b"" if size < 127 else bytes([(size - 127) & 127 | 128, (size - 127) >> 7])
        return bytes([min(size, 127)]) + more + value.encode()

    block = b"".join(b"\x10" + text(name) + text(value) for name, value in fields.items())
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + bytes([SETTINGS]) + bytes(5)
    head = len(block).to_bytes(3, "big") + bytes([HEADERS, 4]) + (1).to_bytes(4, "big")
    host, port = address.split(":")
    with (
        socket.create_connection((host, int(port)), timeout=10) as connection,
        connection.makefile("rb") as answer,
    ):
        connection.sendall(preface + head + block)
        kind = -1
        while kind != RST_STREAM:
            frame = answer.read(9)
            kind, stream = frame[3], int.from_bytes(frame[5:9], "big")
            payload = answer.read(int.from_bytes(frame[:3], "big"))
            if stream:
                yield kind, payload


def test_largest_file_is_taken_and_one_byte_more_is_not(
    mesh: Gateway, ssp: str, tmp_path: Path
) -> None:
    file = tmp_path / "plan.json"
    file.write_bytes(plan(MAX_BYTES))
    assert curl(mesh, ssp, file, "--http1.1")[0] == 200
    file.write_bytes(plan(MAX_BYTES + 1))
    other = f"{ssp}-more"
    for options, status in ((("--http1.1",), 413), (("-H", "transfer-encoding: chunked"), 429)):
        found, error = curl(mesh, other, file, *options)
        assert (found, error["code"]) == (status, EXHAUSTED.value[0])
        assert error["details"][0]["reason"] == "BODY_TOO_LARGE"
    assert not stored(mesh, other)


@pytest.mark.parametrize("framing", ["content-length: 1000000", "transfer-encoding: chunked"])
def test_caller_who_leaves_half_way_stores_nothing(mesh: Gateway, ssp: str, framing: str) -> None:
    content = plan()  # whole by itself, were it not announced as part of more
    head = (
        f"POST {path_of(ssp)} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {mesh.token()}\r\n"
        f"{framing}\r\n\r\n"
    )
    part = content if "length" in framing else b"%x\r\n%s\r\n" % (len(content), content)
    host, port = mesh.address.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head.encode() + part)
        time.sleep(0.5)
    time.sleep(1)
    assert not stored(mesh, ssp)
    assert mesh.call("POST", path_of(ssp), content=content).status_code == 200


def test_cancelled_stream_stores_nothing(mesh: Gateway, ssp: str) -> None:
    with mesh.channel() as channel:

        def unfinished() -> Iterator[ssp_requests_pb2.UploadSspRequest]:
            yield from messages(ssp, plan())
            time.sleep(1)

        call = ComplianceServiceStub(channel).UploadSsp.future(unfinished(), metadata=mesh.bearer())
        time.sleep(0.3)
        call.cancel()
    time.sleep(1)
    assert not stored(mesh, ssp)


def test_who_may_not(mesh: Gateway, ssp: str) -> None:
    unknown = mesh.client.post(path_of(ssp), content=plan())
    assert_refused(unknown, grpc.StatusCode.UNAUTHENTICATED, "TOKEN_MISSING")
    viewer = mesh.call("POST", path_of(ssp), content=plan(), headers=as_role(mesh, "viewer"))
    assert_refused(viewer, grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_MISSING")
    elsewhere = path_of(ssp).replace("acme", "globex")
    other = mesh.call("POST", elsewhere, content=plan())
    assert_refused(other, grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")
    assert not stored(mesh, ssp)


@pytest.mark.parametrize("content", [b"", b"%PDF-1.7", b"{", b'{"a": 1}', b"\xff\xfe"], ids=repr)
def test_what_is_no_plan(mesh: Gateway, ssp: str, content: bytes) -> None:
    assert_refused(mesh.call("POST", path_of(ssp), content=content), INVALID, "SSP_INVALID")
    assert not stored(mesh, ssp)


@pytest.mark.parametrize(
    ("query", "field", "reason"),
    [
        ("more=1", "more", "PARAMETER_UNKNOWN"),
        ("baseline=x", "baseline", "TYPE_WRONG"),
        ("sspId=other", "sspId", "PARAMETER_MISPLACED"),
        ("file.contentType=x", "file.contentType", "PARAMETER_MISPLACED"),
    ],
)
def test_path_and_query_are_checked_as_strictly(
    mesh: Gateway, ssp: str, query: str, field: str, reason: str
) -> None:
    response = mesh.call("POST", f"{path_of(ssp)}?{query}", content=plan())
    assert_refused(response, INVALID, "BODY_INVALID")
    assert violations(response) == {field: reason}


def test_bodies_of_other_routes_are_read_as_before(mesh: Gateway) -> None:
    response = mesh.post(f"{SSPS}:import", {"sspId": "a", "document": "e30=", "file": {}})
    assert_refused(response, INVALID, "BODY_INVALID")
    assert violations(response) == {"file": "FIELD_UNKNOWN"}


def slow(mesh: Gateway, ssp: str, content: bytes) -> http.client.HTTPConnection:
    """Begin an upload that lacks its last byte."""
    host, port = mesh.address.split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=20)
    connection.putrequest("POST", path_of(ssp))
    connection.putheader("authorization", f"Bearer {mesh.token()}")
    connection.putheader("content-length", str(len(content)))
    connection.endheaders()
    connection.send(content[:-1])
    return connection


def kept_waiting(mesh: Gateway, ssp: str, content: bytes) -> str:
    """Send whole plans until one of them finds no place, and give the id of that one."""
    for number in range(60):  # until those that were begun have arrived, there is a place
        waiting = f"{ssp}-more-{number}"
        try:
            mesh.call("POST", path_of(waiting), content=content, timeout=1)
        except httpx.ReadTimeout:  # a busy machine may only have answered late
            if not stored(mesh, waiting):
                return waiting
    raise AssertionError("there was a place for each")


def test_slow_callers_hold_up_their_own_tenant_alone(mesh: Gateway, ssp: str) -> None:
    content = plan()
    begun = [slow(mesh, f"{ssp}-{number}", content) for number in range(PER_TENANT)]
    waiting = kept_waiting(mesh, ssp, content)
    elsewhere = path_of(ssp).replace("acme", "globex")
    others = {"authorization": f"Bearer {mesh.token('globex')}"}
    assert mesh.call("POST", elsewhere, content=content, headers=others).status_code == 200
    for connection in begun:
        connection.send(content[-1:])
        assert connection.getresponse().status == 200
        connection.close()
    assert not stored(mesh, waiting)
    assert mesh.call("POST", path_of(waiting), content=content).status_code == 200


def test_file_sent_with_an_api_key(mesh: Gateway, ssp: str) -> None:
    expiry = datetime.now(UTC) + timedelta(hours=1)
    statuses = []
    for role in ("viewer", "auditor"):
        key = mesh.api_keys.add(tenant="acme", roles=(role,), expire_time=expiry)
        headers = {"x-api-key": key.text()}
        statuses.append(mesh.client.post(path_of(ssp), content=plan(), headers=headers).status_code)
    assert statuses == [403, 200]
    assert stored(mesh, ssp)
