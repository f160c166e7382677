"""Start, signals and ports of a real process."""

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from mesh.client import CallRefused, open_channel
from mesh.identity.keys import create_signing_key, sign_token
from secmesh.inventory.v1 import record_service_pb2_grpc
from secmesh.records.v1.record_requests_pb2 import GetRecordRequest
from tests.service.server_fixtures import PACKAGE

REPOSITORY = Path(__file__).parents[2]


@dataclass
class Process:
    """A server process and what it wrote."""

    process: asyncio.subprocess.Process
    keys: Path
    address: str = ""

    async def line(self) -> str:
        assert self.process.stdout is not None
        return (await asyncio.wait_for(self.process.stdout.readline(), 60)).decode()

    async def ended(self) -> tuple[int, str, list[dict[str, Any]]]:
        """Wait for the end; give the exit status, the rest of stdout, and the log events."""
        out, err = await asyncio.wait_for(self.process.communicate(), 60)
        lines = [line for line in err.decode().splitlines() if line.startswith("{")]
        assert self.process.returncode is not None
        return self.process.returncode, out.decode(), [json.loads(line) for line in lines]

    def stub(self, channel: grpc.aio.Channel) -> Any:
        return record_service_pb2_grpc.RecordServiceStub(channel)

    def channel(self) -> grpc.aio.Channel:
        token = sign_token(self.keys, subject="ann", tenant="acme", roles=["viewer"])
        return open_channel(self.address, package=PACKAGE, token=token)


@asynccontextmanager
async def _start(keys: Path, listen: str, grace: float, drain: float) -> AsyncIterator[Process]:
    arguments = (str(keys), listen, str(grace), str(drain))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.service.server_process", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=REPOSITORY,
    )
    try:
        yield Process(process, keys)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


Start = Callable[..., Any]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    create_signing_key(tmp_path)
    async with AsyncExitStack() as stack:

        async def started(
            listen: str = "127.0.0.1:0", grace: float = 30, drain: float = 0.2
        ) -> Process:
            process = await stack.enter_async_context(_start(tmp_path, listen, grace, drain))
            word, _, announcement = (await process.line()).partition(" ")
            if word == "LISTENING":
                process.address = json.loads(announcement)["address"]
            else:
                assert (word, announcement) == ("DISPOSED\n", "")
            return process

        yield started


def record(seconds: float) -> GetRecordRequest:
    return GetRecordRequest(name=f"tenants/acme/iam_users/{seconds}")


async def in_flight(process: Process, channel: grpc.aio.Channel, seconds: float) -> Any:
    """Make a call that takes so long; give it once its handler has begun."""
    call = asyncio.ensure_future(process.stub(channel).GetRecord(record(seconds)))
    assert await process.line() == "BEGUN\n"
    return call


@asynccontextmanager
async def until_it_drains(channel: grpc.aio.Channel) -> AsyncIterator[None]:
    """Wait in the end until the server says that it serves no more."""
    health: Any = health_pb2_grpc.HealthStub(channel)
    watch = aiter(health.Watch(health_pb2.HealthCheckRequest()))
    assert (await anext(watch)).status == health_pb2.HealthCheckResponse.SERVING
    yield
    assert (await anext(watch)).status == health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains(start: Start, sent: signal.Signals) -> None:
    process = await start(drain=1)
    async with process.channel() as channel:
        longer = await in_flight(process, channel, 2)
        async with until_it_drains(channel):
            process.process.send_signal(sent)
        # Until load balancers have noticed, calls that still come are served.
        assert (await process.stub(channel).GetRecord(record(0))).name == record(0).name
        assert (await longer).name == record(2).name
    code, out, events = await process.ended()
    assert code == 0
    assert out == "DISPOSED\n"
    messages = [event["message"] for event in events if event["message"] != "call"]
    assert messages == ["ready", "listening", "draining", "stopped"]


async def test_the_drain_ends_within_its_grace(start: Start) -> None:
    process = await start(grace=0.5)
    async with process.channel() as channel:
        longer = await in_flight(process, channel, 50)
        process.process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        with pytest.raises(CallRefused):
            await longer
        code, out, _ = await process.ended()
    assert (code, out) == (0, "DISPOSED\n")
    assert time.monotonic() - began < 40


async def test_a_second_signal_stops_at_once(start: Start) -> None:
    process = await start(grace=60)
    async with process.channel() as channel:
        longer = await in_flight(process, channel, 50)
        async with until_it_drains(channel):
            process.process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        process.process.send_signal(signal.SIGTERM)
        with pytest.raises(CallRefused):
            await longer
        code, out, _ = await process.ended()
    assert (code, out) == (0, "DISPOSED\n")
    assert time.monotonic() - began < 40


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_does_not_wait_for_load_balancers(
    start: Start, sent: signal.Signals
) -> None:
    process = await start(grace=100, drain=290)
    async with process.channel() as channel, until_it_drains(channel):
        process.process.send_signal(sent)
    for _ in range(3):  # a third and fourth change nothing
        if process.process.returncode is None:
            process.process.send_signal(sent)
    code, out, events = await process.ended()
    assert (code, out) == (0, "DISPOSED\n")
    messages = [event["message"] for event in events if event["message"] != "call"]
    assert messages == ["ready", "listening", "draining", "stopping at once", "stopped"]


async def test_a_taken_port_is_named(start: Start) -> None:
    """SO_REUSEPORT is gRPC's default and would let the second server in."""
    first = await start()
    second = await start(first.address)
    assert second.address == ""
    code, out, events = await second.ended()
    assert (code, out) == (1, "")
    assert [event["message"] for event in events if event["level"] == "ERROR"] == [
        f"cannot listen on {first.address}: the address is in use or not ours"
    ]
    async with first.channel() as channel:
        await first.stub(channel).GetRecord(record(0))
