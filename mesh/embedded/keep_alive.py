"""A WSGI server in threads that keeps connections open, as AWS's endpoints do.

Werkzeug's own handler ends each connection after one answer, because it reads what is left of a
request until the client is silent. Here the body is read by its length before the application is
called, and each answer states its own.
"""

import contextlib
import io
import logging
import socket
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.test import run_wsgi_app

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

IDLE_SECONDS = 60
"""How long a connection without requests stays open."""
_NO_CONTENT = (204, 304)
_OF_THE_CONNECTION = ("connection", "transfer-encoding")
_LOG = logging.getLogger(__name__)


class KeepAliveHandler(WSGIRequestHandler):
    """Answers the requests of one connection, one after the other."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    # Head and content leave in one packet, which waits for no other.
    wbufsize = -1
    disable_nagle_algorithm = True

    def handle_expect_100(self) -> bool:
        """Let the client send the body now."""
        granted = super().handle_expect_100()
        self.wfile.flush()
        return granted

    def run_wsgi(self) -> None:
        """Answer one request."""
        self.environ = environ = self.make_environ()
        chunked = bool(environ.get("wsgi.input_terminated"))
        length = -1 if chunked else int(environ.get("CONTENT_LENGTH") or 0)
        body: bytes = environ["wsgi.input"].read(length)
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        try:
            chunks, status, headers = run_wsgi_app(self.server.app, environ, buffered=True)
            content = b"".join(chunks)
        except Exception:  # noqa: BLE001  # whatever it was, the client is answered
            _LOG.exception("a request failed")
            self._answer("500 INTERNAL SERVER ERROR", (), b"")
            return
        self._answer(status, headers, content)

    def _answer(self, status: str, headers: Iterable[tuple[str, str]], content: bytes) -> None:
        code, _, phrase = status.partition(" ")
        self.send_response(int(code), phrase)
        named = set()
        for name, value in headers:
            if name.lower() not in _OF_THE_CONNECTION:
                self.send_header(name, value)
                named.add(name.lower())
        if "content-length" not in named and int(code) not in _NO_CONTENT:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Stay silent: faults are counted elsewhere."""


class KeepAliveServer(ThreadedWSGIServer):
    """One thread for each connection; ends them when it ends."""

    def __init__(self, host: str, port: int, application: "WSGIApplication") -> None:
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(host, port, application, handler=KeepAliveHandler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Take a connection."""
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Give a connection up."""
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Take no more connections and end those that are open."""
        super().server_close()
        with self._lock:
            left = list(self._open)
        for connection in left:
            # The client may have left in this moment.
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
