"""One request and its answer over an open connection, HTTP/1.1 (RFC 9112)."""

import re
import select
import socket
from collections.abc import Mapping
from typing import Final

from httptools import HttpParserError, HttpResponseParser

_CHUNK = 16 * 1024
_MAX_HEADERS = 256
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f]")
"""In a target; botocore has them escaped."""
_SPLITTING = re.compile(r"[\x00\r\n]")
"""In a header: what follows would be another."""
_OK = 200


class ExchangeBroken(Exception):
    """The other side closed the connection too early, or what came is no HTTP."""


class Received:
    """An answer as it arrives; llhttp's parser calls the methods."""

    def __init__(self, *, bodiless: bool) -> None:
        """``bodiless``: an answer to HEAD, which has the headers of a body that does not come."""
        self.status = 0
        self.headers: dict[str, str] = {}
        self.whole = False
        """Whether nothing of it is missing."""
        self.reusable = False
        """Whether the connection takes another request."""
        self._bodiless: Final = bodiless
        self._parts: list[bytes] = []
        self._begun = False
        self._parser: HttpResponseParser | None = HttpResponseParser(self)

    @property
    def content(self) -> bytes:
        return b"".join(self._parts)

    def feed(self, data: bytes) -> None:
        """Take what came, nothing at the end of the connection. Raises ExchangeBroken."""
        if not data:
            self._end()
            return
        if (parser := self._parser) is None:
            raise ExchangeBroken("more came after the answer")
        try:
            parser.feed_data(data)
        except HttpParserError as error:
            raise ExchangeBroken(f"no answer of HTTP: {error}") from error
        if self.whole:
            # Each holds the other: thousands would lie about until garbage is looked for.
            self._parser = None

    def on_message_begin(self) -> None:
        """Begin; what comes behind a whole answer belongs to none of ours."""
        if self.whole:
            self.reusable = False
            raise ExchangeBroken("more than one answer came")
        self.headers, self._begun = {}, False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; several of one name are a list (RFC 9110, 5.3)."""
        if len(self.headers) >= _MAX_HEADERS:
            raise ExchangeBroken("too many headers")
        key, text = name.decode("latin-1").lower(), value.decode("latin-1").strip()
        self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        """Take the status; an answer to HEAD is whole by it."""
        if self._parser is not None:
            self.status, self._begun = self._parser.get_status_code(), True
        if self._bodiless and self.status >= _OK:
            self._complete()

    def on_body(self, part: bytes) -> None:
        """Take a part of the body."""
        self._parts.append(part)

    def on_message_complete(self) -> None:
        """End, unless this was but a word in between (100 Continue)."""
        if self.status >= _OK:
            self._complete()

    def _complete(self) -> None:
        self.whole = True
        self.reusable = self._parser is not None and self._parser.should_keep_alive()

    def _end(self) -> None:
        """End a body that has no length: it ends with the connection."""
        framed = "content-length" in self.headers or "transfer-encoding" in self.headers
        if not self._begun or framed or self.status < _OK:
            raise ExchangeBroken("the connection was closed before the answer was whole")
        self.whole = True


class Connection:
    """An open connection; one thread at a time may use it."""

    def __init__(self, connected: socket.socket, host: str) -> None:
        """``host`` as a URL has it, with its port if that is not the usual one."""
        self._connected = connected
        self._host = host
        self.is_open = True

    def exchange(
        self, method: str, target: str, headers: Mapping[str, object], body: bytes
    ) -> Received:
        """Send a request and give its answer. Raises OSError, ExchangeBroken or ValueError."""
        received = Received(bodiless=method == "HEAD")
        try:
            self._connected.sendall(head(method, target, self._host, headers, body) + body)
            while not received.whole:
                received.feed(self._connected.recv(_CHUNK))
        finally:
            if not received.reusable:
                self.close()
        return received

    def is_quiet(self) -> bool:
        """Tell whether nothing came unasked: neither the end nor a stray answer."""
        waiting = select.poll()
        waiting.register(self._connected, select.POLLIN)
        return not waiting.poll(0)

    def close(self) -> None:
        """Close it; it is used no more."""
        self.is_open = False
        self._connected.close()


def head(method: str, target: str, host: str, headers: Mapping[str, object], body: bytes) -> bytes:
    """Write what comes before the body. Raises ValueError for what would break out of its line."""
    if _FORBIDDEN.search(target):
        raise ValueError("a target with blanks or control characters")
    # Ours stand first: a header that is given takes the place of its default.
    written = {"host": f"Host: {host}", "accept-encoding": "Accept-Encoding: identity"}
    if body or method == "POST":
        written["content-length"] = f"Content-Length: {len(body)}"
    for name, value in headers.items():
        text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
        line = f"{name}: {text}"
        if _SPLITTING.search(line):
            raise ValueError(f"the header {name!r} has more than one line")
        written[name.lower()] = line
    return "\r\n".join((f"{method} {target} HTTP/1.1", *written.values(), "\r\n")).encode("latin-1")
