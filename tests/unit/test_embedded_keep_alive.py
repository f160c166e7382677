"""The embedded endpoint's connections: kept open, never out of step, ended with the server."""

import http.client
import socket
import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import pytest

from mesh.embedded.keep_alive import KeepAliveServer

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

HOST = "127.0.0.1"
SECONDS = 5


def application(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    """Answer with what was asked; reads the body only if the path says so."""
    path = environ["PATH_INFO"]
    if path == "/broken":
        raise ValueError("as asked")
    body: bytes = environ["wsgi.input"].read() if path == "/read" else b"unread"
    start_response("204 No Content" if path == "/empty" else "200 OK", [])
    return [] if path == "/empty" else [environ["REQUEST_METHOD"].encode(), b" ", body]


@pytest.fixture
def server() -> Iterator[KeepAliveServer]:
    found = KeepAliveServer(HOST, 0, application)
    serving = threading.Thread(target=found.serve_forever)
    serving.start()
    yield found
    found.shutdown()
    serving.join()


@pytest.fixture
def connection(server: KeepAliveServer) -> Iterator[http.client.HTTPConnection]:
    found = http.client.HTTPConnection(HOST, server.server_port, timeout=SECONDS)
    yield found
    found.close()


def asked(
    connection: http.client.HTTPConnection, method: str, path: str, **more: object
) -> tuple[int, bytes]:
    connection.request(method, path, **more)  # type: ignore[arg-type]  # body, headers, chunks
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_one_connection_carries_many_requests_whatever_their_bodies(
    connection: http.client.HTTPConnection,
) -> None:
    connection.connect()
    first = connection.sock
    assert asked(connection, "POST", "/unread", body=b"a" * 100_000) == (200, b"POST unread")
    assert asked(connection, "POST", "/read", body=b"abc") == (200, b"POST abc")
    chunks = iter([b"ab", b"cd"])
    assert asked(connection, "PUT", "/read", body=chunks, encode_chunked=True) == (200, b"PUT abcd")
    assert asked(connection, "HEAD", "/read") == (200, b"")
    assert asked(connection, "DELETE", "/empty") == (204, b"")
    assert asked(connection, "GET", "/broken")[0] == 500
    assert asked(connection, "GET", "/read") == (200, b"GET ")
    assert connection.sock is first


def test_a_body_is_asked_for_before_it_is_sent(server: KeepAliveServer) -> None:
    head = b"PUT /read HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    with socket.create_connection((HOST, server.server_port), SECONDS) as client:
        client.sendall(head)
        assert client.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"abc")
        answer = client.recv(1000)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\nPUT abc")


def test_a_client_may_close(connection: http.client.HTTPConnection) -> None:
    assert asked(connection, "GET", "/read", headers={"Connection": "close"}) == (200, b"GET ")
    assert connection.sock is None or connection.sock.recv(1) == b""


def test_connections_end_with_the_server() -> None:
    server = KeepAliveServer(HOST, 0, application)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    idle = http.client.HTTPConnection(HOST, server.server_port, timeout=SECONDS)
    assert asked(idle, "GET", "/read") == (200, b"GET ")
    server.shutdown()
    serving.join()
    assert idle.sock.recv(1) == b""
    idle.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, server.server_port), SECONDS)
