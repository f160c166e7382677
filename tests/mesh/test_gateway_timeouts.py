"""A call ends at the time its contract gives it, though the service goes on."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from types import MappingProxyType
from typing import Any

import grpc
import pytest

from gateway import envoy_config, envoy_routes
from gateway.contracts import Deployable, select
from gateway.envoy_routes import MARGIN_SECONDS
from mesh.contract.catalogue import Method
from secmesh.inventory.v1 import sync_service_pb2
from secmesh.inventory.v1.sync_service_pb2_grpc import SyncServiceStub
from tests.mesh.gateway_fixtures import Gateway, assert_refused, running_gateway
from tests.mesh.grpc_web import BINARY, call
from tests.mesh.test_gateway_grpc import code_of, reason_of
from tests.mesh.upstream import WAIT, Upstream

LIST_SYNCS = "/secmesh.inventory.v1.SyncService/ListSyncs"
ROOT = "/inventory/v1/tenants/acme"
LIMIT = timedelta(seconds=1)
REQUEST = sync_service_pb2.ListSyncsRequest(parent="tenants/acme", filter=WAIT)
LATE = grpc.StatusCode.DEADLINE_EXCEEDED
METHOD_ROUTE = envoy_routes._method_route


def hurried(names: Iterator[str]) -> tuple[Deployable, ...]:
    """Give the deployables as if the contract gave ListSyncs a second."""
    (inventory,) = select(names)
    methods = dict(inventory.catalogue.methods)
    methods[LIST_SYNCS] = replace(methods[LIST_SYNCS], timeout=LIMIT)
    catalogue = replace(inventory.catalogue, methods=MappingProxyType(methods))
    return (replace(inventory, catalogue=catalogue),)


def unlimited(service: Deployable, method: Method) -> dict[str, Any]:
    """Tell the upstream no deadline: gRPC's core there would end the call at the same moment."""
    return {**METHOD_ROUTE(service, method), "request_headers_to_remove": ["grpc-timeout"]}


@pytest.fixture(scope="module")
def impatient(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(envoy_config, "select", hurried)
        patch.setattr(envoy_routes, "_method_route", unlimited)
        folder = tmp_path_factory.mktemp("timeouts")
        with running_gateway({"inventory": upstream.address}, folder) as started:
            yield started


@pytest.fixture
def in_time() -> Iterator[None]:
    """Assert that the test takes as long as Envoy allows, and not as long as the upstream takes."""
    start = time.monotonic()
    yield
    allowed = LIMIT.total_seconds() + MARGIN_SECONDS
    assert allowed - 0.5 < time.monotonic() - start < allowed + 30


@pytest.mark.usefixtures("in_time")
def test_over_rest(impatient: Gateway) -> None:
    response = impatient.get(f"{ROOT}/syncs?filter={WAIT}")
    assert_refused(response, LATE, "DEADLINE_EXCEEDED", status=504)


@pytest.mark.usefixtures("in_time")
def test_over_grpc_whatever_deadline_the_caller_has(impatient: Gateway) -> None:
    with impatient.channel() as channel, pytest.raises(grpc.RpcError) as caught:
        SyncServiceStub(channel).ListSyncs(REQUEST, metadata=impatient.bearer(), timeout=50)
    assert (code_of(caught.value), reason_of(caught.value)) == (LATE, "DEADLINE_EXCEEDED")


@pytest.mark.usefixtures("in_time")
def test_over_grpc_web(impatient: Gateway) -> None:
    headers = {"authorization": f"Bearer {impatient.token()}"}
    answer = call(impatient.client, LIST_SYNCS, REQUEST, headers, BINARY)
    assert (answer.status, answer.reason) == (LATE.value[0], "DEADLINE_EXCEEDED")


def test_other_methods_keep_their_own_time(impatient: Gateway) -> None:
    """A stream that waits longer than ListSyncs may goes on."""
    watch = sync_service_pb2.WatchSyncRequest(name="tenants/acme/syncs/endless")
    with impatient.channel() as channel:
        stream = SyncServiceStub(channel).WatchSync(watch, metadata=impatient.bearer())
        end = threading.Timer(LIMIT.total_seconds() + MARGIN_SECONDS + 0.5, stream.cancel)
        end.start()
        with pytest.raises(grpc.RpcError) as caught:
            list(stream)
        end.join()
    assert code_of(caught.value) == grpc.StatusCode.CANCELLED
