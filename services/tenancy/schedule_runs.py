"""Executions of a schedule that callers ask for: now, or for times of its past."""

from collections.abc import Sequence
from typing import Final

from mesh.errors import EtagMismatch, FieldInvalid
from secmesh.tenancy.v1.execution_pb2 import Execution, ExecutionTrigger
from secmesh.tenancy.v1.schedule_pb2 import OverlapPolicy, Schedule
from services.tenancy.clock import MICROSECONDS, Clock
from services.tenancy.errors import ResourceDeleted
from services.tenancy.gate import Gate
from services.tenancy.schedule_resources import Schedules, again_without, check_account
from services.tenancy.schedules import CODEC, DELETED
from services.tenancy.scheduling import executions
from services.tenancy.scheduling.claims import ClaimPace, admit
from services.tenancy.store.conditions import Equals
from services.tenancy.store.items import VERSION, text, version_of
from services.tenancy.store.keys import TenantScope, execution_id
from services.tenancy.store.port import Action, Add, Change, Key, Put, Set, Store, Update
from services.tenancy.store.values import Item
from services.tenancy.timing.occurrences import occurrences
from services.tenancy.timing.timing import Timing
from services.tenancy.writing import NamedRequest, Write

MOST: Final = 50
"""Times of one backfill."""
_ALLOW = OverlapPolicy.OVERLAP_POLICY_ALLOW
_MANUAL = ExecutionTrigger.EXECUTION_TRIGGER_MANUAL
_BACKFILL = ExecutionTrigger.EXECUTION_TRIGGER_BACKFILL


class ScheduleRuns:
    """Makes executions beside those of schedulers.

    The schedule's version moves in the same transaction, so that a claim made at the same time
    sees what was made here, or is seen. All raises ResourceNotFound, ResourceDeleted (also of
    the account) and TenantInactive.
    """

    def __init__(
        self, store: Store, clock: Clock, gate: Gate, schedules: Schedules, pace: ClaimPace
    ) -> None:
        self._store = store
        self._clock = clock
        self._gate = gate
        self._schedules = schedules
        self._pace = pace

    async def trigger(
        self,
        tenant: str,
        schedule: str,
        policy: OverlapPolicy.ValueType,
        token: str,
        request: NamedRequest,
    ) -> Execution:
        """Run a schedule now; ``token`` names the execution among those of callers."""
        key = TenantScope(tenant).manual_execution(schedule, token)
        name = executions.execution_name(tenant, schedule, execution_id(key))

        async def once() -> Execution:
            item, _ = await self._living(tenant, schedule)
            now = self._clock.now()
            write = request.remember(Write(self._store), name)
            made = await self._admit(write, item, [(key, now)], _MANUAL, policy, now)
            await write.carry_out()
            return executions.CODEC.message(made[key])

        return await again_without("", self._clock, once)

    async def execution(self, tenant: str, name: str) -> Execution:
        """Give an execution that was triggered; ResourceDeleted if the history forgot it."""
        key = TenantScope(tenant).execution_of(name.rsplit("/", 1)[-1])
        item = await self._store.get(key) if key is not None else None
        if item is None:
            raise ResourceDeleted(name)
        return executions.CODEC.message(item)

    async def backfill(
        self,
        tenant: str,
        schedule: str,
        stretch: tuple[int, int],
        policy: OverlapPolicy.ValueType,
    ) -> list[Execution]:
        """Run a schedule for its times from one moment to another, in seconds, both included.

        Gives the executions of all those times: one that is there is not made again, so a
        request may be repeated. FieldInvalid.
        """

        async def once() -> list[Execution]:
            item, message = await self._living(tenant, schedule)
            now = self._clock.now()
            keys = _keys(tenant, schedule, _times(message, stretch, now))
            found = await self._store.get_many([key for key, _ in keys]) if keys else []
            missing = [each for each, there in zip(keys, found, strict=True) if there is None]
            made: dict[Key, Item] = {}
            if missing:
                write = Write(self._store)
                made = await self._admit(write, item, missing, _BACKFILL, policy or _ALLOW, now)
                await write.carry_out()
            items = [there or made[key] for (key, _), there in zip(keys, found, strict=True)]
            return [executions.CODEC.message(each) for each in items]

        return await again_without("", self._clock, once)

    async def _living(self, tenant: str, schedule: str) -> tuple[Item, Schedule]:
        item = await self._schedules.item(tenant, schedule)
        message = CODEC.message(item)
        if message.state == DELETED:
            raise ResourceDeleted(message.name)
        return item, message

    async def _admit(
        self,
        write: Write,
        item: Item,
        new: Sequence[tuple[Key, int]],
        trigger: ExecutionTrigger.ValueType,
        policy: OverlapPolicy.ValueType,
        now: int,
    ) -> dict[Key, Item]:
        """Have a write make executions; give them as they will be."""
        message, scope = CODEC.message(item), TenantScope(text(item, "tenant_id"))
        admitted = await admit(self._store, item, new, trigger, now, self._pace, policy=policy)
        changes: list[Change] = [Add(VERSION, 1)]
        if admitted.newest:
            changes.append(Set("last_execution_id", admitted.newest))
        key = scope.schedule(text(item, "schedule_id"))
        moved: Sequence[Action] = [Update(key, changes, Equals(VERSION, version_of(item)))]
        write.extend([*moved, *admitted.actions], lambda _there: EtagMismatch(message.name))
        write.add(self._gate.check(scope), lambda there: self._gate.refusal(scope, there))
        check_account(write, message, now)
        keys = {key for key, _ in new}
        return {
            action.key: dict(action.attributes)
            for action in admitted.actions
            if isinstance(action, Put) and action.key in keys
        }


def _keys(tenant: str, schedule: str, times: Sequence[int]) -> list[tuple[Key, int]]:
    scope = TenantScope(tenant)
    return [(scope.execution(schedule, time), time * MICROSECONDS) for time in times]


def _times(schedule: Schedule, stretch: tuple[int, int], now: int) -> Sequence[int]:
    since, until = stretch
    if until < since:
        raise FieldInvalid.of("end_time", "is before start_time")
    if until > now // MICROSECONDS:
        raise FieldInvalid.of("end_time", "is to come")
    if until < schedule.start_time.seconds:
        begin = schedule.start_time.ToJsonString()
        raise FieldInvalid.of("end_time", f"is before the schedule's own start_time, {begin}")
    found = occurrences(Timing.of(schedule), since, until, MOST)
    if found.more:
        raise FieldInvalid.of("end_time", f"leaves more than {MOST} times", "TOO_MANY_FIRES")
    return found.times
