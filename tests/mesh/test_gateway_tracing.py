"""Spans of the gateway itself, as a collector gets them."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from tests.mesh.gateway_fixtures import Gateway, running_gateway
from tests.mesh.upstream import Journal, Upstream

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
RECORD = "/inventory/v1/tenants/acme/iam_users/planted"


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.spans: list[Any] = []

    def Export(self, request: Any, _context: Any) -> Any:  # noqa: N802 - the contract's name
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)
        return trace_service_pb2.ExportTraceServiceResponse()

    def child(self, trace_id: str, parent: str = "") -> Any:
        """Wait for the span of a trace under this parent, without one the root."""
        until = time.monotonic() + 60
        while time.monotonic() < until:
            for span in self.spans:
                if (span.trace_id.hex(), span.parent_span_id.hex()) == (trace_id, parent):
                    return span
            time.sleep(0.1)
        raise AssertionError(f"no span of {trace_id}")


@pytest.fixture
def collector() -> Iterator[tuple[Collector, str]]:
    made = Collector()
    server = grpc.server(ThreadPoolExecutor(2))
    add: Any = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
    add(made, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield made, f"127.0.0.1:{port}"
    server.stop(0).wait()


@pytest.fixture
def traced(
    collector: tuple[Collector, str], upstream: Upstream, tmp_path: Path
) -> Iterator[Gateway]:
    with running_gateway({"inventory": upstream.address}, tmp_path, otlp=collector[1]) as started:
        yield started


def parent_of(journal: Journal) -> tuple[str, str]:
    """Give trace and parent span as the service got them."""
    _, trace_id, span_id, _ = journal.last.metadata["traceparent"].split("-")
    return trace_id, span_id


def test_a_trace_begins_at_the_gateway(
    traced: Gateway, collector: tuple[Collector, str], journal: Journal
) -> None:
    assert traced.get(RECORD, params={"readMask": "name"}).status_code == 200
    trace_id, span_id = parent_of(journal)
    span = collector[0].child(trace_id)
    assert span.span_id.hex() == span_id
    text = str(collector[0].spans)
    for hidden in ("planted", "acme", traced.token()[:20]):
        assert hidden not in text


def test_a_callers_trace_goes_on(
    traced: Gateway, collector: tuple[Collector, str], journal: Journal
) -> None:
    caller = "00f067aa0ba902b7"
    headers = {"traceparent": f"00-{TRACE}-{caller}-01"}
    assert traced.get(RECORD, headers=headers).status_code == 200
    trace_id, span_id = parent_of(journal)
    assert trace_id == TRACE
    assert collector[0].child(TRACE, caller).span_id.hex() == span_id
