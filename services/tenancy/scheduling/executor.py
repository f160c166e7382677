"""An executor: takes executions that wait, or whose executor was lost, and runs them.

There is no reaper: an execution whose lease is over stands in the queue like any other, and
whoever takes it raises its fence, so that the one that lost it can write nothing any more.
"""

import asyncio
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.tenancy.clock import MICROSECONDS, Clock
from services.tenancy.scheduling import executions
from services.tenancy.scheduling.attempt import Attempt, ExecutorCounts, ExecutorPace, pauses
from services.tenancy.scheduling.executions import Lease
from services.tenancy.scheduling.shards import Replica, Rounds
from services.tenancy.scheduling.shares import Shares, by_turns
from services.tenancy.scheduling.work import Work
from services.tenancy.store.items import integer, text
from services.tenancy.store.keys import PlatformScope, TenantScope, key_of, tenant_of_item
from services.tenancy.store.port import (
    Action,
    ConditionFailed,
    Conflict,
    Item,
    Key,
    Page,
    Query,
    Store,
    StoreError,
    StoreUnavailable,
    Throttled,
    Update,
)
from services.tenancy.store.tables import Table

_LOG = logging.getLogger(__name__)
_UNDONE = (Conflict, StoreUnavailable, Throttled)
_LOST = "EXECUTORS_LOST"
_LOST_MESSAGE = "each executor that began it was lost before its end"


@dataclass(frozen=True)
class _Hit:
    key: Key
    tenant: str


class Executor:
    """Runs as many executions at one time as it has slots."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        chance: random.Random,
        work: Work,
        name: str,
        replica: Replica = Replica(),  # noqa: B008 - it cannot change
        pace: ExecutorPace = ExecutorPace(),  # noqa: B008 - it cannot change
    ) -> None:
        """Take ``name``, which no other executor has or had."""
        self._store = store
        self._clock = clock
        self._chance = chance
        self._work = work
        self._name = name
        self._pace = pace
        self._rounds = Rounds(replica, pace.shards, others_seconds=pace.others, chance=chance)
        self._shares = Shares(pace.slots, pace.per_tenant)
        self._running: set[Key] = set()
        self.counts = ExecutorCounts()

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until told to stop; what runs then goes back to the queue at once."""
        attempts: dict[asyncio.Task[None], None] = {}
        async with asyncio.TaskGroup() as group:
            while not stopping.is_set():
                for attempt in await self.poll():
                    task = group.create_task(self._attempted(attempt))
                    attempts[task] = None
                    task.add_done_callback(lambda done: attempts.pop(done, None))
                await self._clock.sleep(self._pace.tick * self._chance.uniform(0.8, 1.2))
            for task in list(attempts):
                task.cancel()

    async def poll(self) -> Sequence[Attempt]:
        """Take what can be taken now: the lease of each is held, and a slot."""
        if not self._shares.free:
            return []
        now = self._clock.now()
        seconds = now // MICROSECONDS
        queries = [
            replace(PlatformScope().visible(shard, seconds), limit=self._pace.page)
            for shard in self._rounds.now(now)
        ]
        taken: list[Attempt] = []
        while queries and self._shares.free:
            pages = await asyncio.gather(*(self._page(query) for query in queries))
            hits = [
                _Hit(key_of(Table.EXECUTIONS, item), tenant_of_item(item))
                for page in pages
                for item in page.items
            ]
            taken += await self._taken([hit for hit in hits if hit.key not in self._running])
            queries = [
                replace(query, start=page.next)
                for query, page in zip(queries, pages, strict=True)
                if page.next is not None
            ]
        return taken

    async def _page(self, query: Query) -> Page:
        try:
            return await self._store.query(query)
        except _UNDONE:
            return Page([], None)

    async def _taken(self, hits: Sequence[_Hit]) -> list[Attempt]:
        """Take one of each tenant in turn, as long as there is a slot for its tenant."""
        found = await asyncio.gather(
            *(self._take(hit) for hit in by_turns(hits) if self._shares.take(hit.tenant))
        )
        return [attempt for attempt in found if attempt is not None]

    async def _take(self, hit: _Hit) -> Attempt | None:
        """Take an execution for which there is a slot, or give the slot back."""
        leased = None
        self._running.add(hit.key)
        try:
            leased = await self._acquired(hit.key)
        except (ConditionFailed, *_UNDONE):
            return None
        except Exception:  # noqa: BLE001 - one must not keep the others waiting
            _LOG.exception("execution %s %s was not taken", hit.key.pk, hit.key.sk)
            return None
        finally:
            if leased is None:
                self._give_back(hit.key, hit.tenant)
        if leased is None:
            return None
        self.counts.started += 1
        item, lease = leased
        return Attempt(
            self._store,
            self._clock,
            self._chance,
            self._work,
            self._pace,
            self.counts,
            item,
            lease,
        )

    async def _attempted(self, attempt: Attempt) -> None:
        try:
            await attempt.run()
        except (LookupError, TypeError, ValueError, StoreError):
            # Its lease will be over, and the execution taken up again.
            _LOG.exception("an attempt at %s broke off", text(attempt.item, "execution_id"))
        finally:
            self._give_back(attempt.lease.key, text(attempt.item, "tenant_id"))

    def _give_back(self, key: Key, tenant: str) -> None:
        self._running.discard(key)
        self._shares.give_back(tenant)

    async def _acquired(self, key: Key) -> tuple[Item, Lease] | None:
        """Take the lease of what the index showed, if the item itself agrees; ConditionFailed."""
        item = await self._store.get(key)
        now = self._clock.now()
        if item is None or not executions.is_free(item, now):
            return None
        if executions.status_of(item) == executions.RUNNING:
            end = await self._end_of_lost(item, now)
            if end is not None:
                await self._store.write(*end)
                return None
        elif await self._must_wait(item):
            visible = now + int(self._pace.waits * MICROSECONDS)
            await self._store.write(executions.postponed(item, visible, self._pace.shards))
            return None
        update, lease = executions.acquired(
            item, self._name, now, self._pace.lease_length, self._pace.shards
        )
        return (item, lease) if await self._is_ours(update, lease) else None

    async def _end_of_lost(self, item: Item, now: int) -> list[Action] | None:
        """Give what ends an execution whose executor was lost; None if it is to be run again."""
        if item.get("cancel_requested"):
            return [executions.closed(item, executions.CANCELLED, now)]
        if integer(item, "attempts") < integer(item, "max_attempts"):
            return None
        self.counts.dead += 1
        _LOG.error("execution %s is dead: %s", text(item, "execution_id"), _LOST_MESSAGE)
        end = executions.closed(item, executions.DEAD, now, _LOST, _LOST_MESSAGE)
        return [end, *await pauses(self._store, item, executions.DEAD, _LOST, now)]

    async def _must_wait(self, item: Item) -> bool:
        """Tell whether the execution that this one depends on has not ended."""
        depends_on = text(item, "depends_on")
        if not depends_on or executions.has_started(item):
            return False
        key = TenantScope(text(item, "tenant_id")).execution_of(depends_on)
        return key is not None and not executions.has_ended(await self._store.get(key))

    async def _is_ours(self, update: Update, lease: Lease) -> bool:
        """Write the lease; where no answer came, look whether it is there."""
        try:
            await self._store.write(update)
        except StoreUnavailable:
            item = await self._store.get(lease.key)
            if item is None or integer(item, "fence") != lease.fence:
                return False
            return item.get("executor") == lease.executor and not executions.is_lost(lease, item)
        return True
