"""A replica of the upkeep: looks for jobs that are due, claims them, does them. No leader.

What a job does is due by what it is done to (an account's last verification, a key's next
change), so a run that breaks off, or is done twice, costs calls and breaks nothing.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from mesh.errors import Refusal
from services.tenancy.clock import MICROSECONDS, Clock
from services.tenancy.scheduling.backoff import Backoff
from services.tenancy.store.port import Conflict, Store, StoreUnavailable, Throttled
from services.tenancy.upkeep.claims import Claim, Claims, Ending, LeaseLost, Standing
from services.tenancy.upkeep.job import BrokenOff, Job, Tally
from services.tenancy.upkeep.telemetry import Outcome, ended

_LOG = logging.getLogger(__name__)
_AGAIN = (Conflict, StoreUnavailable, Throttled)
"""What another look mends."""
_BEATS = 4
"""In a lease: three may be lost."""
_UNFORESEEN = "UNFORESEEN"


@dataclass(frozen=True)
class UpkeepPace:
    """How a replica works; times in seconds."""

    lease: float = 120
    """After which another replica takes over from one that is silent."""
    tick: float = 60
    """Between two looks, at most."""
    spread: float = 0.2
    """Part of a tick by which looks of replicas come apart."""
    backoff: Backoff = field(default_factory=lambda: Backoff(first=60, most=3600))
    """Of jobs that fail; never longer than their interval."""


@dataclass
class _Held:
    """A run of a job by this replica."""

    job: Job
    claim: Claim
    began: int


class Upkeep:
    """Does jobs in turn with other replicas."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        chance: random.Random,
        jobs: Sequence[Job],
        owner: str,
        pace: UpkeepPace = UpkeepPace(),
    ) -> None:
        """``owner`` is what no other replica is called or was."""
        self._clock = clock
        self._chance = chance
        self._jobs = tuple(jobs)
        self._pace = replace(pace, tick=min([pace.tick, *(job.interval for job in jobs)]))
        self._claims = Claims(store, clock, owner, pace.lease)
        self._running: set[str] = set()
        self._unanswered = False
        self._task: asyncio.Task[None] | None = None
        self.standings: Mapping[str, Standing] = {}
        """What was seen at the last look."""

    def start(self) -> None:
        """Begin in the background."""
        self._task = asyncio.create_task(self.run(asyncio.Event()))

    async def close(self) -> None:
        """Stop; what is under way breaks off, and another replica may go on at once."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def run(self, stopping: asyncio.Event) -> None:
        """Look until told to stop; what runs then breaks off."""
        # Replicas that start together do not look together.
        await self._clock.sleep(self._chance.uniform(0, self._pace.tick))
        tasks: set[asyncio.Task[None]] = set()
        async with asyncio.TaskGroup() as group:
            while not stopping.is_set():
                for held in await self._claimed():
                    task = group.create_task(self._do(held))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                await self._clock.sleep(self._rest())
            for task in list(tasks):
                task.cancel()

    async def once(self) -> Mapping[str, Standing]:
        """Do every job now that nobody does, due or not; give how all of them stand then."""
        for job in self._jobs:
            standings = await self._claims.standings()
            standing = standings.get(job.name, Standing(job.name))
            claim = await self._claims.claim(standing, early=True)
            if claim is not None:
                await self._do(_Held(job, claim, self._clock.now()))
        return await self.look()

    async def look(self) -> Mapping[str, Standing]:
        """Give how each job stands; StoreUnavailable, Throttled."""
        found = await self._claims.standings()
        self.standings = {job.name: found.get(job.name, Standing(job.name)) for job in self._jobs}
        return self.standings

    async def _claimed(self) -> list[_Held]:
        """Claim what is due and what this replica does not do already."""
        try:
            standings = await self.look()
        except _AGAIN as problem:
            if not self._unanswered:
                _LOG.warning("the upkeep waits for the store: %s", type(problem).__name__)
            self._unanswered = True
            return []
        self._unanswered = False
        idle = [job for job in self._jobs if job.name not in self._running]
        self._chance.shuffle(idle)
        held: list[_Held] = []
        for job in idle:
            with contextlib.suppress(*_AGAIN):
                claim = await self._claims.claim(standings[job.name])
                if claim is not None:
                    self._running.add(job.name)
                    held.append(_Held(job, claim, self._clock.now()))
        return held

    def _rest(self) -> float:
        """Give the seconds until the next look: when a job comes free, and a little by chance."""
        tick, now = self._pace.tick, self._clock.now()
        waits = [
            (standing.free_at() - now) / MICROSECONDS
            for name, standing in self.standings.items()
            if name not in self._running and standing.free_at() > now
        ]
        return min([tick, *waits]) + self._chance.uniform(0, tick * self._pace.spread)

    async def _do(self, held: _Held) -> None:
        """Bring a run to its end. Cancelled, it gives the claim back."""
        job, outcome = held.job, Outcome.LOST
        ending = Ending(0, 0, _UNFORESEEN)
        try:
            ending = await self._ended(held)
            await self._tell(held, ending)
            outcome = Outcome.FAILED if ending.reason else Outcome.DONE
        except LeaseLost:
            _LOG.warning("upkeep %s was lost to another replica", job.name)
        except asyncio.CancelledError:
            outcome = Outcome.RELEASED
            with contextlib.suppress(LeaseLost, *_AGAIN):
                await self._claims.release(held.claim)
            raise
        finally:
            self._running.discard(job.name)
            seconds = (self._clock.now() - held.began) / MICROSECONDS
            ended(job.name, outcome, seconds, ending.done, ending.failed)

    async def _ended(self, held: _Held) -> Ending:
        """Do it while beating; give how it ended. LeaseLost."""
        job = held.job
        try:
            tally = await self._worked(held)
        except LeaseLost:
            raise
        except BrokenOff as broken:
            return self._failed(held, broken.reason, broken.tally.done, broken.tally.failed)
        except Refusal as refusal:
            return self._failed(held, refusal.reason.name)
        except Exception:  # noqa: BLE001 - whatever it is, the run failed and others go on
            _LOG.exception("upkeep %s failed", job.name)
            return self._failed(held, _UNFORESEEN)
        next_at = held.began + round(job.interval * MICROSECONDS)
        return Ending(self._clock.now(), next_at, "", tally.done, tally.failed)

    def _failed(self, held: _Held, reason: str, done: int = 0, failed: int = 0) -> Ending:
        failures = held.claim.standing.failures + 1
        wait = self._pace.backoff.microseconds(failures, self._chance)
        most = round(held.job.interval * MICROSECONDS)
        now = self._clock.now()
        return Ending(now, now + min(wait, most), reason, done, failed)

    async def _worked(self, held: _Held) -> Tally:
        """Do it while beating; what it raises, and LeaseLost."""
        work = asyncio.ensure_future(held.job.run())
        try:
            while True:
                rest = asyncio.create_task(self._clock.sleep(self._pace.lease / _BEATS))
                try:
                    await asyncio.wait({work, rest}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    rest.cancel()
                if work.done():
                    return work.result()
                await self._beat(held)
        finally:
            work.cancel()
            # What it ends with is of no interest any more.
            await asyncio.gather(work, return_exceptions=True)

    async def _beat(self, held: _Held) -> None:
        """Keep the lease, however often the store has to be asked before it is over."""
        while True:
            try:
                held.claim = await self._claims.renew(held.claim)
            except _AGAIN:
                await self._pause()
            else:
                return

    async def _tell(self, held: _Held, ending: Ending) -> None:
        """Write how a run ended, however often the store has to be asked; LeaseLost."""
        _log(held.job.name, ending)
        while True:
            try:
                await self._claims.end(held.claim, ending)
            except _AGAIN:
                if self._clock.now() >= held.claim.until:
                    raise LeaseLost from None
                await self._pause()
            else:
                return

    async def _pause(self) -> None:
        """Wait before the store is asked again."""
        await self._clock.sleep(self._chance.uniform(0, min(1.0, self._pace.lease / 16)))


def _log(job: str, ending: Ending) -> None:
    if ending.reason:
        _LOG.error("upkeep %s failed: %s; it is tried again", job, ending.reason)
    else:
        _LOG.info("upkeep %s ended: %d done, %d failed", job, ending.done, ending.failed)
