"""A world in which schedulers and executors run as they are, and everything around them fails."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from random import Random

from secmesh.tenancy.v1.account_pb2 import ACCOUNT_STATUS_ACTIVE, AccountStatus
from secmesh.tenancy.v1.schedule_pb2 import MisfirePolicy, OverlapPolicy, Schedule
from services.tenancy import scheduling
from services.tenancy.gate import COUNTERS, opened
from services.tenancy.schedules import item_of, settle
from services.tenancy.scheduling.attempt import ExecutorPace
from services.tenancy.scheduling.backoff import Backoff
from services.tenancy.scheduling.executor import Executor
from services.tenancy.scheduling.scheduler import Scheduler, SchedulerPace
from services.tenancy.scheduling.shards import Replica
from services.tenancy.scheduling.work import Assignment, Published, WorkFailed
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.memory_faults import Faults
from services.tenancy.store.port import Item, Put
from tests.unit.simulation.loop import simulate
from tests.unit.simulation.process import BEGIN, CALM, Process, Weather, WorldClock
from tests.unit.simulation.users import Users
from tests.unit.simulation.watch import WatchedStore

SHARDS = 2
TENANTS = ["tenant-0", "tenant-1", "tenant-2"]
_POLICIES = [
    OverlapPolicy.OVERLAP_POLICY_SKIP,
    OverlapPolicy.OVERLAP_POLICY_BUFFER_ONE,
    OverlapPolicy.OVERLAP_POLICY_ALLOW,
    OverlapPolicy.OVERLAP_POLICY_CANCEL_OTHER,
]
_MISFIRES = [
    MisfirePolicy.MISFIRE_POLICY_ONCE,
    MisfirePolicy.MISFIRE_POLICY_ALL,
    MisfirePolicy.MISFIRE_POLICY_SKIP,
]
_EXPRESSIONS = ["* * * * *", "rate(2 minutes)", "*/3 * * * *"]


@dataclass(frozen=True)
class Shape:
    """How large a world is, and how hard its life; times in seconds."""

    schedules: int = 12
    schedulers: int = 3
    executors: int = 4
    minutes: float = 20
    weather: Weather = field(default_factory=Weather)
    index_lag: tuple[float, float] = (0, 8)
    between_kills: float = 60
    between_pauses: float = 40
    pause: tuple[float, float] = (5, 90)
    skew: float = 2
    work: tuple[float, float] = (1, 90)
    failing: float = 0.15
    between_users: float = 20
    """Between two things that callers do."""


class FlakyWork:
    """Takes its time, fails by chance, and publishes one result."""

    def __init__(self, process: Process, shape: Shape) -> None:
        self._process = process
        self._shape = shape

    async def run(self, assignment: Assignment) -> Published:
        chance = self._process.chance
        await self._process.sleep(chance.uniform(*self._shape.work))
        if chance.random() < self._shape.failing:
            raise WorkFailed("UNLUCKY", "by chance", final=chance.random() < 0.2)
        scope, finished = TenantScope(assignment.tenant), self._process.now()
        key = scope.scan_result(assignment.account_id, finished, assignment.execution_id)
        result: Item = {"execution_id": assignment.execution_id, "fence": assignment.fence}
        return Published(key.sk, [Put(key, result)])

    async def abort(self, _assignment: Assignment) -> None:
        """Nothing goes on elsewhere."""


class World:
    """One seeded life of a deployment."""

    def __init__(self, seed: int, shape: Shape) -> None:
        self.chance = Random(seed)
        self.seed = seed
        self.shape = shape
        self.clock = WorldClock()
        self.store = WatchedStore(self.clock, Faults(Random(seed), index_lag=shape.index_lag))
        self.schedules: list[tuple[str, str]] = []
        self._makers: list[Callable[[], Process]] = []
        self._processes: list[Process] = []
        self._started = 0
        self.kills = 0
        self.scheduler_pace = SchedulerPace(
            shards=SHARDS, tick=3, others=15, at_once=4, max_attempts=6
        )
        self.executor_pace = ExecutorPace(
            shards=SHARDS,
            tick=3,
            others=15,
            slots=4,
            per_tenant=3,
            lease=30,
            beat=8,
            waits=10,
            backoff=Backoff(2, 30),
        )

    async def live(self) -> None:
        """Live through it, then let everything come to rest, and hold what is left."""
        limits = dict.fromkeys(COUNTERS, 2 * self.shape.schedules)
        for tenant in TENANTS:
            await self.store.write(opened(TenantScope(tenant), limits))
        for number in range(self.shape.schedules):
            await self._schedule(number)
        self._makers = [
            *(partial(self._scheduler, number) for number in range(self.shape.schedulers)),
            *(partial(self._executor, number) for number in range(self.shape.executors)),
        ]
        self._processes = [make() for make in self._makers]
        users = Users(self.store, self.clock, self.chance, self.schedules, self.scheduler_pace)
        troubles = [
            asyncio.create_task(self._kill_now_and_then()),
            asyncio.create_task(self._pause_now_and_then()),
            asyncio.create_task(self._use_now_and_then(users)),
        ]
        violated = asyncio.create_task(self.store.violated.wait())
        await asyncio.wait(
            {violated, *troubles},
            timeout=self.shape.minutes * 60,
            return_when=asyncio.FIRST_COMPLETED,
        )
        for trouble in (violated, *troubles):
            trouble.cancel()
        for ended in await asyncio.gather(violated, *troubles, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended
        if not self.store.violations:
            await self._rest(users)
        for process in self._processes:
            await process.kill()

    async def _rest(self, users: Users) -> None:
        """Let no trouble come any more, end what is scheduled, and wait until nothing waits."""
        for place, process in enumerate(self._processes):
            if process.has_ended:
                self._processes[place] = self._makers[place]()
            self._processes[place].weather = CALM
        await asyncio.sleep(300)
        self.store.hold_schedules()
        await users.pause_all()
        await asyncio.sleep(1800)
        for process in self._processes:
            process.hold_alive()
        self.store.hold_end()

    async def _schedule(self, number: int) -> None:
        tenant, schedule_id = TENANTS[number % len(TENANTS)], f"schedule-{number}"
        schedule = Schedule(
            name=f"tenants/{tenant}/schedules/{schedule_id}",
            account_id=f"account-{number}",
            expression=_EXPRESSIONS[number % len(_EXPRESSIONS)],
            overlap_policy=_POLICIES[number % len(_POLICIES)],
            misfire_policy=_MISFIRES[self.chance.randrange(len(_MISFIRES))],
            misfire_window_seconds=600,
            jitter_seconds=self.chance.choice([0, 0, 20]),
            pause_on_failure=number % 5 == 4,
        )
        schedule.create_time.seconds = BEGIN
        settle(schedule, self.clock.now())
        scope = TenantScope(tenant)
        await self.store.write(Put(scope.schedule(schedule_id), item_of(schedule, 1, SHARDS)))
        account: Item = {"status": AccountStatus.Name(ACCOUNT_STATUS_ACTIVE)}
        await self.store.write(Put(scope.account(schedule.account_id), account))
        self.schedules.append((tenant, schedule_id))

    def _process(self, kind: str) -> Process:
        self._started += 1
        skew = self.chance.uniform(-self.shape.skew, self.shape.skew)
        name = f"{kind}-{self._started}"
        chance = Random(f"{self.seed}/{name}")
        return Process(name, self.store, chance, self.shape.weather, skew)

    def _scheduler(self, number: int) -> Process:
        process = self._process("scheduler")
        replica = Replica(number, self.shape.schedulers)
        scheduler = Scheduler(process, process, process.chance, replica, self.scheduler_pace)
        process.start(scheduler.run)
        return process

    def _executor(self, number: int) -> Process:
        process = self._process("executor")
        replica = Replica(number, self.shape.executors)
        work = FlakyWork(process, self.shape)
        executor = Executor(
            process, process, process.chance, work, process.name, replica, self.executor_pace
        )
        process.start(executor.run)
        return process

    async def _kill_now_and_then(self) -> None:
        """Kill a process, or have it end in peace, and start another in its place."""
        while True:
            await self._wait_about(self.shape.between_kills)
            place = self.chance.randrange(len(self._processes))
            old = self._processes[place]
            if self.chance.random() < 0.8:
                await old.kill()
            else:
                await old.stop()
            await asyncio.sleep(self.chance.uniform(0, 10))
            self._processes[place] = self._makers[place]()
            self.kills += 1

    async def _pause_now_and_then(self) -> None:
        while True:
            await self._wait_about(self.shape.between_pauses)
            process = self._processes[self.chance.randrange(len(self._processes))]
            process.pause(self.chance.uniform(*self.shape.pause))

    async def _use_now_and_then(self, users: Users) -> None:
        while True:
            await self._wait_about(self.shape.between_users)
            await users.do_something()

    async def _wait_about(self, seconds: float) -> None:
        await asyncio.sleep(self.chance.expovariate(1 / seconds))


class _Surprises(logging.Handler):
    """Takes what the code itself did not expect for a violation: it would be an INTERNAL."""

    def __init__(self, store: WatchedStore) -> None:
        super().__init__(logging.ERROR)
        self._store = store

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self._store.violate(f"{record.getMessage()}: {record.exc_info[1]!r}")


@contextmanager
def _no_surprises(store: WatchedStore) -> Iterator[None]:
    logger, handler = logging.getLogger(scheduling.__name__), _Surprises(store)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def lived(seed: int, shape: Shape) -> World:
    """Give a world after its life."""

    async def live() -> World:
        world = World(seed, shape)
        with _no_surprises(world.store):
            await world.live()
        return world

    return simulate(live())


def violations_of(seed: int) -> list[str]:
    """Give what is violated in the world of a seed."""
    return lived(seed, Shape()).store.violations
