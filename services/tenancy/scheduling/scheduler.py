"""A replica of the scheduler: finds what is due, and makes executions of it. There is no leader.

A claim is one transaction that moves the schedule on, under the condition that it is as it was
read, and creates the executions, whose keys are their occurrences. So whoever else claims the
same fails, and nothing else has to be agreed between replicas.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from services.tenancy.clock import MICROSECONDS, Clock
from services.tenancy.scheduling.claims import Claim, ScheduleUnreadable, claim_of, paused
from services.tenancy.scheduling.shards import Replica, Rounds
from services.tenancy.store.items import text
from services.tenancy.store.keys import PlatformScope, key_of
from services.tenancy.store.port import (
    ConditionFailed,
    Conflict,
    Item,
    Key,
    Query,
    Store,
    StoreUnavailable,
    Throttled,
)
from services.tenancy.store.tables import Table

_LOG = logging.getLogger(__name__)
_UNDONE = (Conflict, StoreUnavailable, Throttled)
"""What another tick mends: it reads again what is true."""


@dataclass(frozen=True)
class SchedulerPace:
    """How a replica works; times in seconds."""

    shards: int = 16
    """The same for all processes of a deployment, for good."""
    tick: float = 1
    others: float = 15
    """Between two looks at a shard that another replica owns."""
    page: int = 100
    at_once: int = 16
    """Claims under way at one time."""
    max_attempts: int = 5
    """Of the executions that are made."""


@dataclass
class SchedulerCounts:
    """What a replica did since it started."""

    claimed: int = 0
    """Claims that happened."""
    fired: int = 0
    """Executions made, those skipped included."""
    lost: int = 0
    """Claims that another replica was first with."""
    undone: int = 0
    """Claims of which the store gave no answer, or none yet."""
    paused: int = 0
    """Schedules paused because nobody can tell when they fire."""
    lag: float = 0.0
    """Seconds by which the oldest fire of the last tick was late."""


class Scheduler:
    """Claims what is due, tick by tick."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        chance: random.Random,
        replica: Replica = Replica(),  # noqa: B008 - it cannot change
        pace: SchedulerPace = SchedulerPace(),
    ) -> None:
        self._store = store
        self._clock = clock
        self._chance = chance
        self._pace = pace
        self._rounds = Rounds(replica, pace.shards, others_seconds=pace.others, chance=chance)
        self._slots = asyncio.Semaphore(pace.at_once)
        self.counts = SchedulerCounts()

    async def run(self, stopping: asyncio.Event) -> None:
        """Tick until told to stop; what is under way then is ended, nothing is to be released."""
        while not stopping.is_set():
            await self.tick()
            await self._clock.sleep(self._pace.tick * self._chance.uniform(0.8, 1.2))

    async def tick(self) -> int:
        """Look at the shards that are to be looked at now; give how many claims happened."""
        before = self.counts.claimed
        self.counts.lag = 0.0
        shards = self._rounds.now(self._clock.now())
        await _all_of([self._poll(shard) for shard in shards])
        return self.counts.claimed - before

    async def _poll(self, shard: int) -> None:
        now = self._clock.now() // MICROSECONDS
        query: Query | None = replace(PlatformScope().due(shard, now), limit=self._pace.page)
        while query is not None:
            try:
                page = await self._store.query(query)
            except _UNDONE:
                return
            hits = [key_of(Table.SCHEDULES, item) for item in page.items]
            # Replicas that look at one shard at one time begin at different ends.
            self._chance.shuffle(hits)
            await _all_of([self._guarded(self._claim, hit) for hit in hits])
            query = None if page.next is None else replace(query, start=page.next)

    async def _guarded(self, claim: Callable[[Key], Awaitable[None]], key: Key) -> None:
        async with self._slots:
            try:
                await claim(key)
            except _UNDONE:
                self.counts.undone += 1
            except Exception:  # noqa: BLE001 - one must not keep the others waiting
                _LOG.exception("schedule %s %s was not claimed", key.pk, key.sk)

    async def _claim(self, key: Key) -> None:
        """Claim what is due of one schedule; drop it if another was first."""
        item = await self._store.get(key)
        known: set[str] = set()
        while item is not None:
            now = self._clock.now()
            try:
                claim = await claim_of(self._store, item, now, self._pace, known)
            except ScheduleUnreadable as problem:
                await self._pause(item, now, problem)
                return
            if claim is None:
                return
            try:
                await self._store.write(*claim.actions)
            except ConditionFailed as failed:
                there = claim.made_elsewhere(failed.position)
                if there is None:
                    self.counts.lost += 1
                    return
                # The occurrence was made otherwise, as by a backfill: the rest is claimed anew.
                known.add(there)
                continue
            self._count(claim, now)
            return

    async def _pause(self, item: Item, now: int, problem: ScheduleUnreadable) -> None:
        """Take a schedule out of the index that nobody can compute: it would be read for ever."""
        _LOG.error("schedule %s is paused: %s", text(item, "schedule_id"), problem)
        try:
            await self._store.write(paused(item, str(problem), now))
        except ConditionFailed:
            return
        self.counts.paused += 1

    def _count(self, claim: Claim, now: int) -> None:
        self.counts.claimed += 1
        self.counts.fired += claim.fired
        self.counts.lag = max(self.counts.lag, (now - claim.due) / MICROSECONDS)


async def _all_of(work: Sequence[Awaitable[None]]) -> None:
    """Do all at the same time; the first error ends the others."""
    if len(work) == 1:
        await work[0]
        return
    async with asyncio.TaskGroup() as group:
        for each in work:
            group.create_task(_awaited(each))


async def _awaited(work: Awaitable[None]) -> None:
    await work
