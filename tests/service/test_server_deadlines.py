"""When a call is given up: before its caller's deadline, so that the reason still gets out."""

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
from hypothesis import given
from hypothesis import strategies as st

from mesh.client import CallRefused, open_channel
from mesh.server.call import Call
from mesh.server.deadlines import Deadlines
from mesh.server.interceptors.deadline import margin_of
from secmesh.inventory.v1 import record_service_pb2_grpc
from secmesh.records.v1.record_requests_pb2 import GetRecordRequest
from tests.service.server_fixtures import PACKAGE, RECORD, running, until

CALLS = 40


@given(st.floats(0.001, 1e6))
def test_the_margin_leaves_half_of_a_short_time_and_takes_little_of_a_long_one(
    asked: float,
) -> None:
    margin = margin_of(asked)
    assert 0 < margin <= asked / 2
    assert margin <= 0.05
    assert asked < 0.01 or margin >= 0.005


async def test_the_reason_reaches_callers_with_deadlines_of_their_own(tmp_path: Path) -> None:
    """At the same moment as gRPC's core it reaches one in twenty; a busy machine may lose some."""

    async def hang(_request: Any, _context: Any) -> Any:
        await asyncio.sleep(300)

    async with running(tmp_path) as server:
        server.records.get = hang
        async with open_channel(server.address, package=PACKAGE, token=server.token()) as channel:
            stub = record_service_pb2_grpc.RecordServiceStub(channel)

            async def outcome(seconds: float) -> tuple[grpc.StatusCode, str]:
                try:
                    await stub.GetRecord(GetRecordRequest(name=RECORD), timeout=seconds)
                except CallRefused as error:
                    return error.code, error.reason
                raise AssertionError("a call that hangs was answered")

            # Apart from each other, so that no moment of the machine's decides for all.
            timeouts = [2 + number / 20 for number in range(CALLS)]
            told = Counter(await asyncio.gather(*map(outcome, timeouts)))
    late = grpc.StatusCode.DEADLINE_EXCEEDED
    assert {code for code, _ in told} == {late}
    assert told[late, "DEADLINE_EXCEEDED"] > CALLS / 2, told


class Served:
    """A call whose task waits until it is cancelled, and notes when that was."""

    def __init__(self, deadlines: Deadlines, seconds: float) -> None:
        self.call = Call("/x/Y", deadline=time.monotonic() + seconds)
        self.call.task = asyncio.create_task(self._wait())
        self.cancelled_at: list[float] = []
        deadlines.watch(self.call)

    async def _wait(self) -> None:
        while True:
            try:
                await asyncio.sleep(300)
            except asyncio.CancelledError:
                self.cancelled_at.append(time.monotonic())
                if not self.call.expired:
                    raise

    async def end(self) -> None:
        assert self.call.task is not None
        self.call.expired = False
        self.call.task.cancel()
        await asyncio.wait({self.call.task})


async def test_each_call_is_cancelled_once_and_not_before_its_deadline() -> None:
    deadlines = Deadlines()
    # The earliest comes first, last and between others: the timer moves forward and back.
    served = [Served(deadlines, seconds / 100) for seconds in (1, 30, 20, 2, 2, 15, 1)]
    await until(lambda: all(each.call.expired for each in served))
    await until(lambda: all(each.cancelled_at for each in served))
    await asyncio.sleep(0)
    for each in served:
        (moment,) = each.cancelled_at
        assert moment >= each.call.deadline
        await each.end()


async def test_a_call_that_left_is_let_be_and_a_nearer_deadline_is_kept() -> None:
    deadlines = Deadlines()
    left, hastened, far = (Served(deadlines, seconds) for seconds in (0.05, 300, 300))
    deadlines.leave(left.call)
    hastened.call.deadline = time.monotonic() + 0.2
    deadlines.watch(hastened.call)
    await until(lambda: hastened.call.expired)
    assert left.call.deadline < time.monotonic()
    assert not left.call.expired
    assert not far.call.expired
    for each in (left, hastened, far):
        await each.end()
