"""Services that stop, hang or are overrun, as callers of the gateway see it."""

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest

from gateway.policy import Policy
from mesh.identity.keys import create_signing_key
from secmesh.inventory.v1.record_service_pb2_grpc import RecordServiceStub
from tests.mesh.gateway_fixtures import Gateway, running_gateway
from tests.mesh.replicas import Load, Replica, record, replica

RECOVERY_SECONDS = 60


class Behind:
    """A gateway and the replicas behind it."""

    def __init__(self, folder: Path, count: int, policy: Policy | None = None) -> None:
        self._stack = ExitStack()
        create_signing_key(folder / "keys")
        self.replicas: list[Replica] = [
            self._stack.enter_context(replica(folder, f"replica{number}"))
            for number in range(count)
        ]
        services = {"inventory": "+".join(each.address for each in self.replicas)}
        self.gateway: Gateway = self._stack.enter_context(
            running_gateway(services, folder, policy=policy or Policy(requests_per_second=0))
        )

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Behind]:
    made = Behind(tmp_path, 2)
    yield made
    made.close()


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Behind]:
    made = Behind(tmp_path, 1)
    yield made
    made.close()


async def test_a_replica_that_stops_under_load_costs_no_call(two: Behind) -> None:
    load = Load(two.gateway)
    running = asyncio.create_task(load.run())
    first, second = two.replicas
    await load.until(lambda: first.served() > 10 and second.served() > 10)
    first.send(signal.SIGTERM)
    assert await asyncio.to_thread(first.child.wait, 60) == 0
    after = load.outcomes["OK"]
    # The other one goes on.
    await load.until(lambda: load.outcomes["OK"] > after + 20)
    load.stopped = True
    await running
    assert set(load.outcomes) == {"OK"}


async def test_what_began_before_the_stop_of_the_only_replica_ends_well(one: Behind) -> None:
    (only,) = one.replicas
    async with grpc.aio.insecure_channel(one.gateway.address) as channel:
        stub: Any = RecordServiceStub(channel)
        options = {"metadata": one.gateway.bearer(), "timeout": 20}
        calls = [asyncio.ensure_future(stub.GetRecord(record(2), **options)) for _ in range(20)]
        await asyncio.sleep(1)
        only.send(signal.SIGTERM)
        answers = await asyncio.gather(*calls)
        assert [each.name for each in answers] == [record(2).name] * 20
        assert await asyncio.to_thread(only.child.wait, 60) == 0
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetRecord(record(0), **options)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


async def test_a_replica_that_hangs_is_left_out(two: Behind) -> None:
    hung, _ = two.replicas
    hung.send(signal.SIGSTOP)
    until = time.monotonic() + RECOVERY_SECONDS
    streak = 0
    async with grpc.aio.insecure_channel(two.gateway.address) as channel:
        stub: Any = RecordServiceStub(channel)
        while streak < 40:
            assert time.monotonic() < until, "calls still reach the replica that hangs"
            try:
                await stub.GetRecord(record(0), metadata=two.gateway.bearer(), timeout=1)
            except grpc.aio.AioRpcError:
                streak = 0
            else:
                streak += 1
        hung.send(signal.SIGCONT)
        before = hung.served()
        while hung.served() < before + 10:
            assert time.monotonic() < until, "it is not used again"
            await stub.GetRecord(record(0), metadata=two.gateway.bearer(), timeout=10)


async def test_more_calls_at_a_time_than_allowed_are_refused_at_once(tmp_path: Path) -> None:
    made = Behind(tmp_path, 1, Policy(requests_per_second=0, concurrent_requests=4))
    try:
        async with grpc.aio.insecure_channel(made.gateway.address) as channel:
            stub: Any = RecordServiceStub(channel)
            options = {"metadata": made.gateway.bearer(), "timeout": 20}

            async def timed(seconds: float) -> tuple[str, float]:
                began = time.monotonic()
                try:
                    await stub.GetRecord(record(seconds), **options)
                except grpc.aio.AioRpcError as error:
                    return error.code().name, time.monotonic() - began
                return "OK", time.monotonic() - began

            ended = await asyncio.gather(*(timed(4) for _ in range(12)))
            refused = [seconds for code, seconds in ended if code == "UNAVAILABLE"]
            assert sorted({code for code, _ in ended}) == ["OK", "UNAVAILABLE"]
            assert len(refused) == 8
            assert max(refused) < 4, "nobody waits for a refusal"
            assert (await timed(0))[0] == "OK"
    finally:
        made.close()


async def test_a_call_that_takes_too_long_ends_at_its_deadline(one: Behind) -> None:
    async with grpc.aio.insecure_channel(one.gateway.address) as channel:
        stub: Any = RecordServiceStub(channel)
        began = time.monotonic()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetRecord(record(20), metadata=one.gateway.bearer(), timeout=1)
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert time.monotonic() - began < 15
        answer = await stub.GetRecord(record(1), metadata=one.gateway.bearer(), timeout=20)
        assert answer.name == record(1).name
