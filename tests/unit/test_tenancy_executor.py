"""An executor alone: how attempts end, by themselves, by callers, by signals and by outages."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random

from secmesh.tenancy.v1.execution_pb2 import EXECUTION_TRIGGER_SCHEDULE
from secmesh.tenancy.v1.schedule_pb2 import Schedule
from services.tenancy.schedules import ACTIVE, item_of
from services.tenancy.scheduling import executions
from services.tenancy.scheduling.attempt import ExecutorPace
from services.tenancy.scheduling.backoff import Backoff
from services.tenancy.scheduling.executor import Executor
from services.tenancy.scheduling.operations import cancel
from services.tenancy.scheduling.scheduler import Scheduler
from services.tenancy.scheduling.work import Assignment, Published, WorkFailed
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.memory import MemoryStore
from services.tenancy.store.port import Item, Put
from tests.unit.simulation.loop import simulate
from tests.unit.simulation.process import BEGIN, CALM, Process, Weather, WorldClock

SCOPE = TenantScope("acme")
SCHEDULE, EXECUTION = SCOPE.schedule("s"), SCOPE.execution("s", BEGIN)
PACE = ExecutorPace(shards=1, tick=1, lease=30, beat=8, backoff=Backoff(1, 4))
OUTAGE = Weather(throttled=1, unsent=0, unanswered=0, conflicting=0)


@dataclass
class Labour:
    """Takes so long, and ends as it is told."""

    seconds: float = 10
    failure: WorkFailed | None = None
    begun: list[Assignment] = field(default_factory=list)
    cancelled: int = 0
    aborted: int = 0

    async def run(self, assignment: Assignment) -> Published:
        self.begun.append(assignment)
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.failure is not None:
            raise self.failure
        return Published("result")

    async def abort(self, _assignment: Assignment) -> None:
        self.aborted += 1


@dataclass
class Site:
    store: MemoryStore
    labour: Labour
    started: int = 0

    def executor(self) -> tuple[Process, Executor]:
        self.started += 1
        process = Process(f"e{self.started}", self.store, Random(self.started), CALM, 0)
        executor = Executor(process, process, process.chance, self.labour, process.name, pace=PACE)
        process.start(executor.run)
        return process, executor

    async def execution(self) -> Item:
        item = await self.store.get(EXECUTION)
        assert item is not None
        return item

    async def status(self) -> executions.Status:
        return executions.status_of(await self.execution())


def story(
    told: Callable[[Site], Awaitable[None]], labour: Labour, *, max_attempts: int = 5
) -> None:
    """Run a story about one execution that waits."""

    async def main() -> None:
        store = MemoryStore(WorldClock())
        schedule = Schedule(
            name="tenants/acme/schedules/s",
            account_id="a",
            expression="@hourly",
            state=ACTIVE,
            pause_on_failure=True,
        )
        schedule.create_time.seconds = BEGIN
        schedule.next_fire_time.seconds = BEGIN + 3600
        await store.write(Put(SCHEDULE, item_of(schedule, 1, 1)))
        plan = executions.Plan(
            tenant="acme",
            schedule_id="s",
            account_id="a",
            status=executions.QUEUED,
            trigger=EXECUTION_TRIGGER_SCHEDULE,
            fire=BEGIN * 1_000_000,
            max_attempts=max_attempts,
            pause_on_failure=True,
        )
        await store.write(executions.created(EXECUTION, plan, WorldClock().now(), 1))
        await told(Site(store, labour))

    simulate(main())


def test_an_executor_that_ends_in_peace_gives_the_lease_back_uncounted() -> None:
    async def told(site: Site) -> None:
        process, executor = site.executor()
        await asyncio.sleep(20)
        await process.stop()
        item = await site.execution()
        assert executions.status_of(item) == executions.QUEUED
        assert (item["attempts"], item["fence"]) == (0, 1)
        assert executions.is_free(item, WorldClock().now())
        assert (executor.counts.released, site.labour.cancelled) == (1, 1)

    story(told, Labour(seconds=100))


def test_attempts_that_are_spent_end_in_a_dead_letter_and_pause_the_schedule() -> None:
    async def told(site: Site) -> None:
        process, executor = site.executor()
        await asyncio.sleep(120)
        item = await site.execution()
        assert executions.status_of(item) == executions.DEAD
        assert (item["attempts"], item["failures"]) == (3, 3)
        assert (item["error_reason"], item["error_message"]) == ("AWAY", "it is away")
        assert "lease_pk" not in item
        assert len({each.key for each in site.labour.begun}) == 3
        assert executor.counts.dead == 1
        schedule = await site.store.get(SCHEDULE)
        assert schedule is not None
        assert schedule["state"] == "SCHEDULE_STATE_PAUSED"
        assert "AWAY" in str(schedule["pause_reason"])
        assert "due_pk" not in schedule
        await process.kill()

    story(told, Labour(1, WorkFailed("AWAY", "it is away")), max_attempts=3)


def test_work_that_kills_its_executors_is_not_tried_for_ever() -> None:
    async def told(site: Site) -> None:
        for _ in range(2):
            process, _ = site.executor()
            await asyncio.sleep(40)
            await process.kill()
        process, _ = site.executor()
        await asyncio.sleep(40)
        item = await site.execution()
        assert executions.status_of(item) == executions.DEAD
        assert (item["attempts"], item["error_reason"]) == (2, "EXECUTORS_LOST")
        assert len({each.key for each in site.labour.begun}) == 1
        await process.kill()

    story(told, Labour(seconds=1000), max_attempts=2)


def test_one_that_runs_is_cancelled_at_the_next_beat() -> None:
    async def told(site: Site) -> None:
        process, _ = site.executor()
        await asyncio.sleep(5)
        asked = await cancel(site.store, await site.execution(), WorldClock())
        assert executions.status_of(asked) == executions.RUNNING
        await asyncio.sleep(PACE.beat + 1)
        assert await site.status() == executions.CANCELLED
        assert (site.labour.cancelled, site.labour.aborted) == (1, 1)
        await process.kill()

    story(told, Labour(seconds=1000))


def test_one_whose_executor_is_lost_is_cancelled_by_the_next() -> None:
    async def told(site: Site) -> None:
        process, _ = site.executor()
        await asyncio.sleep(5)
        await process.kill()
        await cancel(site.store, await site.execution(), WorldClock())
        process, executor = site.executor()
        await asyncio.sleep(PACE.lease + 5)
        assert await site.status() == executions.CANCELLED
        assert executor.counts.started == 0
        await process.kill()

    story(told, Labour(seconds=1000))


def test_work_ends_when_the_store_is_away_for_longer_than_the_lease() -> None:
    async def told(site: Site) -> None:
        process, executor = site.executor()
        await asyncio.sleep(5)
        process.weather = OUTAGE
        await asyncio.sleep(PACE.lease + PACE.beat)
        assert (executor.counts.lost, site.labour.cancelled) == (1, 1)
        process.weather = CALM
        site.labour.seconds = 1
        await asyncio.sleep(10)
        item = await site.execution()
        assert executions.status_of(item) == executions.SUCCEEDED
        assert item["fence"] == 2
        await process.kill()

    story(told, Labour(seconds=1000))


def test_a_lease_outlives_an_outage_that_is_shorter() -> None:
    async def told(site: Site) -> None:
        process, executor = site.executor()
        await asyncio.sleep(5)
        process.weather = OUTAGE
        await asyncio.sleep(PACE.lease / 2)
        process.weather = CALM
        await asyncio.sleep(60)
        item = await site.execution()
        assert executions.status_of(item) == executions.SUCCEEDED
        assert (item["fence"], executor.counts.lost) == (1, 0)
        await process.kill()

    story(told, Labour(seconds=60))


def test_an_executor_that_fails_in_an_unforeseen_way_tries_again() -> None:
    class Broken(Labour):
        async def run(self, assignment: Assignment) -> Published:
            self.begun.append(assignment)
            if len(self.begun) == 1:
                raise KeyError("secret")
            return Published("result")

    async def told(site: Site) -> None:
        process, _ = site.executor()
        await asyncio.sleep(30)
        item = await site.execution()
        assert executions.status_of(item) == executions.SUCCEEDED
        assert item["error_reason"] == "INTERNAL"
        assert "secret" not in repr(item)
        await process.kill()

    story(told, Broken())


def test_a_schedule_that_nobody_can_compute_is_paused_with_the_reason() -> None:
    async def told(site: Site) -> None:
        schedule = Schedule(
            name="tenants/acme/schedules/s",
            account_id="a",
            expression="@hourly",
            time_zone="Atlantis/Poseidonis",
            state=ACTIVE,
        )
        schedule.create_time.seconds = BEGIN - 7200
        schedule.next_fire_time.seconds = BEGIN - 3600
        await site.store.write(Put(SCHEDULE, item_of(schedule, 1, 16)))
        scheduler = Scheduler(site.store, WorldClock(), Random(1))
        assert await scheduler.tick() == 0
        assert scheduler.counts.paused == 1
        item = await site.store.get(SCHEDULE)
        assert item is not None
        assert item["state"] == "SCHEDULE_STATE_PAUSED"
        assert "time_zone" in str(item["pause_reason"])
        assert "due_pk" not in item

    story(told, Labour())
