"""Claims of occurrences that were made otherwise, as by a backfill, before a scheduler came."""

from random import Random

import pytest

from secmesh.tenancy.v1.execution_pb2 import ExecutionStatus, ExecutionTrigger
from secmesh.tenancy.v1.schedule_pb2 import (
    OVERLAP_POLICY_ALLOW,
    OVERLAP_POLICY_BUFFER_ONE,
    OVERLAP_POLICY_CANCEL_OTHER,
    OVERLAP_POLICY_SKIP,
    MisfirePolicy,
    OverlapPolicy,
    Schedule,
)
from services.tenancy.clock import MICROSECONDS
from services.tenancy.schedules import ACTIVE, CODEC, item_of
from services.tenancy.scheduling import executions
from services.tenancy.scheduling.claims import admit
from services.tenancy.scheduling.scheduler import Scheduler, SchedulerCounts, SchedulerPace
from services.tenancy.store.items import VERSION, integer
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.memory import MemoryStore
from services.tenancy.store.port import Add, Change, Item, Put, Set, Update
from services.tenancy.store.tables import Table
from services.tenancy.timing.zones import TZDATA_VERSION
from tests.unit.simulation.loop import simulate
from tests.unit.simulation.process import BEGIN, WorldClock

_BACKFILL = ExecutionTrigger.EXECUTION_TRIGGER_BACKFILL
SCOPE = TenantScope("acme")
FIRE = BEGIN - BEGIN % 60 - 120
"""Three occurrences are due: this one and the two minutes after it."""


async def _stored(store: MemoryStore, policy: OverlapPolicy.ValueType) -> None:
    schedule = Schedule(
        name="tenants/acme/schedules/each-minute",
        account_id="prod",
        expression="* * * * *",
        state=ACTIVE,
        overlap_policy=policy,
        misfire_policy=MisfirePolicy.MISFIRE_POLICY_ALL,
        misfire_window_seconds=600,
        tzdata_version=TZDATA_VERSION,
    )
    schedule.create_time.seconds = BEGIN - 86_400
    schedule.next_fire_time.seconds = FIRE
    await store.write(Put(SCOPE.schedule("each-minute"), item_of(schedule, 1, 1)))


async def _backfilled(store: MemoryStore, time: int) -> None:
    """Make the execution of an occurrence, the schedule's newest, before it is claimed."""
    item, key = await _schedule(store), SCOPE.execution("each-minute", time)
    new, now = [(key, time * MICROSECONDS)], BEGIN * MICROSECONDS
    admitted = await admit(store, item, new, _BACKFILL, now, SchedulerPace(shards=1))
    changes: list[Change] = [Set("last_execution_id", admitted.newest), Add(VERSION, 1)]
    await store.write(Update(SCOPE.schedule("each-minute"), changes), *admitted.actions)


async def _schedule(store: MemoryStore) -> Item:
    item = await store.get(SCOPE.schedule("each-minute"))
    assert item is not None
    return item


@pytest.mark.parametrize("offset", [0, 60, 120])
@pytest.mark.parametrize(
    ("policy", "statuses"),
    [
        (OVERLAP_POLICY_SKIP, {0: "QSS", 60: "SQS", 120: "SSQ"}),
        (OVERLAP_POLICY_BUFFER_ONE, {0: "QQS", 60: "QQS", 120: "QSQ"}),
        (OVERLAP_POLICY_CANCEL_OTHER, {0: "CCQ", 60: "CCQ", 120: "CQC"}),
        (OVERLAP_POLICY_ALLOW, {0: "QQQ", 60: "QQQ", 120: "QQQ"}),
    ],
)
def test_an_occurrence_that_was_backfilled_holds_up_no_other(
    policy: OverlapPolicy.ValueType, statuses: dict[int, str], offset: int
) -> None:
    async def claimed() -> tuple[Schedule, SchedulerCounts, list[Item]]:
        store = MemoryStore(WorldClock())
        await _stored(store, policy)
        await _backfilled(store, FIRE + offset)
        scheduler = Scheduler(store, WorldClock(), Random(1), pace=SchedulerPace(shards=1))
        await scheduler.tick()
        made = sorted(store.items(Table.EXECUTIONS), key=lambda each: integer(each, "fire_time"))
        return CODEC.message(await _schedule(store)), scheduler.counts, made

    schedule, counts, made = simulate(claimed())
    assert (counts.claimed, counts.fired) == (1, 2)
    assert schedule.next_fire_time.seconds == FIRE + 180
    assert "".join(_letter(each) for each in made) == statuses[offset]
    assert all(each["execution_id"] != each.get("depends_on") for each in made)


def _letter(execution: Item) -> str:
    return ExecutionStatus.Name(executions.status_of(execution)).rsplit("_", 1)[-1][0]
