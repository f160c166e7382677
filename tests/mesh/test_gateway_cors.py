"""Web pages of other origins: told nothing, unless their origin is named."""

from collections.abc import Iterator

import grpc
import httpx
import pytest

from gateway.policy import Policy
from secmesh.records.v1.record_requests_pb2 import GetRecordRequest
from tests.mesh.gateway_fixtures import Gateway, assert_refused, running_gateway
from tests.mesh.grpc_web import call
from tests.mesh.upstream import Journal, Upstream

ALLOWED, OTHER = "https://ops.example", "https://evil.example"
KINDS = "/inventory/v1/kinds"
GET_RECORD = "/secmesh.inventory.v1.RecordService/GetRecord"
UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED


@pytest.fixture(scope="module")
def open_to_page(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    services, folder = {"inventory": upstream.address}, tmp_path_factory.mktemp("cors")
    with running_gateway(services, folder, policy=Policy(cors_origins=(ALLOWED,))) as started:
        yield started


def preflight(gateway: Gateway, origin: str, path: str = KINDS) -> httpx.Response:
    headers = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }
    return gateway.client.request("OPTIONS", path, headers=headers)


def listed(response: httpx.Response, header: str) -> set[str]:
    return {each.strip() for each in response.headers[header].split(",")}


@pytest.mark.parametrize("path", [KINDS, GET_RECORD, "/openapi.json"])
def test_preflight_of_the_named_origin(open_to_page: Gateway, journal: Journal, path: str) -> None:
    response = preflight(open_to_page, ALLOWED, path)
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == ALLOWED
    assert "access-control-allow-credentials" not in response.headers
    assert listed(response, "access-control-allow-methods") >= {"GET", "POST"}
    sent = listed(response, "access-control-allow-headers")
    assert sent >= {"authorization", "content-type", "x-grpc-web", "grpc-timeout"}
    assert journal.calls == []


@pytest.mark.parametrize(
    "origin",
    [OTHER, "null", "http://ops.example", f"{ALLOWED}:8443", f"{ALLOWED}.evil.example", "*"],
)
def test_preflight_of_another_origin(open_to_page: Gateway, origin: str) -> None:
    response = preflight(open_to_page, origin)
    assert_refused(response, UNAUTHENTICATED, "TOKEN_MISSING")
    assert "access-control-allow-origin" not in response.headers


def test_answers_are_shown_to_the_named_origin(open_to_page: Gateway) -> None:
    for headers, path in (
        ({}, KINDS),
        ({}, f"{KINDS}?colour=red"),
        ({}, "/nothing"),
        ({}, "/healthz"),
        ({"authorization": "Bearer rubbish"}, KINDS),
    ):
        response = open_to_page.get(path, headers={"origin": ALLOWED, **headers})
        assert response.headers["access-control-allow-origin"] == ALLOWED, path
        assert "origin" in response.headers["vary"]
        shown = listed(response, "access-control-expose-headers")
        assert shown >= {"x-request-id", "grpc-status", "grpc-message", "grpc-status-details-bin"}


def test_grpc_web_of_the_named_origin(open_to_page: Gateway) -> None:
    headers = {"origin": ALLOWED, "authorization": f"Bearer {open_to_page.token()}"}
    record = GetRecordRequest(name="tenants/acme/iam_users/one")
    answer = call(open_to_page.client, GET_RECORD, record, headers)
    assert answer.status == 0
    assert answer.response.headers["access-control-allow-origin"] == ALLOWED


def test_answers_are_not_shown_to_another_origin(open_to_page: Gateway) -> None:
    response = open_to_page.get(KINDS, headers={"origin": OTHER})
    assert response.status_code == 200
    assert not [name for name in response.headers if name.startswith("access-control-")]
    assert "origin" in response.headers["vary"]


def test_nothing_is_shown_by_default(gateway: Gateway) -> None:
    assert_refused(preflight(gateway, ALLOWED), UNAUTHENTICATED, "TOKEN_MISSING")
    response = gateway.get(KINDS, headers={"origin": ALLOWED})
    assert not [name for name in response.headers if name.startswith("access-control-")]
