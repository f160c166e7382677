"""DynamoDB of the AWS endpoint on this machine, one call at a time.

Moto has no lock: two transactions at once may both find their conditions fulfilled. It
does not know the tokens of transactions either, by which a repeated one is done once.
"""

import hashlib
import io
import json
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

TOKEN_SECONDS = 600.0
"""How long DynamoDB remembers the token of a transaction."""
_TARGET = "DynamoDB_20120810."
_TRANSACTION = _TARGET + "TransactWriteItems"
_JSON = "application/x-amz-json-1.0"
_MISMATCH = "IdempotentParameterMismatchException"


class OneAtATime:
    """WSGI application that lets calls of DynamoDB in one by one, and others as they come."""

    def __init__(
        self, application: "WSGIApplication", now: Callable[[], float] = time.monotonic
    ) -> None:
        self._application = application
        self._now = now
        self._lock = threading.Lock()
        self._done: dict[tuple[str, str], tuple[float, bytes]] = {}
        """When a transaction was done, and the digest of it, by account and token."""

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        if not target.startswith(_TARGET):
            return self._application(environ, start_response)
        with self._lock:
            if target == _TRANSACTION:
                return self._transact(environ, start_response)
            return [b"".join(self._application(environ, start_response))]

    def _transact(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        request: dict[str, Any] = json.loads(body)
        token = request.get("ClientRequestToken")
        if token is None:
            return [b"".join(self._application(environ, start_response))]
        key = (_scope(environ), token)
        digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).digest()
        made, done = self._done.get(key, (0.0, b""))
        if done and self._now() < made + TOKEN_SECONDS:
            return _answer(start_response, repeated=done == digest)
        statuses: list[str] = []

        def remembering(status: str, headers: Any, *rest: Any) -> Any:
            statuses.append(status)
            return start_response(status, headers, *rest)

        answer = b"".join(self._application(environ, remembering))
        if statuses[-1].startswith("200"):
            self._done[key] = (self._now(), digest)
        return [answer]


def _scope(environ: "WSGIEnvironment") -> str:
    """Give key id and region of a signed request: tokens of others are not ours."""
    credential = environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2]
    key, _, rest = credential.partition("/")
    return f"{key}/{rest.partition('/')[2].partition('/')[0]}"


def _answer(start_response: "StartResponse", *, repeated: bool) -> Iterable[bytes]:
    status = "200 OK" if repeated else "400 Bad Request"
    body = b"{}" if repeated else json.dumps({"__type": _MISMATCH, "message": ""}).encode()
    start_response(status, [("Content-Type", _JSON), ("Content-Length", str(len(body)))])
    return [body]
