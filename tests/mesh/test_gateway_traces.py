"""One trace from a REST call through the real Envoy to the statement and the AWS call."""

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from mesh.embedded.aws import AwsEndpoint
from mesh.embedded.aws_faults import Faults
from mesh.identity.keys import create_signing_key
from mesh.telemetry import tracing
from services.inventory.__main__ import build_server
from services.inventory.settings import InventorySettings
from tests.inventory_store import inventory_store
from tests.mesh.gateway_fixtures import Gateway, running_gateway

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
SECRET = "Zx9-planted-secret"
ACCOUNT = "123456789012"


@pytest.fixture(scope="module")
def spans() -> Iterator[InMemorySpanExporter]:
    """What is traced; the provider is the process's, so it is set once."""
    exporter = InMemorySpanExporter()
    tracing.enable_tracing("test", SimpleSpanProcessor(exporter))
    yield exporter
    tracing.disable_tracing()


@pytest.fixture
def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    """The inventory service in this process, an AWS account, and the gateway before it."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, SECRET)
    create_signing_key(tmp_path / "keys")
    endpoint = AwsEndpoint(Faults())
    endpoint.start()
    settings = InventorySettings(
        home=tmp_path,
        database_url=inventory_store(tmp_path),
        aws_endpoint_url=endpoint.url,
        accounts=f"acme={ACCOUNT}",
    )
    address: list[str] = []
    up, over = threading.Event(), threading.Event()

    async def serve() -> None:
        server = await build_server(settings)
        await server.start()
        address.append(server.address)
        up.set()
        await asyncio.to_thread(over.wait)
        await server.stop()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert up.wait(30)
        with running_gateway({"inventory": address[0]}, tmp_path) as started:
            yield started
    finally:
        over.set()
        thread.join(30)
        endpoint.stop()


def traced(spans: InMemorySpanExporter) -> list[ReadableSpan]:
    """Give the finished spans of the caller's trace."""
    found = spans.get_finished_spans()
    return [span for span in found if span.context and f"{span.context.trace_id:032x}" == TRACE]


def parents(span: ReadableSpan, found: list[ReadableSpan]) -> list[str]:
    """Give the names from a span up to the caller's own."""
    by_id = {each.context.span_id: each for each in found if each.context}
    names, step = [], span
    while step.parent is not None and step.parent.span_id in by_id:
        step = by_id[step.parent.span_id]
        names.append(step.name)
    assert step.parent is not None
    assert f"{step.parent.span_id:016x}" == SPAN, "the trace begins at the caller"
    return names


def test_a_rest_call_is_one_trace_down_to_sql_and_aws(
    gateway: Gateway, spans: InMemorySpanExporter
) -> None:
    query = {"filter": f'username == "{SECRET}" && mfa_enabled'}
    users = "/inventory/v1/tenants/acme/iam_users"
    listed = gateway.get(users, params=query, headers=PARENT)
    assert listed.status_code == 200, listed.text
    wanted = {"cloudAccountId": ACCOUNT, "collections": ["s3_buckets"]}
    syncs = "/inventory/v1/tenants/acme/syncs"
    started = gateway.post(syncs, wanted, headers=PARENT)
    assert started.status_code == 200, started.text
    missing = gateway.get(f"{users}/{SECRET}", headers=PARENT)
    assert missing.status_code == 404
    until = time.monotonic() + 60
    while gateway.get(f"/inventory/v1/{started.json()['name']}").json()["state"] == "STATE_RUNNING":
        assert time.monotonic() < until
        time.sleep(0.2)

    found = traced(spans)
    served = {span.name: span for span in found if span.name.startswith("secmesh.")}
    list_records = "secmesh.inventory.v1.RecordService/ListRecords"
    start_sync = "secmesh.inventory.v1.SyncService/StartSync"
    attributes = served[list_records].attributes or {}
    assert attributes["secmesh.kind"] == "iam_users"
    assert attributes["rpc.grpc.status"] == "OK"
    get_record = served["secmesh.inventory.v1.RecordService/GetRecord"]
    assert (get_record.attributes or {})["rpc.grpc.status"] == "NOT_FOUND"
    selects = [
        span for span in found if span.name == "SELECT" and parents(span, found) == [list_records]
    ]
    assert any("iam_users" in str((span.attributes or {})["db.query.text"]) for span in selects)
    calls = [span for span in found if span.name == "s3/ListBuckets"]
    assert [parents(span, found) for span in calls] == [[start_sync]]
    assert (calls[0].attributes or {})["aws.outcome"] == "read"

    for span in spans.get_finished_spans():
        text = span.to_json()
        for hidden in (SECRET, ACCOUNT, "acme", "Bearer", "ann"):
            assert f'"{hidden}' not in text, span.name
            assert SECRET not in text
