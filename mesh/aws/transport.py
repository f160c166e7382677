"""HTTP for botocore's requests, over connections that are kept.

botocore sends by urllib3, made for far more than requests that are in memory whole and answers
that are read at once. Such are sent here, for a third of the CPU. What fails has the error that
botocore raises for it, so that its retries are the same.
"""

import os
import socket
import ssl
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import (
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
    SSLError,
)
from botocore.httpsession import get_cert_path
from botocore.session import Session

from mesh.aws.exchange import Connection, ExchangeBroken, Received

_METHODS = frozenset({"GET", "HEAD", "POST"})
_CHUNKED, _CONTINUE = "Transfer-Encoding", "Expect"


class Transport:
    """Sends the requests of one account; threads may share it."""

    def __init__(
        self,
        trusted: Callable[[], ssl.SSLContext],
        *,
        connect_timeout: float,
        read_timeout: float,
        idle: int,
    ) -> None:
        """``trusted`` is asked when TLS is first needed; timeouts are seconds.

        At most ``idle`` connections wait for their next request.
        """
        self._trusted = trusted
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._idle: deque[tuple[str, Connection]] = deque()
        self._longest = idle
        self.close = weakref.finalize(self, _close, self._idle)
        """Closes the connections that wait, also when nobody has the transport any more."""
        self._lock = threading.Lock()
        self._context: ssl.SSLContext | None = None

    def send(self, request: AWSPreparedRequest) -> AWSResponse | None:
        """Send a request; None leaves it to botocore. Raises botocore's HTTPClientError."""
        return self.exchange(request) if takes(request) else None

    def exchange(self, request: AWSPreparedRequest) -> AWSResponse:
        """Send a request that ``takes`` accepts. Raises botocore's HTTPClientError."""
        scheme, _sep, rest = request.url.partition("://")
        host, _slash, path = rest.partition("/")
        origin = f"{scheme}://{host}"
        connection = self._kept(origin) or self._opened(origin, host)
        given: Any = request.body or b""
        body = given.encode() if isinstance(given, str) else given
        headers: Any = request.headers
        try:
            answer = connection.exchange(request.method, f"/{path}", headers, body)
        except TimeoutError as error:
            raise ReadTimeoutError(endpoint_url=request.url, error=error) from error
        except (ExchangeBroken, OSError) as error:
            raise ConnectionClosedError(
                endpoint_url=request.url, error=error, request=request
            ) from error
        if connection.is_open:
            self._keep(origin, connection)
        return _Answer(request.url, answer)

    def _kept(self, origin: str) -> Connection | None:
        """Take the connection to an origin that was used last, if it is still open."""
        while True:
            with self._lock:
                place = next(
                    (n for n in reversed(range(len(self._idle))) if self._idle[n][0] == origin),
                    None,
                )
                if place is None:
                    return None
                connection = self._idle[place][1]
                del self._idle[place]
            if connection.is_quiet():
                return connection
            connection.close()

    def _keep(self, origin: str, connection: Connection) -> None:
        oldest = None
        with self._lock:
            self._idle.append((origin, connection))
            if len(self._idle) > self._longest:
                oldest = self._idle.popleft()[1]
        if oldest is not None:
            oldest.close()

    def _opened(self, origin: str, host: str) -> Connection:
        parts = urlsplit(origin)
        secure = parts.scheme == "https"
        name, port = parts.hostname or "", parts.port or (443 if secure else 80)
        try:
            connected = socket.create_connection((name, port), self._connect_timeout)
            # Requests are written at once; waiting for more would only delay them.
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if secure:
                connected = self._tls().wrap_socket(connected, server_hostname=name)
        except TimeoutError as error:
            raise ConnectTimeoutError(endpoint_url=origin, error=error) from error
        except ssl.SSLError as error:
            raise SSLError(endpoint_url=origin, error=error) from error
        except OSError as error:
            raise EndpointConnectionError(endpoint_url=origin, error=error) from error
        connected.settimeout(self._read_timeout)
        return Connection(connected, host)

    def _tls(self) -> ssl.SSLContext:
        with self._lock:
            if self._context is None:
                # Reading the certificates of all authorities takes a while.
                self._context = self._trusted()
            return self._context


def trusted_by(session: Session) -> ssl.SSLContext:
    """Give TLS with the authorities that a session trusts, by default those of botocore."""
    named = session.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
    return ssl.create_default_context(cafile=named or get_cert_path(verify=True))


def _close(idle: deque[tuple[str, Connection]]) -> None:
    while idle:
        idle.popleft()[1].close()


class _Headers(dict[str, str]):
    """Headers of an answer, whose names are in lower case; they are found by any."""

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(name.lower())

    def get(self, name: str, default: Any = None) -> Any:
        """Give a header, or the default."""
        return super().get(name.lower(), default)


class _Content:
    """A body that was read, as AWSResponse asks for it."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self) -> Iterator[bytes]:
        yield self._content


class _Answer(AWSResponse):
    """An answer that was read whole."""

    def __init__(self, url: str, received: Received) -> None:
        headers: Any = _Headers(received.headers)
        self.url = url
        self.status_code = received.status
        self.headers = headers
        self.raw = _Content(received.content)
        self._content = None


def takes(request: Any) -> bool:
    """Tell whether a request is in memory whole and so is its answer."""
    host, slash, _path = request.url.partition("://")[2].partition("/")
    return (
        request.method in _METHODS
        and bool(slash)
        and "?" not in host
        and not request.stream_output
        and (request.body is None or isinstance(request.body, (bytes, str)))
        and _CHUNKED not in request.headers
        and _CONTINUE not in request.headers
    )
