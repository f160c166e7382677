"""What operators see of a server: metrics, health, channelz."""

import asyncio
import time
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc
from pydantic import ValidationError

from mesh.client import CallRefused, open_channel
from mesh.server.operations import ListenError
from mesh.server.settings import ServerSettings
from mesh.telemetry.loop import TICK_SECONDS
from secmesh.inventory.v1 import record_pb2, record_service_pb2_grpc
from secmesh.records.v1.record_requests_pb2 import GetRecordRequest
from tests.service.metric_samples import total
from tests.service.server_fixtures import PACKAGE, Running, always_ready, running

GET_RECORD = f"{PACKAGE}.RecordService/GetRecord"


async def page(server: Running, path: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        return await client.get(f"http://{server.server.addresses['admin']}{path}")


async def value(server: Running, name: str, **labels: str) -> float:
    """Give the sum of the values that have these labels; the process may have had other servers."""
    answer = await page(server, "/metrics")
    assert answer.status_code == 200
    return total(answer.text, name, **labels)


def stub(channel: grpc.aio.Channel) -> Any:
    return record_service_pb2_grpc.RecordServiceStub(channel)


def record(collection: str, name: str = "u1") -> GetRecordRequest:
    return GetRecordRequest(name=f"tenants/acme/{collection}/{name}")


async def test_calls_are_counted_by_method_status_and_kind(tmp_path: Path) -> None:
    count = "grpc_server_call_duration_seconds_count"
    labels = {"grpc_method": GET_RECORD}
    async with running(tmp_path) as server:
        before = {
            status: await value(server, count, **labels, grpc_status=status)
            for status in ("OK", "NOT_FOUND", "UNAUTHENTICATED")
        }
        known = await value(server, count, **labels, kind="iam_users")
        unknown = await value(server, count, **labels, kind="unknown")
        async with open_channel(server.address, package=PACKAGE, token=server.token()) as channel:
            await stub(channel).GetRecord(record("iam_users"))
            await stub(channel).GetRecord(record("iam_users"))
            for invented in range(3):
                with pytest.raises(CallRefused):
                    await stub(channel).GetRecord(record(f"invented{invented}"))
        async with open_channel(server.address, package=PACKAGE) as channel:
            with pytest.raises(CallRefused):
                await stub(channel).GetRecord(record("iam_users"))
        assert await value(server, count, **labels, grpc_status="OK") == before["OK"] + 2
        assert (
            await value(server, count, **labels, grpc_status="NOT_FOUND") == before["NOT_FOUND"] + 3
        )
        assert (
            await value(server, count, **labels, grpc_status="UNAUTHENTICATED")
            == before["UNAUTHENTICATED"] + 1
        )
        assert await value(server, count, **labels, kind="iam_users") == known + 2
        assert await value(server, count, **labels, kind="unknown") == unknown + 3


async def test_what_callers_invent_makes_no_series(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        async with grpc.aio.insecure_channel(server.address) as channel:
            for number in range(5):
                call: Any = channel.unary_unary(f"/invented.Service/Method{number}")
                with pytest.raises(grpc.aio.AioRpcError):
                    await call(b"", metadata=server.metadata())
        async with open_channel(server.address, package=PACKAGE, token=server.token()) as opened:
            with pytest.raises(CallRefused):
                await stub(opened).GetRecord(record("invented_kind", "secret-name"))
        text = (await page(server, "/metrics")).text
        assert await value(server, "grpc_server_call_duration_seconds_count", grpc_method="other")
    for invention in ("invented", "secret-name", "acme", '"ann"'):
        assert invention not in text


async def test_calls_in_flight_and_bytes(tmp_path: Path) -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    async def wait(request: Any, _context: Any) -> Any:
        entered.set()
        await leave.wait()
        return record_pb2.Record(name=request.name)

    async with running(tmp_path) as server:
        server.records.get = wait
        labels = {"grpc_method": GET_RECORD}
        calls = await value(server, "grpc_server_call_in_flight", **labels)
        got = await value(server, "grpc_server_message_received_bytes_total", **labels)
        gave = await value(server, "grpc_server_message_sent_bytes_total", **labels)
        async with open_channel(server.address, package=PACKAGE, token=server.token()) as channel:
            call = asyncio.ensure_future(stub(channel).GetRecord(record("iam_users")))
            await entered.wait()
            assert await value(server, "grpc_server_call_in_flight", **labels) == calls + 1
            leave.set()
            answer = await call
        assert await value(server, "grpc_server_call_in_flight", **labels) == calls
        size = record("iam_users").ByteSize()
        assert (
            await value(server, "grpc_server_message_received_bytes_total", **labels) == got + size
        )
        sent = await value(server, "grpc_server_message_sent_bytes_total", **labels)
        assert sent == gave + answer.ByteSize()


async def test_the_process_and_its_loop(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        ticks = await value(server, "event_loop_lag_seconds_count")
        late = await value(server, "event_loop_lag_seconds_sum")
        # One tick may be just due, or due a whole tick later.
        time.sleep(TICK_SECONDS + 0.3)  # noqa: ASYNC251 - the lag that is to be seen
        while await value(server, "event_loop_lag_seconds_count") == ticks:
            await asyncio.sleep(0.05)
        assert await value(server, "event_loop_lag_seconds_sum") > late + 0.25
        assert await value(server, "process_memory_usage_bytes") > 10_000_000
        assert await value(server, "process_cpu_time_seconds_total", cpu_mode="user") > 0
        assert 0 <= await value(server, "event_loop_utilization_ratio") <= 1


async def test_health_and_readiness_over_http(tmp_path: Path) -> None:
    ready = True

    async def is_ready() -> bool:
        return ready

    async with running(tmp_path, ready=is_ready, readiness_seconds=0.05) as server:
        assert (await page(server, "/healthz")).status_code == 200
        assert (await page(server, "/readyz")).status_code == 200
        ready = False
        async with asyncio.timeout(60):
            while (await page(server, "/readyz")).status_code == 200:
                await asyncio.sleep(0.05)
        assert (await page(server, "/readyz")).status_code == 503
        assert (await page(server, "/healthz")).status_code == 200
        assert (await page(server, "/nothing")).status_code == 404
        async with httpx.AsyncClient(trust_env=False) as client:
            refused = await client.post(f"http://{server.server.addresses['admin']}/metrics")
        assert refused.status_code == 405


async def test_a_server_that_drains_is_not_ready(tmp_path: Path) -> None:
    async with running(tmp_path, drain_seconds=1) as server:
        stopping = asyncio.create_task(server.server.stop(1))
        await server.server.draining.wait()
        assert (await page(server, "/readyz")).status_code == 503
        await stopping
        with pytest.raises(httpx.ConnectError):
            await page(server, "/readyz")


CALLS = 23
"""Unlike those of any other server in the process."""


async def test_channelz_shows_the_calls_of_the_server(tmp_path: Path) -> None:
    async with running(tmp_path, channelz="127.0.0.1:0") as server:
        async with open_channel(server.address, package=PACKAGE, token=server.token()) as opened:
            for _ in range(CALLS):
                await stub(opened).GetRecord(record("iam_users"))
        address = server.server.addresses["channelz"]
        async with grpc.aio.insecure_channel(address) as channel:
            channelz = channelz_pb2_grpc.ChannelzStub(channel)
            async with asyncio.timeout(60):
                # A call is counted a moment after its answer; other servers may be older.
                while CALLS not in await succeeded(channelz):
                    await asyncio.sleep(0.05)


async def succeeded(channelz: Any) -> list[int]:
    """Give how many calls each server of the process has served."""
    found, page = [], channelz_pb2.GetServersResponse()
    while not page.end:
        start = page.server[-1].ref.server_id + 1 if page.server else 0
        request = channelz_pb2.GetServersRequest(start_server_id=start)
        page = await channelz.GetServers(request)
        found += [each.data.calls_succeeded for each in page.server]
    return found


async def test_operators_ports_are_off_when_empty(tmp_path: Path) -> None:
    async with running(tmp_path, admin="") as server:
        assert server.server.addresses == {"address": server.address}


async def test_a_taken_admin_port_is_named(tmp_path: Path) -> None:
    async with running(tmp_path) as first:
        taken = first.server.addresses["admin"]
        with pytest.raises(ListenError, match=taken):
            async with running(tmp_path, admin=taken, ready=always_ready):
                pass


@pytest.mark.parametrize("wrong", [{"channelz": "0.0.0.0:0"}, {"admin": "nowhere"}])
def test_wrong_addresses_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        ServerSettings(**wrong)  # type: ignore[arg-type] # wrong on purpose
