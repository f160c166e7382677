"""What scheduling costs on the exact store: units that AWS would bill, held to the budgets."""

import asyncio
from random import Random

import pytest

from secmesh.tenancy.v1.schedule_pb2 import OverlapPolicy, Schedule
from services.tenancy.clock import MICROSECONDS
from services.tenancy.cost import budgets
from services.tenancy.schedules import item_of, settle
from services.tenancy.scheduling.attempt import ExecutorPace
from services.tenancy.scheduling.executor import Executor
from services.tenancy.scheduling.scheduler import Scheduler, SchedulerPace
from services.tenancy.scheduling.work import Assignment, Published
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.memory import MemoryStore
from services.tenancy.store.port import Item, Put
from services.tenancy.store.recorder import Recorder, StoreCall

SHARDS = 16
START = 1_800_000_000
"""Seconds since 1970; a full hour."""


class StillClock:
    """Moves when somebody sleeps."""

    def __init__(self) -> None:
        self.moment = START * MICROSECONDS

    def now(self) -> int:
        return self.moment

    async def sleep(self, seconds: float) -> None:
        self.moment += int(seconds * MICROSECONDS)
        await asyncio.sleep(0)


class World:
    """A store with schedules of many tenants, and what it was asked for since."""

    def __init__(self) -> None:
        self.clock = StillClock()
        self.recorder = Recorder()
        self.store = MemoryStore(clock=self.clock, observe=self.recorder.observe)

    async def schedules(self, number: int, expression: str, prefix: str = "s") -> None:
        for at in range(number):
            tenant, schedule_id = f"customer-{at % 97:04d}", f"{prefix}{at:08d}-4cf0-9d2e-8a6f"
            schedule = Schedule(
                name=f"tenants/{tenant}/schedules/{schedule_id}",
                account_id=f"{at:08d}-4cf0-9d2e",
                expression=expression,
                overlap_policy=OverlapPolicy.OVERLAP_POLICY_ALLOW,
                time_zone="Europe/Berlin",
                schedule_name="Nightly scan of everything",
            )
            schedule.create_time.seconds = START
            settle(schedule, self.clock.now())
            key = TenantScope(tenant).schedule(schedule_id)
            await self.store.write(Put(key, item_of(schedule, 1, SHARDS)))
        self.recorder.calls.clear()

    def scheduler(self) -> Scheduler:
        pace = SchedulerPace(shards=SHARDS, page=1_000)
        return Scheduler(self.store, self.clock, Random(1), pace=pace)

    def take(self) -> list[StoreCall]:
        taken = list(self.recorder.calls)
        self.recorder.calls.clear()
        return taken


def polls(calls: list[StoreCall]) -> float:
    return sum(call.read_units for call in calls if call.operation == "Query")


def read(calls: list[StoreCall]) -> float:
    return sum(call.read_units for call in calls)


def written(calls: list[StoreCall]) -> float:
    return sum(call.write_units for call in calls)


@pytest.mark.parametrize("number", [0, 200, 1_000])
async def test_a_poll_of_what_is_not_due_costs_the_same_for_any_number(number: int) -> None:
    world = World()
    await world.schedules(number, "0 3 1 1 *")
    await world.scheduler().tick()
    calls = world.take()
    assert polls(calls) == budgets.POLL_UNITS_PER_SHARD * SHARDS
    assert (len(calls), written(calls)) == (SHARDS, 0)


@pytest.mark.parametrize("due", [50, 400])
async def test_a_poll_costs_little_for_each_that_is_due(due: int) -> None:
    world = World()
    await world.schedules(due, "*/5 * * * *")
    await world.schedules(100, "0 3 1 1 *", "later")
    await world.clock.sleep(300)
    await world.scheduler().tick()
    calls = world.take()
    most = budgets.POLL_UNITS_PER_SHARD * SHARDS + budgets.POLL_UNITS_PER_DUE * due
    assert budgets.POLL_UNITS_PER_SHARD * SHARDS <= polls(calls) <= most


@pytest.mark.parametrize("firings", [1, 2, 3])
async def test_a_claim_costs_nine_write_units(firings: int) -> None:
    """Of the first firing and of later ones, which look at the execution before."""
    world, number = World(), 40
    await world.schedules(number, "*/5 * * * *")
    scheduler = world.scheduler()
    for _ in range(firings):
        world.take()
        await world.clock.sleep(300)
        assert await scheduler.tick() == number
    calls = [call for call in world.take() if call.operation != "Query"]
    assert written(calls) / number <= budgets.CLAIM_WRITE_UNITS
    assert read(calls) / number <= budgets.CLAIM_READ_UNITS


class SlowWork:
    """Takes so long that the budgeted number of heartbeats fits in."""

    def __init__(self, clock: StillClock, pace: ExecutorPace) -> None:
        self._clock = clock
        self._seconds = pace.beat * (budgets.BEATS + 0.5)

    async def run(self, assignment: Assignment) -> Published:
        end = self._clock.now() + int(self._seconds * MICROSECONDS)
        while self._clock.now() < end:
            await asyncio.sleep(0)
        scope = TenantScope(assignment.tenant)
        key = scope.scan_result(assignment.account_id, end, assignment.execution_id)
        result: Item = {"execution_id": assignment.execution_id, "fence": assignment.fence}
        return Published(key.sk, [Put(key, result)])

    async def abort(self, assignment: Assignment) -> None:
        raise AssertionError(f"nobody cancelled {assignment.execution_id}")


async def test_a_run_from_claim_to_result() -> None:
    world, pace = World(), ExecutorPace(shards=SHARDS)
    await world.schedules(1, "*/5 * * * *")
    await world.clock.sleep(300)
    await world.scheduler().tick()
    work = SlowWork(world.clock, pace)
    executor = Executor(world.store, world.clock, Random(1), work, "one", pace=pace)
    (attempt,) = await executor.poll()
    await attempt.run()
    assert executor.counts.succeeded == 1
    calls = [call for call in world.take() if call.operation != "Query"]
    beats = [call for call in calls if call.operation == "UpdateItem"]
    assert len(beats) == 1 + budgets.BEATS
    assert written(calls) <= budgets.RUN_WRITE_UNITS
    assert read(calls) <= budgets.RUN_READ_UNITS
