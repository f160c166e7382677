"""The admin port: metrics and health over plain HTTP, for whoever operates the process.

It answers in a thread of its own, so that it still answers when the event loop does not.
"""

import socket
import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from mesh.telemetry.prometheus import CONTENT_TYPE, enable_metrics, exposition

REQUEST_SECONDS = 10
"""Longest wait for a request that has begun."""
_PLAIN = "text/plain; charset=utf-8"
Probe = Callable[[], bool]
Reply = tuple[str, str, bytes]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    allow_reuse_port = False

    def server_bind(self) -> None:
        # The base class would ask a name server for the host's name.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()


class _ServerV6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = REQUEST_SECONDS

    def log_message(self, *_: Any) -> None:
        """Say nothing: probes come every few seconds."""


class AdminServer:
    """``/metrics``, ``/healthz`` (the event loop runs) and ``/readyz`` (calls are welcome)."""

    def __init__(self, host: str, port: int, *, alive: Probe, ready: Probe) -> None:
        """Listen at once. Raises OSError if the address cannot be had."""
        self._alive = alive
        self._ready = ready
        host = host.removeprefix("[").removesuffix("]")
        kind = _ServerV6 if ":" in host else _Server
        self._server = kind((host, port), _Handler)
        self._server.set_app(self._answer)
        shown = f"[{host}]" if ":" in host else host
        self.address = f"{shown}:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True
        )

    def start(self) -> None:
        """Answer from now on."""
        enable_metrics()
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            status, kind, body = "405 Method Not Allowed", _PLAIN, b"only GET\n"
        else:
            status, kind, body = self._page(environ["PATH_INFO"])
        start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]

    def _page(self, path: str) -> Reply:
        if path == "/metrics":
            return "200 OK", CONTENT_TYPE, exposition()
        if path == "/healthz":
            return _verdict(good=self._alive())
        if path == "/readyz":
            return _verdict(good=self._ready())
        return "404 Not Found", _PLAIN, b"there are /metrics, /healthz and /readyz\n"


def _verdict(*, good: bool) -> Reply:
    return ("200 OK", _PLAIN, b"ok\n") if good else ("503 Service Unavailable", _PLAIN, b"no\n")
