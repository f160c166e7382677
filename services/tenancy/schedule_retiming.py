"""Schedules that wait by an older release of the time zones, computed anew.

States change their clocks, some at a few days' notice, and a schedule waits for a moment that was
computed when it last fired. Whoever brings a new release of ``tzdata`` runs this once.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from services.tenancy.clock import MICROSECONDS, Clock
from services.tenancy.schedules import ACTIVE, CODEC, due_changes
from services.tenancy.store.conditions import Equals
from services.tenancy.store.items import VERSION, version_of
from services.tenancy.store.keys import PlatformScope, key_of
from services.tenancy.store.port import MAX_KEYS, Add, ConditionFailed, Store, Update
from services.tenancy.store.tables import Table
from services.tenancy.store.values import Item
from services.tenancy.timing.errors import TimingInvalid
from services.tenancy.timing.occurrences import DAY
from services.tenancy.timing.timing import LATEST, Timing, next_fire
from services.tenancy.timing.zones import TZDATA_VERSION


@dataclass
class Retimed:
    """What came of it."""

    looked_at: int = 0
    """Schedules that wait."""
    moved: int = 0
    """Those that wait for another moment now, or would in a dry run."""
    unreadable: int = 0
    """Those whose zone the release does not know any more: they stay as they are."""


class Retiming:
    """Goes through all schedules that wait, as the index of what is due has them."""

    def __init__(self, store: Store, clock: Clock, shards: int) -> None:
        self._store = store
        self._clock = clock
        self._shards = shards

    async def run(self, *, dry_run: bool = False) -> Retimed:
        """Have all wait for the first of their times after now, by the release of this process.

        A schedule whose time has come is left to the schedulers. Run again it does no harm;
        what others change meanwhile they have computed themselves.
        """
        counts = Retimed()
        for shard in range(self._shards):
            async for item in self._waiting(shard):
                counts.looked_at += 1
                try:
                    update = self._update(item)
                except TimingInvalid:
                    counts.unreadable += 1
                    continue
                if update is not None and (dry_run or await self._write(update)):
                    counts.moved += 1
        return counts

    async def _waiting(self, shard: int) -> AsyncIterator[Item]:
        query = replace(PlatformScope().due(shard, LATEST + DAY), limit=MAX_KEYS)
        while True:
            page = await self._store.query(query)
            keys = [key_of(Table.SCHEDULES, item) for item in page.items]
            for item in await self._store.get_many(keys) if keys else []:
                if item is not None:
                    yield item
            if page.next is None:
                return
            query = replace(query, start=page.next)

    def _update(self, item: Item) -> Update | None:
        schedule, now = CODEC.message(item), self._clock.now() // MICROSECONDS
        waits = schedule.state == ACTIVE and schedule.next_fire_time.seconds > now
        if not waits or schedule.tzdata_version == TZDATA_VERSION:
            return None
        fire = next_fire(Timing.of(schedule), now)
        if fire == schedule.next_fire_time.seconds:
            return None
        changes = [*due_changes(item, fire, self._shards), Add(VERSION, 1)]
        return Update(key_of(Table.SCHEDULES, item), changes, Equals(VERSION, version_of(item)))

    async def _write(self, update: Update) -> bool:
        try:
            await self._store.write(update)
        except ConditionFailed:
            return False
        return True
