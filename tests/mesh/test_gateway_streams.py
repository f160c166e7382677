"""Streams over REST: events or lines as asked for, and an end that cannot be mistaken."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import grpc
import httpx
import pytest

from secmesh.inventory.v1 import sync_service_pb2
from secmesh.inventory.v1.sync_service_pb2_grpc import SyncServiceStub
from tests.mesh.gateway_fixtures import Gateway, assert_refused, process, running_gateway
from tests.mesh.grpc_web import BINARY, frame, frames
from tests.mesh.upstream import ENDLESS, Journal

WATCH = "/secmesh.inventory.v1.SyncService/WatchSync"
ROOT = "/inventory/v1/tenants/acme"
EVENTS = {"accept": "text/event-stream"}
FORMS = pytest.mark.parametrize("headers", [{}, EVENTS], ids=["lines", "events"])


def events(text: str) -> list[dict[str, object]]:
    """Read server-sent events of one line of data each."""
    blocks = text.split("\n\n")
    assert blocks.pop() == ""
    assert all(block.startswith("data: ") for block in blocks), text
    return [json.loads(block.removeprefix("data: ")) for block in blocks]


@pytest.mark.parametrize(
    "accept",
    ["text/event-stream", "Text/Event-Stream", "text/event-stream, application/json;q=0.5"],
)
def test_events_for_who_asks(gateway: Gateway, journal: Journal, accept: str) -> None:
    response = gateway.get(f"{ROOT}/syncs/one:watch", headers={"accept": accept})
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/event-stream"
    found = events(response.text)
    assert [sorted(event) for event in found] == [["sync"]] * 3 + [["ended"]]
    assert found[3]["ended"] == {"message": "complete"}
    assert journal.last.request.name == "tenants/acme/syncs/one"
    assert journal.last.seconds == pytest.approx(3602, abs=2)


def test_lines_for_who_does_not(gateway: Gateway) -> None:
    for accept in ("*/*", "application/json", "text/event"):
        response = gateway.get(f"{ROOT}/syncs/one:watch", headers={"accept": accept})
        assert len([json.loads(line) for line in response.text.splitlines()]) == 4


def test_events_of_a_stream_with_a_body(gateway: Gateway, journal: Journal) -> None:
    body = {"maxAge": "3.5s"}
    response = gateway.post(f"{ROOT}/ssps/plan:evaluate", body, headers=EVENTS)
    assert (response.status_code, response.text) == (200, "")
    assert journal.last.request.max_age.ToMilliseconds() == 3500


def test_answer_that_is_no_stream_stays_json(gateway: Gateway) -> None:
    response = gateway.get(f"{ROOT}/iam_users/one", headers=EVENTS)
    assert response.headers["content-type"] == "application/json"
    assert response.json()["name"] == "tenants/acme/iam_users/one"


def test_events_are_refused_as_everything_else(gateway: Gateway, journal: Journal) -> None:
    path = f"{ROOT}/syncs/one:watch"
    stranger = gateway.client.get(path, headers=EVENTS)
    assert_refused(stranger, grpc.StatusCode.UNAUTHENTICATED, "TOKEN_MISSING")
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    assert_refused(gateway.get(f"{path}?colour=red", headers=EVENTS), invalid, "BODY_INVALID")
    unknown = gateway.post(f"{ROOT}/ssps/plan:evaluate", {"colour": "red"}, headers=EVENTS)
    assert_refused(unknown, invalid, "BODY_INVALID")
    assert journal.calls == []
    missing = gateway.get(f"{ROOT}/syncs/missing:watch", headers=EVENTS)
    assert_refused(missing, grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND")


def test_trailers_over_http_1(gateway: Gateway) -> None:
    request = (
        f"GET {ROOT}/syncs/one:watch HTTP/1.1\r\nHost: secmesh\r\nTE: trailers\r\n"
        f"Authorization: Bearer {gateway.token()}\r\nConnection: close, TE\r\n\r\n"
    )
    _, _, end = gateway.bytes_of(request.encode()).rpartition(b"\r\n0\r\n")
    assert b"grpc-status: 0\r\n" in end


class Mortal:
    """A service in a process of its own, and the gateway before it."""

    def __init__(self, gateway: Gateway, service: "subprocess.Popen[str]") -> None:
        self.gateway = gateway
        self.kill = service.kill


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Mortal]:
    command = [sys.executable, "-m", "tests.mesh.upstream"]
    with process(command, tmp_path / "service.log") as service:
        assert service.stdout is not None
        address = service.stdout.readline().strip()
        assert address, (tmp_path / "service.log").read_text()
        with running_gateway({"inventory": address}, tmp_path) as gateway:
            yield Mortal(gateway, service)
        assert service.wait(10) == -signal.SIGKILL


@FORMS
def test_stream_that_breaks_has_no_end(mortal: Mortal, headers: dict[str, str]) -> None:
    gateway = mortal.gateway
    token = {"authorization": f"Bearer {gateway.token()}"}
    read = ""
    broken = False
    with gateway.client.stream(
        "GET", f"{ROOT}/syncs{ENDLESS}:watch", headers={**token, **headers}
    ) as response:
        assert response.status_code == 200
        chunks = response.iter_text()
        while read.count('"sync"') < 3:
            read += next(chunks)
        mortal.kill()
        try:
            read += "".join(chunks)
        except httpx.RemoteProtocolError:
            broken = True
    assert read.count('"sync"') == 3
    assert "ended" not in read
    assert broken


def test_stream_that_breaks_over_grpc_web(mortal: Mortal) -> None:
    gateway = mortal.gateway
    request = sync_service_pb2.WatchSyncRequest(name=f"tenants/acme/syncs{ENDLESS}")
    headers = {"authorization": f"Bearer {gateway.token()}", "content-type": BINARY}
    read = b""
    broken = False
    with gateway.client.stream("POST", WATCH, content=frame(request), headers=headers) as response:
        assert response.status_code == 200
        chunks = response.iter_raw()
        while len(list(frames(read))) < 3:
            read += next(chunks)
        mortal.kill()
        try:
            read += b"".join(chunks)
        except httpx.RemoteProtocolError:
            broken = True
    assert broken
    assert [kind for kind, _ in frames(read)] == [0] * 3  # no frame of trailers: no status


def test_service_that_dies_during_an_upload(mortal: Mortal) -> None:
    def parts() -> Iterator[bytes]:
        yield b"{" + b" " * 100_000
        mortal.kill()
        yield b" " * 100_000

    response = mortal.gateway.call("POST", f"{ROOT}/ssps/plan:upload", content=parts())
    assert_refused(response, grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")


def test_stream_that_breaks_over_grpc(mortal: Mortal) -> None:
    request = sync_service_pb2.WatchSyncRequest(name=f"tenants/acme/syncs{ENDLESS}")
    found: list[sync_service_pb2.WatchSyncResponse] = []
    with mortal.gateway.channel() as channel:
        stream = SyncServiceStub(channel).WatchSync(request, metadata=mortal.gateway.bearer())
        found.extend(next(stream) for _ in range(3))
        mortal.kill()
        with pytest.raises(grpc.RpcError) as caught:
            next(stream)
    broken = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE)  # as the socket ended
    assert cast("grpc.Call", caught.value).code() in broken
    assert {event.WhichOneof("event") for event in found} == {"sync"}
