"""Requests of one tenant are limited, and those of another are not."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from gateway import envoy_limits
from gateway.policy import Policy
from secmesh.inventory.v1 import sync_service_pb2
from secmesh.inventory.v1.sync_service_pb2_grpc import SyncServiceStub
from tests.mesh.gateway_fixtures import Gateway, assert_refused, running_gateway
from tests.mesh.grpc_web import call
from tests.mesh.upstream import Journal, Upstream

KINDS = "/inventory/v1/kinds"
GET = sync_service_pb2.GetSyncRequest(name="tenants/acme/syncs/one")
GET_SYNC = "/secmesh.inventory.v1.SyncService/GetSync"
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
BURST = 5
POLICY = Policy(requests_per_second=1, burst=BURST)
RETRY_INFO = "type.googleapis.com/google.rpc.RetryInfo"


@pytest.fixture(scope="module")
def limited(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway where a tenant has 5 requests at once, and none more while a test runs."""
    services, folder = {"inventory": upstream.address}, tmp_path_factory.mktemp("limits")
    with contextlib.ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(envoy_limits, "REFILL_SECONDS", 3600)
            started = stack.enter_context(running_gateway(services, folder, policy=POLICY))
        yield started


def bearer(gateway: Gateway, tenant: str) -> dict[str, str]:
    return {"authorization": f"Bearer {gateway.token(tenant)}"}


def exhaust(gateway: Gateway, tenant: str) -> dict[str, str]:
    """Spend the bucket of a tenant and give its headers."""
    headers = bearer(gateway, tenant)
    for _ in range(4 * BURST):
        if gateway.client.get(KINDS, headers=headers).status_code == 429:
            return headers
    pytest.fail("nothing was limited")


def test_one_tenant_is_limited_while_another_is_not(limited: Gateway, journal: Journal) -> None:
    headers = bearer(limited, "greedy")
    answers = [limited.client.get(KINDS, headers=headers) for _ in range(4 * BURST)]
    passed = [answer for answer in answers if answer.status_code == 200]
    refused = [answer for answer in answers if answer.status_code != 200]
    assert len(passed) == BURST
    assert len(journal.calls) == len(passed)
    assert passed[0].headers["x-ratelimit-limit"].startswith(str(BURST))
    assert passed[0].headers["x-ratelimit-remaining"] == str(BURST - 1)
    for answer in refused:
        assert_refused(answer, EXHAUSTED, "RATE_LIMITED")
        delays = [each for each in answer.json()["details"] if each["@type"] == RETRY_INFO]
        assert delays == [{"@type": RETRY_INFO, "retryDelay": "1s"}]
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["x-ratelimit-remaining"] == "0"
    assert limited.client.get(KINDS, headers=bearer(limited, "modest")).status_code == 200


def test_tenant_may_go_on_after_the_time_told(upstream: Upstream, tmp_path: Path) -> None:
    with running_gateway({"inventory": upstream.address}, tmp_path, policy=POLICY) as limited:
        headers = exhaust(limited, "patient")
        deadline = time.monotonic() + 60
        while limited.client.get(KINDS, headers=headers).status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def test_header_from_outside_opens_no_bucket(limited: Gateway) -> None:
    headers = exhaust(limited, "cunning")
    for number in range(3):
        forged = {**headers, "x-tenant": f"fresh-{number}"}
        assert_refused(limited.client.get(KINDS, headers=forged), EXHAUSTED, "RATE_LIMITED")


def test_strangers_spend_no_tokens_and_documents_stay_open(limited: Gateway) -> None:
    exhaust(limited, "public")
    for _ in range(3 * BURST):
        response = limited.client.get(KINDS, headers={"x-tenant": "victim"})
        assert_refused(response, grpc.StatusCode.UNAUTHENTICATED, "TOKEN_MISSING")
        assert limited.client.get("/healthz").status_code == 200
    assert limited.client.get(KINDS, headers=bearer(limited, "victim")).status_code == 200


def test_grpc_callers_are_told_in_their_way(limited: Gateway) -> None:
    token = exhaust(limited, "typed")["authorization"]
    with limited.channel() as channel, pytest.raises(grpc.RpcError) as caught:
        SyncServiceStub(channel).GetSync(GET, metadata=(("authorization", token),))
    error = cast("grpc.Call", caught.value)
    assert error.code() == EXHAUSTED
    status = rpc_status.from_call(error)
    assert status is not None
    info, delay = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(delay)
    assert (info.reason, delay.retry_delay.seconds) == ("RATE_LIMITED", 1)


def test_grpc_web_callers_are_told_in_theirs(limited: Gateway) -> None:
    headers = exhaust(limited, "browsing")
    answer = call(limited.client, GET_SYNC, GET, headers)
    assert (answer.status, answer.reason) == (EXHAUSTED.value[0], "RATE_LIMITED")


def test_no_limit_where_none_is_set(
    upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> None:
    services, folder = {"inventory": upstream.address}, tmp_path_factory.mktemp("unlimited")
    with running_gateway(services, folder, policy=Policy(requests_per_second=0)) as gateway:
        headers = bearer(gateway, "acme")
        for _ in range(50):
            response = gateway.client.get(KINDS, headers=headers)
            assert response.status_code == 200, response.text
        assert "x-ratelimit-limit" not in response.headers
