"""Connections to AWS: kept, renewed, trusted, and failing as botocore expects."""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.awsrequest import AWSPreparedRequest, HeadersDict
from botocore.exceptions import (
    ConnectionClosedError,
    EndpointConnectionError,
    HTTPClientError,
    ReadTimeoutError,
    SSLError,
)

from mesh.aws.accounts import Access, Account
from mesh.aws.models import new_session
from mesh.aws.pace import Paces
from mesh.aws.transport import Transport, trusted_by
from tests.certificates import Authority

SECONDS = 20.0


class World(ThreadingHTTPServer):
    """A server that counts connections; ``answer`` writes what a path is answered."""

    daemon_threads = True

    def __init__(self) -> None:
        self.connections = 0
        self.answer: Callable[[Any], None] = lambda handler: handler.reply(handler.path.encode())
        super().__init__(("127.0.0.1", 0), Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections += 1
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of callers that go away."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: World

    def reply(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.answer(self)

    do_POST = do_HEAD = do_GET  # noqa: N815  # the base class's names

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def serving(world: World) -> Iterator[World]:
    thread = threading.Thread(target=world.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield world
    finally:
        world.shutdown()
        world.server_close()
        thread.join()


@pytest.fixture
def world() -> Iterator[World]:
    with serving(World()) as found:
        yield found


@pytest.fixture
def transport() -> Iterator[Transport]:
    found = made()
    yield found
    found.close()


def made(
    trusted: Callable[[], ssl.SSLContext] = ssl.create_default_context,
    *,
    read_timeout: float = SECONDS,
    idle: int = 8,
) -> Transport:
    return Transport(trusted, connect_timeout=SECONDS, read_timeout=read_timeout, idle=idle)


def request(
    url: str, method: str = "GET", body: Any = None, *, stream: bool = False, **headers: str
) -> Any:
    sent: Any = HeadersDict(headers)
    return AWSPreparedRequest(method, url, sent, body, stream)


def test_a_connection_is_used_again(world: World, transport: Transport) -> None:
    for method in ("GET", "POST", "HEAD", "GET"):
        answer = transport.send(request(f"{world.url}/a?b=c", method, b"x" * 9))
        assert answer is not None
        assert (answer.status_code, answer.content) == (
            200,
            b"" if method == "HEAD" else b"/a?b=c",
        )
        assert answer.headers["content-length"] == answer.headers["Content-Length"] == "6"
    assert world.connections == 1


def test_a_connection_that_was_closed_meanwhile_is_renewed(
    world: World, transport: Transport
) -> None:
    def last(handler: Any) -> None:
        handler.reply(b"last")
        handler.close_connection = True

    world.answer = last
    transport.send(request(f"{world.url}/"))
    waiting = transport._idle[0][1]
    deadline = threading.Event()
    while waiting.is_quiet() and not deadline.wait(0.005):
        pass  # until the end of the connection has arrived
    answer = transport.send(request(f"{world.url}/"))
    assert answer is not None
    assert answer.content == b"last"
    assert world.connections == 2


def test_no_more_connections_wait_than_are_allowed() -> None:
    transport = made(idle=1)
    with serving(World()) as first, serving(World()) as second:
        for each in (first, second, second, first):
            transport.send(request(f"{each.url}/"))
        assert (first.connections, second.connections) == (2, 1)
        transport.close()


def test_requests_at_once_have_their_own_connections(world: World, transport: Transport) -> None:
    both = threading.Barrier(2, timeout=SECONDS)

    def together(handler: Any) -> None:
        both.wait()
        handler.reply(handler.path.encode())

    world.answer = together
    found: dict[str, Any] = {}

    def ask(path: str) -> None:
        found[path] = transport.send(request(world.url + path))

    threads = [threading.Thread(target=ask, args=(path,)) for path in ("/1", "/2")]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert {path: answer.content for path, answer in found.items()} == {"/1": b"/1", "/2": b"/2"}
    assert world.connections == 2


def test_failures_are_those_that_botocore_repeats(world: World) -> None:
    def cut_short(handler: Any) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal")
        handler.close_connection = True

    def strange(handler: Any) -> None:
        handler.wfile.write(b"no answer\r\n\r\n")

    released = threading.Event()

    def late(_handler: Any) -> None:
        released.wait(SECONDS)

    failures: tuple[tuple[Callable[[Any], None], type[HTTPClientError]], ...] = (
        (cut_short, ConnectionClosedError),
        (strange, ConnectionClosedError),
        (late, ReadTimeoutError),
    )
    for answer, error in failures:
        world.answer = answer
        with pytest.raises(error):
            made(read_timeout=0.3).send(request(f"{world.url}/"))
    released.set()


def test_nobody_there() -> None:
    with serving(World()) as gone:
        pass
    with pytest.raises(EndpointConnectionError):
        made().send(request(f"{gone.url}/"))


@pytest.mark.parametrize(
    "left",
    [
        request("http://127.0.0.1:1/", "PUT"),
        request("http://127.0.0.1:1/", body=iter([b"a"])),
        request("http://127.0.0.1:1/", Expect="100-continue"),
        request("http://127.0.0.1:1?a=b"),
        request("http://127.0.0.1:1/", stream=True),
    ],
)
def test_what_is_not_in_memory_whole_is_left_to_botocore(left: Any) -> None:
    assert made().send(left) is None


def test_only_hosts_with_a_trusted_certificate_are_talked_to(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    world = World()
    pair = authority.issue("server", host="127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    world.socket = context.wrap_socket(world.socket, server_side=True)
    url = world.url.replace("http:", "https:")
    session = botocore.session.Session()
    session.set_config_variable("ca_bundle", str(authority.file))
    with serving(world):
        trusting = made(partial(trusted_by, session))
        answer = trusting.send(request(f"{url}/a"))
        assert answer is not None
        assert answer.content == b"/a"
        trusting.close()
        # By default the public authorities are trusted, and a name must be the one asked for.
        for doubtful, where in (
            (made(partial(trusted_by, botocore.session.Session())), url),
            (made(partial(trusted_by, session)), url.replace("127.0.0.1", "localhost")),
        ):
            with pytest.raises(SSLError):
                doubtful.send(request(f"{where}/"))


def test_a_proxy_is_left_to_botocore(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setenv("http_proxy", world.url)
    monkeypatch.delenv("no_proxy", raising=False)
    asked = []

    def by_proxy(handler: Any) -> None:
        asked.append(handler.path)
        handler.reply(b"{}")

    world.answer = by_proxy
    access = Access("us-east-1", "http://aws.invalid", frozenset({"kms:ListKeys"}))
    account = Account(
        "1" * 12, "aws", access, new_session(access.operations), Paces(share=access.share)
    )
    client: Any = account.client("kms", "us-east-1")
    client.list_keys()
    assert asked == ["http://aws.invalid/"]
    client.close()
