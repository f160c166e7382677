"""How many shards the indexes have: agreed by all processes, and changed by moving what waits.

A process that computes shards by another number puts schedules where nobody may look. So the
number stands in an item, which each process compares with its own: at its start, and from
time to time.
"""

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace

from services.tenancy.store.conditions import All, Condition, Equals, Missing
from services.tenancy.store.items import VERSION, integer, text, version_of
from services.tenancy.store.keys import IndexKeys, PlatformScope, execution_id, key_of, shard_of
from services.tenancy.store.port import (
    Add,
    Change,
    ConditionFailed,
    Query,
    Remove,
    Set,
    Store,
    Update,
)
from services.tenancy.store.tables import Index, Table
from services.tenancy.store.values import Item
from services.tenancy.timing.occurrences import DAY
from services.tenancy.timing.timing import LATEST

MAX_SHARDS = 64
"""That a deployment may have: whatever it had before, what waits is in one of these."""
WATCH_SECONDS = 30.0
"""Between two comparisons: within so many a process ends whose number is not that of the item."""
_SHARDS, _MOVING = "shards", "moving_to"
_KEY = PlatformScope().sharding()
_LAST_SECOND = LATEST + DAY


class ShardsDiffer(Exception):
    """This process has another number of shards than what waits; the message says what to do."""


class Sharding:
    """The number of shards of one process, beside that of the deployment."""

    def __init__(self, store: Store, shards: int) -> None:
        self._store = store
        self._shards = shards

    async def agree(self) -> None:
        """Compare, or set the number if there is none yet. ShardsDiffer, StoreUnavailable."""
        item = await self._store.get(_KEY)
        if item is None:
            with contextlib.suppress(ConditionFailed):
                await self._store.write(_agreed(self._shards, Missing(), upsert=True))
            item = await self._store.get(_KEY)
        if item is None:
            raise ShardsDiffer("the number of shards was removed just now")
        if _MOVING in item:
            raise ShardsDiffer(
                f"what waits is being moved to {integer(item, _MOVING)} shards: run "
                "`python -m services.tenancy reshard` with that number to its end"
            )
        found = integer(item, _SHARDS)
        if found != self._shards:
            raise ShardsDiffer(
                f"this process has {self._shards} shards, but what waits is in {found}: set "
                f"SECMESH_TENANCY_INDEX_SHARDS to {found}, or end all processes and run "
                "`python -m services.tenancy reshard`"
            )


@dataclass
class Moved:
    """What came of a change of the number."""

    before: int = 0
    """Shards there were; 0 if nobody had said."""
    schedules: int = 0
    executions: int = 0


@dataclass
class _Count:
    """Of one pass over one table."""

    found: int = 0
    """Out of place."""
    done: int = 0


class Resharding:
    """Moves all that waits into another number of shards.

    No process may start meanwhile, and one that runs ends within ``WATCH_SECONDS``. Broken off
    anywhere it is run again, with the same number or another one.
    """

    def __init__(self, store: Store, shards: int) -> None:
        self._store = store
        self._shards = shards

    async def announce(self) -> int:
        """Keep processes from starting; give the number of shards there were, or 0.

        Raises StoreUnavailable.
        """
        item = await self._store.get(_KEY)
        await self._store.write(Update(_KEY, [Set(_MOVING, self._shards)], upsert=True))
        return integer(item or {}, _SHARDS)

    async def run(self, before: int) -> Moved:
        """Move everything, and say so in the end. ShardsDiffer if another run has begun."""
        moved = Moved(before)
        # Indexes are late, and a process may have written last: until nothing is out of place.
        while await self._pass(moved):
            pass
        try:
            await self._store.write(_agreed(self._shards, Equals(_MOVING, self._shards)))
        except ConditionFailed as failed:
            there = failed.item or {}
            if _MOVING in there or integer(there, _SHARDS) != self._shards:
                raise ShardsDiffer("another run moves what waits to another number") from failed
        return moved

    async def _pass(self, moved: Moved) -> int:
        """Look at everything once; give how much was out of place."""
        schedules = await self._move(Table.SCHEDULES, PlatformScope().due, self._schedule)
        runs = await self._move(Table.EXECUTIONS, PlatformScope().visible, self._execution)
        moved.schedules += schedules.done
        moved.executions += runs.done
        return schedules.found + runs.found

    async def _move(
        self,
        table: Table,
        waiting: Callable[[int, int], Query],
        update_of: Callable[[Item], Update | None],
    ) -> _Count:
        count = _Count()
        for shard in range(MAX_SHARDS):
            async for hit in self._hits(waiting(shard, _LAST_SECOND)):
                item = await self._store.get(key_of(table, hit))
                update = update_of(item) if item is not None else None
                if update is not None:
                    count.found += 1
                    count.done += await self._written(update)
        return count

    async def _hits(self, query: Query) -> AsyncIterator[Item]:
        while True:
            page = await self._store.query(query)
            for item in page.items:
                yield item
            if page.next is None:
                return
            query = replace(query, start=page.next)

    async def _written(self, update: Update) -> bool:
        try:
            await self._store.write(update)
        except ConditionFailed:
            # Somebody changed it: the next pass looks again.
            return False
        return True

    def _schedule(self, item: Item) -> Update | None:
        index = Table.SCHEDULES.indexes["due"]
        if index.pk not in item:
            return None
        name = text(item, "schedule_id")
        place = PlatformScope().due_place(shard_of(name, self._shards), _moment(item, index), name)
        # Who read it before must not write its place by the old number.
        more, condition = [Add(VERSION, 1)], Equals(VERSION, version_of(item))
        return _update(Table.SCHEDULES, index, item, place, more, condition)

    def _execution(self, item: Item) -> Update | None:
        index = Table.EXECUTIONS.indexes["lease"]
        if index.pk not in item:
            return None
        name = execution_id(key_of(Table.EXECUTIONS, item))
        shard = shard_of(name, self._shards)
        place = PlatformScope().lease_place(shard, _moment(item, index), name)
        fence = Equals("fence", integer(item, "fence"))
        return _update(Table.EXECUTIONS, index, item, place, [], fence)


def _moment(item: Item, index: Index) -> int:
    """Give the seconds since 1970 that the place of an item in an index begins with."""
    return int(text(item, index.sk).partition("#")[0])


def _update(
    table: Table,
    index: Index,
    item: Item,
    place: IndexKeys,
    more: list[Add],
    condition: Condition,
) -> Update | None:
    if item[index.pk] == place[index.pk]:
        return None
    changes: list[Change] = [Set(index.pk, place[index.pk]), *more]
    still = [Equals(name, item[name]) for name in index.keys]
    return Update(key_of(table, item), changes, All(condition, *still))


def _agreed(shards: int, condition: Condition, *, upsert: bool = False) -> Update:
    changes: list[Change] = [Set(_SHARDS, shards), Remove(_MOVING)]
    return Update(_KEY, changes, condition, upsert)
