"""What claims and polls cost, and how many a minute has room for; on the store in memory."""

import asyncio
from collections import Counter
from random import Random

from secmesh.tenancy.v1.schedule_pb2 import Schedule
from services.tenancy.schedules import ACTIVE, item_of
from services.tenancy.scheduling.scheduler import Scheduler
from services.tenancy.scheduling.shards import Replica
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.memory import MemoryStore
from services.tenancy.store.port import Put
from services.tenancy.store.recorder import StoreCall
from services.tenancy.store.tables import Table
from services.tenancy.timing.zones import TZDATA_VERSION
from tests.unit.simulation.loop import simulate
from tests.unit.simulation.process import BEGIN, CALM, Process, WorldClock

SHARDS = 16


async def _add(store: MemoryStore, numbers: range, fire: int) -> None:
    for number in numbers:
        schedule = Schedule(
            name=f"tenants/tenant-{number % 50}/schedules/schedule-{number}",
            account_id=f"account-{number}",
            expression="0 * * * *",
            state=ACTIVE,
            tzdata_version=TZDATA_VERSION,
        )
        schedule.create_time.seconds = BEGIN - 86_400
        schedule.next_fire_time.seconds = fire
        key = TenantScope(f"tenant-{number % 50}").schedule(f"schedule-{number}")
        await store.write(Put(key, item_of(schedule, 1, SHARDS)))


def _hour() -> int:
    return BEGIN - BEGIN % 3600


async def claimed(schedules: int, seconds: float) -> Counter[str]:
    """Give what four replicas make of so many schedules that are due, in so much time."""
    store = MemoryStore(WorldClock())
    await _add(store, range(schedules), _hour())
    processes = [Process(f"s{each}", store, Random(each), CALM, 0) for each in range(4)]
    schedulers = [
        Scheduler(process, process, process.chance, Replica(number, 4))
        for number, process in enumerate(processes)
    ]
    for process, scheduler in zip(processes, schedulers, strict=True):
        process.start(scheduler.run)
    await asyncio.sleep(seconds)
    for process in processes:
        await process.kill()
    assert sum(each.counts.lost for each in schedulers) < schedules / 50
    return Counter(str(item["schedule_id"]) for item in store.items(Table.EXECUTIONS))


def test_ten_thousand_a_minute_are_claimed_by_four_replicas() -> None:
    made = simulate(claimed(1_000, 6))
    assert len(made) == 1_000
    assert set(made.values()) == {1}


def test_a_poll_costs_the_same_however_many_schedules_there_are() -> None:
    async def cost(schedules: int) -> tuple[float, float]:
        calls: list[StoreCall] = []
        store = MemoryStore(WorldClock(), observe=calls.append)
        await _add(store, range(schedules), _hour() + 7200)
        scheduler = Scheduler(store, WorldClock(), Random(1))
        calls.clear()
        await scheduler.tick()
        idle = sum(call.read_units for call in calls)
        await _add(store, range(schedules, schedules + 8), _hour())
        calls.clear()
        await scheduler.tick()
        writes = [call.write_units for call in calls if call.write_units]
        assert len(writes) == 8
        return idle, max(writes)

    for schedules in (50, 1_000):
        idle, claim = simulate(cost(schedules))
        assert idle == 0.5 * SHARDS
        assert claim <= 9


def test_a_claim_that_is_late_says_so() -> None:
    async def lag() -> float:
        store = MemoryStore(WorldClock())
        await _add(store, range(1), _hour())
        scheduler = Scheduler(store, WorldClock(), Random(1))
        await scheduler.tick()
        return scheduler.counts.lag

    assert simulate(lag()) == BEGIN - _hour()
