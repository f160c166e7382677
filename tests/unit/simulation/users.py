"""Callers of a simulation, who change schedules and executions while replicas work on them."""

import contextlib
from collections.abc import Awaitable, Callable
from random import Random

from mesh.errors import Refusal
from secmesh.tenancy.v1.execution_pb2 import ExecutionTrigger
from secmesh.tenancy.v1.schedule_pb2 import Schedule
from services.tenancy.clock import Clock
from services.tenancy.schedules import ACTIVE, CODEC, PAUSED, item_of, pause_changes, settle
from services.tenancy.scheduling import executions
from services.tenancy.scheduling.claims import ClaimPace, admit
from services.tenancy.scheduling.operations import cancel, retry
from services.tenancy.store.conditions import Equals
from services.tenancy.store.items import VERSION, changes, text, version_of
from services.tenancy.store.keys import TenantScope, key_of
from services.tenancy.store.memory import MemoryStore
from services.tenancy.store.port import Add, ConditionFailed, Item, Set, Update
from services.tenancy.store.tables import Table
from services.tenancy.writing import Write

_EXPRESSIONS = ["* * * * *", "*/2 * * * *", "rate(3 minutes)", "*/5 * * * *"]


class Users:
    """Do one thing at a time, to something chosen by chance."""

    def __init__(
        self,
        store: MemoryStore,
        clock: Clock,
        chance: Random,
        schedules: list[tuple[str, str]],
        pace: ClaimPace,
    ) -> None:
        self._store = store
        self._clock = clock
        self._chance = chance
        self._schedules = schedules
        self._pace = pace

    async def do_something(self) -> None:
        """Do one thing; that others were first is as good."""
        tenant, schedule_id = self._chance.choice(self._schedules)
        deed = self._chance.choice(
            [self._pause, self._resume, self._resume, self._edit, self._trigger]
        )
        with contextlib.suppress(ConditionFailed, Refusal):
            if self._chance.random() < 0.5:
                await self._touch_execution(tenant, schedule_id)
            else:
                await self._with(deed, tenant, schedule_id)

    async def pause_all(self) -> None:
        """Have nothing fire any more."""
        for tenant, schedule_id in self._schedules:
            while True:
                try:
                    await self._with(self._pause, tenant, schedule_id)
                    break
                except ConditionFailed:
                    continue

    async def _with(
        self, deed: Callable[[Item], Awaitable[None]], tenant: str, schedule_id: str
    ) -> None:
        item = await self._store.get(TenantScope(tenant).schedule(schedule_id))
        assert item is not None
        await deed(item)

    async def _pause(self, item: Item) -> None:
        if CODEC.message(item).state != ACTIVE:
            return
        changed = [*pause_changes(item, self._clock.now(), "a caller's"), Add(VERSION, 1)]
        await self._store.write(Update(key_of(Table.SCHEDULES, item), changed, _unchanged(item)))

    async def _resume(self, item: Item) -> None:
        schedule = CODEC.message(item)
        if schedule.state == PAUSED:
            schedule.state = ACTIVE
            await self._settle(item, schedule)

    async def _edit(self, item: Item) -> None:
        schedule = CODEC.message(item)
        schedule.expression = self._chance.choice(_EXPRESSIONS)
        await self._settle(item, schedule)

    async def _settle(self, item: Item, schedule: Schedule) -> None:
        settle(schedule, self._clock.now())
        after = item_of(schedule, version_of(item) + 1, self._pace.shards)
        update = Update(key_of(Table.SCHEDULES, item), changes(item, after), _unchanged(item))
        await self._store.write(update)

    async def _trigger(self, item: Item) -> None:
        now, token = self._clock.now(), f"{self._chance.getrandbits(64):x}"
        scope, schedule_id = TenantScope(text(item, "tenant_id")), text(item, "schedule_id")
        key = scope.manual_execution(schedule_id, token)
        manual = ExecutionTrigger.EXECUTION_TRIGGER_MANUAL
        admitted = await admit(self._store, item, [(key, now)], manual, now, self._pace)
        changed = [Add(VERSION, 1)]
        newest = [Set("last_execution_id", admitted.newest)] if admitted.newest else []
        moved = Update(key_of(Table.SCHEDULES, item), [*changed, *newest], _unchanged(item))
        await self._store.write(moved, *admitted.actions)

    async def _touch_execution(self, tenant: str, schedule_id: str) -> None:
        """Cancel or retry one of the latest executions of a schedule."""
        query = TenantScope(tenant).executions_of_schedule(schedule_id)
        items = (await self._store.query(query)).items[-6:]
        if not items:
            return
        item = self._chance.choice(items)
        if executions.has_ended(item):
            write = Write(self._store)
            await retry(self._store, item, self._clock, self._pace.shards, write)
        else:
            await cancel(self._store, item, self._clock)


def _unchanged(item: Item) -> Equals:
    return Equals(VERSION, version_of(item))
