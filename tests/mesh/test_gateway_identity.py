"""Who may pass the gateway, and what it says of the caller to the services."""

import base64
import json
import time
from datetime import timedelta
from typing import Any

import grpc
import httpx
import jwt
import pytest

from mesh.identity.keys import AUDIENCE, ISSUER, JWKS_FILE, KEY_FILE, create_signing_key
from tests.mesh.gateway_fixtures import Gateway, assert_one_form, assert_refused
from tests.mesh.upstream import Journal

KINDS = "/inventory/v1/kinds"
UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
EVIL = {"x-tenant": "evil", "x-subject": "root", "x-envoy-original-path": "/evil"}


def forged(gateway: Gateway, **changes: Any) -> str:
    """Sign a token with the gateway's own key, with other claims; None leaves a claim out."""
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "tenant": "acme", "exp": now + 60}
    claims = {name: value for name, value in {**claims, **changes}.items() if value is not None}
    kid = json.loads((gateway.keys / JWKS_FILE).read_text())["keys"][0]["kid"]
    key = (gateway.keys / KEY_FILE).read_bytes()
    return jwt.encode(claims, key, "ES256", headers={"kid": kid})


def unsigned(token: str) -> str:
    header = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    return f"{header}.{token.split('.')[1]}."


def bearing(gateway: Gateway, authorization: str | None, path: str = KINDS) -> httpx.Response:
    headers = {} if authorization is None else {"authorization": authorization}
    return gateway.client.get(path, headers=headers)


def test_no_token(gateway: Gateway, journal: Journal) -> None:
    assert_refused(bearing(gateway, None), UNAUTHENTICATED, "TOKEN_MISSING")
    assert_refused(bearing(gateway, "Basic YTpi"), UNAUTHENTICATED, "TOKEN_MISSING")
    assert_refused(bearing(gateway, None, "/nothing"), UNAUTHENTICATED, "TOKEN_MISSING")
    in_query = f"{KINDS}?access_token={gateway.token()}"
    assert_refused(bearing(gateway, None, in_query), UNAUTHENTICATED, "TOKEN_MISSING")
    assert journal.calls == []


def test_expired_token(gateway: Gateway, journal: Journal) -> None:
    old = gateway.token(lifetime=timedelta(minutes=-1))
    assert_refused(bearing(gateway, f"Bearer {old}"), UNAUTHENTICATED, "TOKEN_EXPIRED")
    assert journal.calls == []


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "somebody"},
        {"aud": "something"},
        {"iss": None},
        {"aud": None},
        {"exp": None},
        {"nbf": 4_000_000_000},
    ],
    ids=str,
)
def test_token_with_wrong_claims(
    gateway: Gateway, journal: Journal, changes: dict[str, Any]
) -> None:
    token = forged(gateway, **changes)
    assert_refused(bearing(gateway, f"Bearer {token}"), UNAUTHENTICATED, "TOKEN_INVALID")
    assert journal.calls == []


def test_token_nobody_signed_so(
    gateway: Gateway, journal: Journal, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    create_signing_key(other)
    good = gateway.token()
    strangers = Gateway(gateway.address, other, gateway.access_log, gateway.client).token()
    swapped = ".".join([*strangers.split(".")[:2], good.split(".")[2]])
    for token in ("rubbish", "a.b.c", strangers, swapped, unsigned(good)):
        assert_refused(bearing(gateway, f"Bearer {token}"), UNAUTHENTICATED, "TOKEN_INVALID")
    assert journal.calls == []


def test_identity_from_outside_is_removed(gateway: Gateway, journal: Journal) -> None:
    assert gateway.get(KINDS, headers=EVIL).status_code == 200
    metadata = journal.last.metadata
    assert metadata.keys().isdisjoint(("x-tenant", "x-subject"))
    assert metadata["x-envoy-original-path"] == KINDS


@pytest.mark.parametrize("text", ["ann\r\nx-more: 1", "ann\n", "\x00", "ä😀"])
def test_claims_of_any_text_reach_the_service_in_the_token_alone(
    gateway: Gateway, journal: Journal, text: str
) -> None:
    headers = {"authorization": f"Bearer {forged(gateway, sub=text, tenant=text)}"}
    assert gateway.client.get(KINDS, headers=headers).status_code == 200
    metadata = journal.last.metadata
    assert metadata["authorization"] == headers["authorization"]
    assert "x-more" not in metadata


def test_binary_headers_that_are_not_base64_break_no_call(
    gateway: Gateway, journal: Journal
) -> None:
    assert gateway.get(KINDS, headers={"x-any-bin": "!!!"}).status_code == 200
    assert "x-any-bin" not in journal.last.metadata


def test_token_reaches_the_service_that_verifies_it_again(
    gateway: Gateway, journal: Journal
) -> None:
    token = gateway.token()
    gateway.get(KINDS, headers={"authorization": f"Bearer {token}"})
    assert journal.last.metadata["authorization"] == f"Bearer {token}"


def test_orders_to_envoy_from_outside_are_ignored(gateway: Gateway, journal: Journal) -> None:
    orders = {"x-envoy-upstream-rq-timeout-ms": "1", "x-envoy-retry-on": "5xx", "x-envoy-a": "b"}
    assert gateway.get(KINDS, headers=orders).status_code == 200
    assert not orders.keys() & journal.last.metadata.keys()


def test_request_id_is_made_and_returned(gateway: Gateway, journal: Journal) -> None:
    response = gateway.get(KINDS)
    assert len(response.headers["x-request-id"]) == 36
    assert journal.last.metadata["x-request-id"] == response.headers["x-request-id"]
    assert gateway.get(KINDS).headers["x-request-id"] != response.headers["x-request-id"]


def test_request_id_of_the_caller_is_kept(gateway: Gateway, journal: Journal) -> None:
    headers = {"x-request-id": "build-42_a.b"}
    assert gateway.get(KINDS, headers=headers).headers["x-request-id"] == "build-42_a.b"
    assert journal.last.metadata["x-request-id"] == "build-42_a.b"
    for target in ("/inventory/v1/tenants/acme/iam_users/missing", "/nothing", f"{KINDS}?a=b"):
        error = gateway.get(target, headers=headers).json()
        assert error["details"][0]["metadata"]["request_id"] == "build-42_a.b"


@pytest.mark.parametrize("value", ["a b", 'a"}{', "x" * 129, "a;b", "%41"])
def test_malformed_request_id_is_refused(gateway: Gateway, journal: Journal, value: str) -> None:
    response = gateway.get(KINDS, headers={"x-request-id": value})
    assert response.status_code == 400
    assert response.json()["details"][0]["reason"] == "BODY_INVALID"
    assert journal.calls == []


@pytest.mark.parametrize(
    ("head", "status", "reason"),
    [
        ("GET {path} HTTP/1.1\r\nHost: a\r\nx_tenant: evil\r\n", 400, "BODY_INVALID"),
        ("GET /inventory/v1/a%2fb HTTP/1.1\r\nHost: a\r\n", 400, "BODY_INVALID"),
        ("GET /inventory/v1/a%5cb HTTP/1.1\r\nHost: a\r\n", 400, "BODY_INVALID"),
        ("GET /inventory/v1/a%00b HTTP/1.1\r\nHost: a\r\n", 400, "BODY_INVALID"),
        ("GET {path} HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n", 400, "BODY_INVALID"),
        ("GET {path} HTTP/1.1\r\n", 400, "BODY_INVALID"),
        ("GET {path} HTTP/1.0\r\nHost: a\r\n", 400, "BODY_INVALID"),
        ("rubbish\r\n", 400, "BODY_INVALID"),
        ("GET {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: none\r\n", 400, "BODY_INVALID"),
        (
            "GET {path} HTTP/1.1\r\nHost: a\r\nX-Big: " + "a" * 70_000 + "\r\n",
            431,
            "BODY_TOO_LARGE",
        ),
    ],
)
def test_what_http_forbids(
    gateway: Gateway, journal: Journal, head: str, status: int, reason: str
) -> None:
    request = head.format(path=KINDS) + f"Authorization: Bearer {gateway.token()}\r\n"
    answered, body = gateway.raw(f"{request}Connection: close\r\n\r\n".encode())
    code = {400: grpc.StatusCode.INVALID_ARGUMENT, 431: grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert answered == status
    error = json.loads(body)
    request_id = error["details"][0]["metadata"]["request_id"]
    assert_one_form(error, code[status], reason, request_id)
    assert journal.calls == []


def test_path_is_normalised_before_it_is_routed(gateway: Gateway, journal: Journal) -> None:
    request = (
        "GET /inventory//v1/tenants/acme/syncs/../iam_users/./one HTTP/1.1\r\nHost: a\r\n"
        f"Authorization: Bearer {gateway.token()}\r\nConnection: close\r\n\r\n"
    )
    status, _ = gateway.raw(request.encode())
    assert status == 200
    assert journal.last.request.name == "tenants/acme/iam_users/one"


def test_access_log_holds_neither_token_nor_query(gateway: Gateway) -> None:
    token = gateway.token()
    headers = {"authorization": f"Bearer {token}", "x-request-id": "logged-once"}
    gateway.get(f"{KINDS}?secret=hidden", headers=headers)
    deadline = time.monotonic() + 60
    while "logged-once" not in gateway.access_log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    log = gateway.access_log.read_text()
    line = next(line for line in log.splitlines() if "logged-once" in line)
    entry = json.loads(line)
    assert (entry["tenant"], entry["verb"], entry["path"]) == ("acme", "GET", KINDS)
    assert (entry["status"], entry["request_id"]) == (400, "logged-once")
    assert token not in log
    assert "hidden" not in log
