"""What callers see while something behind the gateway is gone."""

import time
from collections.abc import Iterator
from typing import cast

import grpc
import httpx
import pytest

from mesh.identity.token import ISSUER_KEYS
from secmesh.inventory.v1 import sync_service_pb2
from secmesh.inventory.v1.sync_service_pb2_grpc import SyncServiceStub
from tests.mesh.gateway_fixtures import Gateway, assert_refused, running_gateway
from tests.mesh.upstream import running_upstream
from tests.ports import free_port

KINDS = "/inventory/v1/kinds"
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
RECOVERY_SECONDS = 40


@pytest.fixture(scope="module")
def absent() -> str:
    """Address of a service that is not there."""
    return f"127.0.0.1:{free_port()}"


@pytest.fixture(scope="module")
def alone(absent: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway whose service is not there."""
    folder = tmp_path_factory.mktemp("alone")
    with running_gateway({"inventory": absent}, folder, services_serve=False) as started:
        yield started


def test_service_that_does_not_answer(alone: Gateway) -> None:
    metadata = assert_refused(alone.get(KINDS), UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")
    assert metadata["dependency"] == "inventory"
    health = alone.client.get("/healthz")
    metadata = assert_refused(health, UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")
    assert metadata["dependency"] == "inventory"


def test_service_that_does_not_answer_grpc(alone: Gateway) -> None:
    request = sync_service_pb2.GetSyncRequest(name="tenants/acme/syncs/one")
    with alone.channel() as channel, pytest.raises(grpc.RpcError) as caught:
        SyncServiceStub(channel).GetSync(request, metadata=alone.bearer())
    assert cast("grpc.Call", caught.value).code() == UNAVAILABLE


def test_refusals_need_no_service(alone: Gateway) -> None:
    assert_refused(alone.client.get(KINDS), grpc.StatusCode.UNAUTHENTICATED, "TOKEN_MISSING")
    response = alone.get(f"{KINDS}?colour=red")
    assert_refused(response, grpc.StatusCode.INVALID_ARGUMENT, "BODY_INVALID")
    assert alone.client.get("/openapi.json").status_code == 200


def test_service_that_comes_back_is_used_again(alone: Gateway, absent: str) -> None:
    with running_upstream(absent):
        response = _await(alone, KINDS, httpx.codes.OK)
        assert response.json() == {}
        health = _await(alone, "/healthz", httpx.codes.OK)
        assert health.json() == {"status": "SERVING", "services": {"inventory": "SERVING"}}
    for path in (KINDS, "/healthz"):
        gone = _await(alone, path, httpx.codes.SERVICE_UNAVAILABLE)
        assert_refused(gone, UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")


def test_edge_that_does_not_answer_lets_nothing_pass(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    nowhere = {"authz": f"127.0.0.1:{free_port()}", "http": f"127.0.0.1:{free_port()}"}
    folder = tmp_path_factory.mktemp("no-edge")
    with (
        running_upstream() as upstream,
        running_gateway({"inventory": upstream.address}, folder, nowhere) as gateway,
    ):
        metadata = assert_refused(gateway.get(KINDS), UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")
        assert metadata["dependency"] == ISSUER_KEYS
        assert upstream.journal.calls == []
        response = gateway.client.get("/openapi.json")
        metadata = assert_refused(response, UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")
        assert metadata["dependency"] == "edge-http"


def _await(gateway: Gateway, path: str, status: int) -> httpx.Response:
    deadline = time.monotonic() + RECOVERY_SECONDS
    while True:
        response = gateway.get(path)
        if response.status_code == status:
            return response
        assert time.monotonic() < deadline, response.text
        time.sleep(0.1)
