"""Callers of a simulation, who change schedules and executions while replicas work on them."""

import contextlib
from random import Random

from mesh.errors import Refusal
from secmesh.tenancy.v1.schedule_pb2 import OverlapPolicy, Schedule
from services.tenancy.clock import MICROSECONDS, Clock
from services.tenancy.gate import Gate
from services.tenancy.schedule_resources import Schedules, name_of
from services.tenancy.schedule_runs import ScheduleRuns
from services.tenancy.schedules import CODEC, DELETED, item_of, settle
from services.tenancy.scheduling import executions
from services.tenancy.scheduling.claims import ClaimPace
from services.tenancy.scheduling.operations import cancel, retry
from services.tenancy.store.conditions import Equals
from services.tenancy.store.idempotency import Requests
from services.tenancy.store.items import VERSION, changes, version_of
from services.tenancy.store.keys import TenantScope, key_of
from services.tenancy.store.memory import MemoryStore
from services.tenancy.store.port import ConditionFailed, Update
from services.tenancy.store.tables import Table
from services.tenancy.writing import NamedRequest, Write

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
        gate = Gate(store, clock)
        self._resources = Schedules(store, clock, gate, pace.shards)
        self._runs = ScheduleRuns(store, clock, gate, self._resources, pace)
        self._requests = Requests(store, clock, bytes(32))

    async def do_something(self) -> None:
        """Do one thing; that others were first is as good."""
        tenant, schedule_id = self._chance.choice(self._schedules)
        deed = self._chance.choice(
            [
                self._pause,
                self._resume,
                self._resume,
                self._edit,
                self._trigger,
                self._backfill,
                self._delete_for_a_moment,
            ]
        )
        with contextlib.suppress(ConditionFailed, Refusal):
            if self._chance.random() < 0.5:
                await self._touch_execution(tenant, schedule_id)
            else:
                await deed(tenant, schedule_id)

    async def pause_all(self) -> None:
        """Have nothing fire any more."""
        for tenant, schedule_id in self._schedules:
            # One that was just deleted does not fire either.
            with contextlib.suppress(Refusal):
                await self._pause(tenant, schedule_id)

    async def _pause(self, tenant: str, schedule_id: str) -> None:
        await self._resources.pause(name_of(tenant, schedule_id), "", "", self._named(tenant))

    async def _resume(self, tenant: str, schedule_id: str) -> None:
        await self._resources.resume(name_of(tenant, schedule_id), "", self._named(tenant))

    async def _delete_for_a_moment(self, tenant: str, schedule_id: str) -> None:
        deleted = await self._resources.delete(
            name_of(tenant, schedule_id), "", self._named(tenant)
        )
        await self._clock.sleep(self._chance.uniform(0, 30))
        await self._resources.undelete(deleted.name, "", self._named(tenant))

    async def _trigger(self, tenant: str, schedule_id: str) -> None:
        token = f"{self._chance.getrandbits(64):x}"
        policy = OverlapPolicy.OVERLAP_POLICY_UNSPECIFIED
        await self._runs.trigger(tenant, schedule_id, policy, token, self._named(tenant))

    async def _backfill(self, tenant: str, schedule_id: str) -> None:
        now = self._clock.now() // MICROSECONDS
        policy = OverlapPolicy.OVERLAP_POLICY_SKIP
        await self._runs.backfill(tenant, schedule_id, (now - 300, now), policy)

    def _named(self, tenant: str) -> NamedRequest:
        return NamedRequest(self._requests, TenantScope(tenant), "", Schedule())

    async def _edit(self, tenant: str, schedule_id: str) -> None:
        """Change its times, to some that callers could not have: there would be too few."""
        item = await self._store.get(TenantScope(tenant).schedule(schedule_id))
        assert item is not None
        schedule = CODEC.message(item)
        if schedule.state == DELETED:
            return
        schedule.expression = self._chance.choice(_EXPRESSIONS)
        settle(schedule, self._clock.now())
        after = item_of(schedule, version_of(item) + 1, self._pace.shards)
        unchanged = Equals(VERSION, version_of(item))
        update = Update(key_of(Table.SCHEDULES, item), changes(item, after), unchanged)
        await self._store.write(update)

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
