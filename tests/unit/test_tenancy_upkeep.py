"""The upkeep by replicas in simulated time: each job once in its interval, whatever fails."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from mesh.errors import DependencyUnavailable
from services.tenancy.clock import MICROSECONDS
from services.tenancy.cost.budgets import UPKEEP_CALLS_PER_RUN, UPKEEP_LOOKS_PER_HOUR
from services.tenancy.store.conditions import Any as AnyOf
from services.tenancy.store.conditions import Exists, Missing
from services.tenancy.store.memory import MemoryStore
from services.tenancy.store.port import Action
from services.tenancy.store.recorder import Recorder
from services.tenancy.upkeep import claims
from services.tenancy.upkeep.claims import DONE, Claims, Standing
from services.tenancy.upkeep.job import BrokenOff, Job, Run, Tally
from services.tenancy.upkeep.upkeep import Upkeep, UpkeepPace
from tests.unit.simulation.loop import simulate
from tests.unit.simulation.process import CALM, Process, Weather, WorldClock
from tests.unit.tenancy_clock import TurnedClock

HOUR = 3600.0
PACE = UpkeepPace(lease=120, tick=60)
LATE = PACE.tick * (1 + PACE.spread) + 5
"""Seconds after which a job that is due is begun at the latest, where nothing fails."""
SKEW = 2.0
STORM = Weather(throttled=0.03, unsent=0.02, unanswered=0.03, conflicting=0)


@dataclass
class Worked:
    """A run that was begun, in true seconds."""

    job: str
    by: str
    began: float
    ended: float = 0.0
    """0 if it broke off."""


class WatchedStore(MemoryStore):
    """Holds what must be true of every write of a job's item."""

    def __init__(self, clock: WorldClock, recorder: Recorder) -> None:
        super().__init__(clock=clock, observe=recorder.observe)
        self._clock_of_world = clock
        self._seen: dict[str, Standing] = {}
        self.done: Counter[str] = Counter()
        self.violations: list[str] = []

    async def write(self, *actions: Action, token: str = "") -> None:
        await super().write(*actions, token=token)
        now = self._clock_of_world.now()
        look = Claims(self._quiet(), self._clock_of_world, "watch", 1)
        for job, after in (await look.standings()).items():
            self._hold(self._seen.get(job, Standing(job)), after, now)
            self._seen[job] = after

    def _quiet(self) -> MemoryStore:
        store = MemoryStore(clock=self._clock_of_world)
        store.__dict__.update(self.__dict__, _observe=None)
        store.__class__ = MemoryStore
        return store

    def _hold(self, before: Standing, after: Standing, now: int) -> None:
        slack = 2 * SKEW * MICROSECONDS
        if after.fence not in (before.fence, before.fence + 1):
            self.violations.append(f"{after.job}: fence {before.fence} to {after.fence}")
        if after.fence == before.fence and after.owner != before.owner:
            self.violations.append(f"{after.job}: two have one fence")
        if after.fence > before.fence and before.free_at() > now + slack:
            self.violations.append(f"{after.job}: claimed before it was free")
        if after.fence == before.fence and after.ended_at > before.ended_at:
            self.done[after.job] += after.outcome == DONE
            if before.ended_at >= before.begun_at and before.ended_at:
                self.violations.append(f"{after.job}: one run ended twice")


@dataclass
class Site:
    """Replicas of the upkeep."""

    chance: Random
    weather: Weather = CALM
    recorder: Recorder = field(default_factory=Recorder)
    runs: list[Worked] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)
    work: tuple[float, float] = (1, 20)
    problem: Exception | None = None
    jobs: dict[str, float] = field(default_factory=lambda: {"often": 300.0, "seldom": HOUR})
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.clock = WorldClock()
        self.store = WatchedStore(self.clock, self.recorder)

    def start(self) -> Process:
        name = f"replica-{next(self._numbers)}"
        chance = Random(f"{self.chance.random()}/{name}")
        skew = self.chance.uniform(-SKEW, SKEW)
        process = Process(name, self.store, chance, self.weather, skew)
        jobs = [self._job(process, name, interval) for name, interval in self.jobs.items()]
        upkeep = Upkeep(process, process, chance, jobs, name, PACE)
        process.start(upkeep.run)
        self.processes.append(process)
        return process

    def _job(self, process: Process, name: str, interval: float) -> Job:
        async def run() -> Tally:
            worked = Worked(name, process.name, self.now())
            self.runs.append(worked)
            if self.problem is not None:
                raise self.problem
            await process.sleep(process.chance.uniform(*self.work))
            worked.ended = self.now()
            return Tally(done=1)

        return Job(name, interval, run)

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def of(self, job: str) -> list[Worked]:
        return [each for each in self.runs if each.job == job]

    async def end(self) -> None:
        for each in self.processes:
            if not each.has_ended:
                await each.kill()


def lived(make: Callable[[], Site], life: Callable[[Site], Any]) -> Site:
    async def live() -> Site:
        site = make()
        try:
            await life(site)
        finally:
            await site.end()
        return site

    return simulate(live())


@pytest.mark.parametrize("replicas", [1, 2, 5])
def test_each_job_is_done_once_in_its_interval(replicas: int) -> None:
    async def life(site: Site) -> None:
        for _ in range(replicas):
            site.start()
        await asyncio.sleep(12 * HOUR)
        for each in site.processes:
            each.hold_alive()

    site = lived(lambda: Site(Random(3)), life)
    assert site.store.violations == []
    for job, interval in site.jobs.items():
        runs = site.of(job)
        assert runs[0].began <= LATE
        for before, after in itertools.pairwise(runs):
            assert before.ended
            assert interval - 2 * SKEW <= after.began - before.began <= interval + LATE
    assert len({each.by for each in site.runs}) == replicas


def test_one_that_is_killed_in_the_middle_is_followed_by_another_after_its_lease() -> None:
    async def life(site: Site) -> None:
        for _ in range(3):
            site.start()
        while not site.runs:
            await asyncio.sleep(1)
        first = site.runs[0]
        # Longer than the lease: it beats.
        await asyncio.sleep(3 * PACE.lease)
        assert len(site.runs) == 1
        (holder,) = [each for each in site.processes if each.name == first.by]
        killed = site.now()
        await holder.kill()
        while len(site.runs) == 1:
            await asyncio.sleep(1)
        waited = site.now() - killed
        assert PACE.lease / 2 < waited < PACE.lease + LATE + 2 * SKEW
        assert site.runs[1].by != first.by

    site = lived(lambda: Site(Random(5), work=(1000, 2000), jobs={"long": HOUR}), life)
    assert site.store.violations == []


def test_one_that_ends_in_peace_gives_its_job_to_another_at_once() -> None:
    async def life(site: Site) -> None:
        for _ in range(2):
            site.start()
        while not site.runs:
            await asyncio.sleep(1)
        (holder,) = [each for each in site.processes if each.name == site.runs[0].by]
        began = site.now()
        await holder.stop()
        while len(site.runs) == 1:
            await asyncio.sleep(1)
        # It stops at its next look.
        assert site.now() - began < 2 * LATE

    site = lived(lambda: Site(Random(7), work=(5000, 6000), jobs={"long": HOUR}), life)
    assert site.store.violations == []


def test_a_store_that_is_away_stops_nobody_for_good() -> None:
    async def life(site: Site) -> None:
        for _ in range(2):
            site.start()
        while not site.runs:
            await asyncio.sleep(1)
        gone = Weather(unsent=1.0)
        for each in site.processes:
            each.weather = gone
        await asyncio.sleep(2 * HOUR)
        # Who could not say that it goes on has stopped, and nobody began anew.
        assert (len(site.runs), site.runs[0].ended) == (1, 0.0)
        for each in site.processes:
            each.weather = CALM
            each.hold_alive()
        await asyncio.sleep(HOUR)
        assert any(each.ended for each in site.runs)
        for each in site.processes:
            each.hold_alive()

    site = lived(lambda: Site(Random(9), work=(600, 700), jobs={"long": HOUR}), life)
    assert site.store.violations == []


def test_a_job_that_fails_is_tried_again_ever_later_and_holds_up_no_other() -> None:
    async def life(site: Site) -> None:
        site.problem = BrokenOff("DEPENDENCY_UNAVAILABLE", Tally(done=2, failed=5))
        site.start()
        await asyncio.sleep(24 * HOUR)
        failing = len(site.of("seldom"))
        # Hourly at least; sooner at first.
        assert 24 <= failing <= 60
        standing = (await Claims(site.store, site.clock, "test", 1).standings())["seldom"]
        assert (standing.outcome, standing.reason) == ("failed", "DEPENDENCY_UNAVAILABLE")
        assert (standing.done, standing.failed) == (2, 5)
        assert standing.failures == failing
        assert not standing.succeeded_at
        site.problem = None
        await asyncio.sleep(2 * HOUR)
        standing = (await Claims(site.store, site.clock, "test", 1).standings())["seldom"]
        assert (standing.outcome, standing.failures, standing.reason) == (DONE, 0, "")

    site = lived(lambda: Site(Random(11)), life)
    assert site.store.violations == []


def test_an_error_that_nobody_foresaw_ends_no_replica() -> None:
    async def life(site: Site) -> None:
        site.problem = ZeroDivisionError("once")
        site.start()
        await asyncio.sleep(HOUR)
        site.problem = None
        await asyncio.sleep(2 * HOUR)
        assert site.store.done["often"] > 10
        site.processes[0].hold_alive()

    lived(lambda: Site(Random(13)), life)


async def trouble(site: Site) -> None:
    """Kill and pause replicas for half a day, and let all come to rest."""
    for _ in range(3):
        site.start()
    for _ in range(60):
        await asyncio.sleep(site.chance.uniform(0, 1200))
        victim = site.processes[-site.chance.randint(1, 3)]
        if site.chance.random() < 0.5:
            victim.pause(site.chance.uniform(5, 400))
        else:
            await victim.kill()
            site.processes.remove(victim)
            site.start()


@pytest.mark.parametrize("seed", range(10))
def test_whatever_happens_no_two_hold_a_job_and_it_is_done(seed: int) -> None:
    site = lived(lambda: Site(Random(seed), STORM, work=(1, 300)), trouble)
    assert site.store.violations == []
    hours = max(each.began for each in site.runs) / HOUR
    assert site.store.done["seldom"] > 0.5 * hours
    assert len(site.of("often")) > site.store.done["often"], "none broke off: nothing is proved"


def violations_of(seed: int) -> list[str]:
    return lived(lambda: Site(Random(seed), STORM, work=(1, 300)), trouble).store.violations


def claimed_without_condition(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(claims, "_unchanged", lambda *_: AnyOf(Missing(), Exists()))


def lease_unseen(patch: pytest.MonkeyPatch) -> None:
    """Look only at when a job is due."""
    real = claims._unchanged

    async def claim(self: Claims, standing: Standing, **_: Any) -> Any:
        now = self._clock.now()
        if standing.next_at > now:
            return None
        free = Standing(standing.job, fence=standing.fence, begun_at=standing.begun_at)
        patch.setattr(claims, "_unchanged", lambda each, _now: real(each, 2**62))
        return await original(self, free)

    original = Claims.claim
    patch.setattr(Claims, "claim", claim)


@pytest.mark.parametrize(
    "mutant", [claimed_without_condition, lease_unseen], ids=lambda mutant: mutant.__name__
)
def test_a_fault_in_claims_is_found(
    mutant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant(monkeypatch)
    assert any(map(violations_of, range(10)))


def test_what_looking_costs() -> None:
    hours, replicas = 6, 3

    async def life(site: Site) -> None:
        for _ in range(replicas):
            site.start()
        await asyncio.sleep(hours * HOUR)

    site = lived(lambda: Site(Random(15)), life)
    most = hours * replicas * UPKEEP_LOOKS_PER_HOUR + len(site.runs) * UPKEEP_CALLS_PER_RUN
    # Of two that claim at one time one is refused: seldom.
    assert len(site.recorder.calls) <= most * 1.02
    assert len(site.runs) > 70


async def test_a_run_breaks_off_when_nothing_answers_and_goes_slower_before() -> None:
    clock = TurnedClock()
    run = Run(clock, Random(1))

    async def down() -> bool:
        raise DependencyUnavailable("sts")

    for number in range(4):
        await run.each(f"account {number}", down)
    with pytest.raises(BrokenOff) as broken:
        await run.each("account 5", down)
    assert broken.value.reason == "DEPENDENCY_UNAVAILABLE"
    assert (broken.value.tally.done, broken.value.tally.failed) == (0, 5)
    assert max(clock.slept) > 1


async def test_one_that_fails_for_reasons_of_its_own_breaks_nothing_off() -> None:
    clock = TurnedClock()
    run, began = Run(clock, Random(1)), clock.now()

    async def work(number: int) -> bool:
        if number % 3:
            raise DependencyUnavailable("sts")
        if number % 2:
            raise ZeroDivisionError
        return number % 5 != 0

    for number in range(60):
        await run.each(f"account {number}", lambda number=number: work(number))  # type: ignore[misc]  # bound now
    assert (run.tally.done, run.tally.failed) == (8, 52)
    # Four a second at most.
    assert clock.now() - began >= 59 * MICROSECONDS // 4
