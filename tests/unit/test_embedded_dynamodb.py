"""The layer that makes DynamoDB of the embedded endpoint atomic."""

import io
import json
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from mesh.embedded.aws_dynamodb import TOKEN_SECONDS, OneAtATime

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class Application:
    """Counts how many calls it has at a time, and how many it ever had."""

    def __init__(self, status: str = "200 OK") -> None:
        self.status = status
        self.now = self.most = self.calls = 0
        self.bodies: list[bytes] = []

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        self.now += 1
        self.most = max(self.most, self.now)
        self.bodies.append(environ["wsgi.input"].read())
        time.sleep(0.005)
        start_response(self.status, [])
        self.calls += 1
        self.now -= 1
        return [b"{", b"}"]


def call(layer: OneAtATime, operation: str, body: Any = None, key: str = "a") -> tuple[str, bytes]:
    raw = json.dumps(body or {}).encode()
    environ = {
        "HTTP_X_AMZ_TARGET": operation,
        "HTTP_AUTHORIZATION": f"AWS4-HMAC-SHA256 Credential={key}/20261122/eu-west-1/dynamodb/x",
        "CONTENT_LENGTH": str(len(raw)),
        "wsgi.input": io.BytesIO(raw),
    }
    statuses: list[str] = []

    def start_response(status: str, _headers: Any, _error: Any = None) -> Any:
        statuses.append(status)

    answer = b"".join(layer(environ, start_response))
    return statuses[-1], answer


def at_once(layer: OneAtATime, operation: str) -> None:
    threads = [threading.Thread(target=call, args=(layer, operation)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_calls_of_dynamodb_come_one_by_one() -> None:
    application = Application()
    at_once(OneAtATime(application), "DynamoDB_20120810.PutItem")
    assert (application.most, application.calls) == (1, 6)


def test_other_calls_come_as_they_like() -> None:
    application = Application()
    layer = OneAtATime(application)
    with layer._lock:
        assert call(layer, "secretsmanager.GetSecretValue")[0] == "200 OK"


TRANSACT = "DynamoDB_20120810.TransactWriteItems"


def test_a_transaction_with_a_token_is_done_once() -> None:
    application = Application()
    moment = 0.0
    layer = OneAtATime(application, lambda: moment)
    body = {"TransactItems": [1], "ClientRequestToken": "t"}
    assert [call(layer, TRANSACT, body) for _ in range(3)] == [("200 OK", b"{}")] * 3
    assert application.bodies == [json.dumps(body).encode()]
    status, answer = call(layer, TRANSACT, {**body, "TransactItems": [2]})
    assert status == "400 Bad Request"
    assert json.loads(answer)["__type"] == "IdempotentParameterMismatchException"
    # Of another account, with another token, or later, it is another one.
    call(layer, TRANSACT, body, key="b")
    call(layer, TRANSACT, {**body, "ClientRequestToken": "u"})
    moment = TOKEN_SECONDS
    call(layer, TRANSACT, body)
    assert application.calls == 4


def test_a_failed_transaction_is_not_remembered() -> None:
    application = Application("400 Bad Request")
    layer = OneAtATime(application)
    for _ in range(2):
        call(layer, TRANSACT, {"ClientRequestToken": "t"})
    assert application.calls == 2


def test_a_transaction_without_a_token_is_done_each_time() -> None:
    application = Application()
    layer = OneAtATime(application)
    for _ in range(2):
        call(layer, TRANSACT, {"TransactItems": [1]})
    assert application.calls == 2
