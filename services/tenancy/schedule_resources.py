"""What callers do with schedules, beside having them run."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar

from mesh.errors import EtagMismatch, FieldInvalid, Refusal, ResourceExists, ResourceNotFound
from secmesh.tenancy.v1.account_pb2 import AccountStatus
from secmesh.tenancy.v1.schedule_pb2 import Schedule
from services.tenancy import account_fires
from services.tenancy.clock import MICROSECONDS, Clock
from services.tenancy.collected import require_collected
from services.tenancy.errors import (
    AccountFiresExceeded,
    ResourceDeleted,
    ResourceNotDeleted,
    ScheduleCompleted,
    WritesCollided,
)
from services.tenancy.gate import SCHEDULES, Gate
from services.tenancy.resources import created, updated
from services.tenancy.retention import expiry, free, is_gone, purge_time, timestamp
from services.tenancy.schedules import (
    CODEC,
    COMPLETED,
    DELETED,
    PAUSED,
    item_of,
    settle,
    settle_defaults,
)
from services.tenancy.store.conditions import Equals, In
from services.tenancy.store.items import VERSION, changes, version_of, version_of_etag
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.port import Check, Put, Query, Store, Update
from services.tenancy.store.tables import EXPIRES_AT
from services.tenancy.store.values import Item, Value
from services.tenancy.timing.errors import TimingInvalid
from services.tenancy.timing.pace import HOURLY_FIRES_OF_ACCOUNT, require_pace
from services.tenancy.timing.timing import Timing, next_fire
from services.tenancy.writing import NamedRequest, Write

FIELD: Final = "schedule"
_PAUSED_BY_CALLER = "paused by a caller"
M = TypeVar("M")
_TRIES = 8
"""Against a scheduler, and other callers, that move the same schedule on: each time one gets on."""
_PAUSE = 0.02
"""Seconds before the third try; before each that follows as much more."""
_LIVING = tuple(
    name
    for name in AccountStatus.keys()  # noqa: SIM118 - a wrapper of the enum, not a dict
    if name not in ("ACCOUNT_STATUS_UNSPECIFIED", "ACCOUNT_STATUS_DELETED")
)


def name_of(tenant: str, schedule: str) -> str:
    """Give the resource name of a schedule."""
    return f"tenants/{tenant}/schedules/{schedule}"


class Schedules:
    """Creates, reads and changes schedules.

    All that names one raises ResourceNotFound for one there is none of, and takes an etag:
    EtagMismatch if the schedule has another. All changes raise TenantInactive.
    """

    def __init__(self, store: Store, clock: Clock, gate: Gate, shards: int) -> None:
        """``shards`` of the index of schedules that are due."""
        self._store = store
        self._clock = clock
        self._gate = gate
        self._shards = shards

    async def create(
        self, tenant: str, schedule: str, given: Schedule, request: NamedRequest
    ) -> Schedule:
        """Store a schedule.

        Raises ResourceExists, QuotaExceeded, AccountFiresExceeded, FieldInvalid, and for the
        account ResourceNotFound, ResourceDeleted.
        """
        scope, name, now = TenantScope(tenant), name_of(tenant, schedule), self._clock.now()
        made = created(given, name, FIELD)
        require_collected(made.collections, f"{FIELD}.collections")
        made.create_time.CopyFrom(timestamp(now))
        made.update_time.CopyFrom(timestamp(now))
        _time(made, now)
        item = item_of(made, 1, self._shards)
        taking = await self._gate.take(scope, SCHEDULES)
        write = request.remember(Write(self._store), name)
        write.add(taking, lambda there: self._gate.refusal(scope, there, SCHEDULES))
        write.add(Put(scope.schedule(schedule), item, free(now)), lambda _: ResourceExists(name))
        self._scan(write, made, account_fires.fires_of(made.expression), now)
        await write.carry_out()
        return CODEC.message(item)

    async def get(self, tenant: str, schedule: str) -> Schedule:
        """Give a schedule, a deleted one too until it is purged."""
        return CODEC.message(await self.item(tenant, schedule))

    async def item(self, tenant: str, schedule: str) -> Item:
        """Give a schedule as it is stored."""
        item = await self._store.get(TenantScope(tenant).schedule(schedule))
        if item is None or is_gone(item, self._clock.now()):
            raise ResourceNotFound(name_of(tenant, schedule))
        return item

    def listed(self, tenant: str) -> Query:
        """Give the query of a tenant's schedules."""
        return TenantScope(tenant).schedules()

    async def update(
        self, given: Schedule, paths: Sequence[str], request: NamedRequest
    ) -> Schedule:
        """Change a schedule; ResourceDeleted, AccountFiresExceeded, MaskInvalid, FieldInvalid."""

        def change(old: Schedule, now: int, write: Write) -> Schedule:
            made = updated(old, given, paths, FIELD)
            settle_defaults(made)
            if old.collections != made.collections:
                require_collected(made.collections, f"{FIELD}.collections")
            if _timing_of(old) != _timing_of(made):
                _time(made, now)
            before, after = (account_fires.fires_of(each.expression) for each in (old, made))
            self._count(write, made, after - before)
            return made

        return await self._change(given.name, given.etag, request, change)

    async def pause(self, name: str, reason: str, etag: str, request: NamedRequest) -> Schedule:
        """Let a schedule fire no more until it is resumed; ResourceDeleted, ScheduleCompleted."""

        def change(old: Schedule, _now: int, _write: Write) -> Schedule | None:
            if old.state == PAUSED:
                return None
            if old.state == COMPLETED:
                raise ScheduleCompleted(name)
            old.state = PAUSED
            old.pause_reason = reason or _PAUSED_BY_CALLER
            old.ClearField("next_fire_time")
            return old

        return await self._change(name, etag, request, change)

    async def resume(self, name: str, etag: str, request: NamedRequest) -> Schedule:
        """Let a schedule fire from its next time after now on; ResourceDeleted."""

        def change(old: Schedule, now: int, _write: Write) -> Schedule | None:
            if old.state != PAUSED:
                return None
            _wake(old, now)
            return old

        return await self._change(name, etag, request, change)

    async def delete(self, name: str, etag: str, request: NamedRequest) -> Schedule:
        """Delete a schedule for 30 days; ResourceDeleted."""

        def change(old: Schedule, now: int, write: Write) -> Schedule:
            scope = TenantScope(_ids(name)[0])
            old.state = DELETED
            old.ClearField("next_fire_time")
            old.delete_time.CopyFrom(timestamp(now))
            old.purge_time.CopyFrom(timestamp(purge_time(now)))
            giving = self._gate.give_back(scope, SCHEDULES)
            write.add(giving, lambda there: self._gate.refusal(scope, there))
            self._count(write, old, -account_fires.fires_of(old.expression))
            return old

        return await self._change(name, etag, request, change, checks_tenant=False)

    async def undelete(self, name: str, etag: str, request: NamedRequest) -> Schedule:
        """Bring a deleted schedule back.

        Raises ResourceNotDeleted, QuotaExceeded, AccountFiresExceeded, and for the account
        ResourceNotFound, ResourceDeleted.
        """
        scope, now = TenantScope(_ids(name)[0]), self._clock.now()
        before = await self._stored(name, etag)
        made = CODEC.message(before)
        if made.state != DELETED:
            raise ResourceNotDeleted(name)
        made.ClearField("delete_time")
        made.ClearField("purge_time")
        made.update_time.CopyFrom(timestamp(now))
        if made.pause_reason:
            made.state = PAUSED
        else:
            _wake(made, now)
        taking = await self._gate.take(scope, SCHEDULES)
        write = request.remember(Write(self._store), name)
        write.add(taking, lambda there: self._gate.refusal(scope, there, SCHEDULES))
        after = self._replace(write, before, made)
        self._scan(write, made, account_fires.fires_of(made.expression), now)
        await write.carry_out()
        return CODEC.message(after)

    async def _change(
        self,
        name: str,
        etag: str,
        request: NamedRequest,
        change: Callable[[Schedule, int, Write], Schedule | None],
        *,
        checks_tenant: bool = True,
    ) -> Schedule:
        """Change a schedule that is not deleted; ``change`` gives None if there is nothing to do.

        Without an etag it is tried again when a scheduler came first.
        """
        scope = TenantScope(_ids(name)[0])

        async def once() -> Schedule:
            now = self._clock.now()
            before = await self._stored(name, etag)
            old = CODEC.message(before)
            if old.state == DELETED:
                raise ResourceDeleted(name)
            write = request.remember(Write(self._store), name)
            made = change(old, now, write)
            if made is None:
                # That there was nothing to do is what came of the request.
                await write.carry_out()
                return CODEC.message(before)
            made.update_time.CopyFrom(timestamp(now))
            after = self._replace(write, before, made)
            if checks_tenant:
                write.add(self._gate.check(scope), lambda there: self._gate.refusal(scope, there))
            await write.carry_out()
            return CODEC.message(after)

        return await again_without(etag, self._clock, once)

    async def _stored(self, name: str, etag: str) -> Item:
        item = await self.item(*_ids(name))
        if etag and version_of_etag(etag) != version_of(item):
            raise EtagMismatch(name)
        return item

    def _replace(self, write: Write, before: Item, made: Schedule) -> Item:
        version = version_of(before)
        more: Mapping[str, Value] = {}
        if made.HasField("purge_time"):
            more = {EXPIRES_AT: expiry(made.purge_time.ToMicroseconds())}
        after = item_of(made, version + 1, self._shards) | dict(more)
        tenant, schedule = _ids(made.name)
        action = Update(
            TenantScope(tenant).schedule(schedule),
            changes(before, after),
            Equals(VERSION, version),
        )
        write.add(action, lambda _there: EtagMismatch(made.name))
        return after

    def _scan(self, write: Write, made: Schedule, fires: int, now: int) -> None:
        """Have a write happen only with an account that is there and may be scanned so often."""
        check_account(write, made, now)
        self._count(write, made, fires)

    def _count(self, write: Write, made: Schedule, fires: int) -> None:
        scope, name = TenantScope(_ids(made.name)[0]), _account_name(made)
        write.extend(
            account_fires.count(scope, made.account_id, fires),
            lambda _there: AccountFiresExceeded(name, HOURLY_FIRES_OF_ACCOUNT),
        )


def check_account(write: Write, schedule: Schedule, now: int) -> None:
    """Have a write happen only with an account; ResourceNotFound, ResourceDeleted."""
    name = _account_name(schedule)

    def unfit(there: Item | None) -> Refusal:
        return ResourceNotFound(name) if is_gone(there, now) else ResourceDeleted(name)

    key = TenantScope(_ids(name)[0]).account(schedule.account_id)
    write.add(Check(key, In("status", _LIVING)), unfit)


def check_timing(schedule: Schedule, now: int) -> None:
    """Refuse a schedule that no time is found for after ``now``, in microseconds; FieldInvalid."""
    made = Schedule()
    made.CopyFrom(schedule)
    _time(made, now)


def _time(made: Schedule, now: int) -> None:
    """Have a schedule wait for its next time, or stay paused; FieldInvalid if it has none."""
    settle_defaults(made)
    timing = _timing_of(made)
    with _told_by_field():
        require_pace(timing.expression)
    if next_fire(timing, now // MICROSECONDS) is None:
        raise FieldInvalid.of(f"{FIELD}.expression", "has no time to come", "NEVER_FIRES")
    settle(made, now)


def _wake(made: Schedule, now: int) -> None:
    made.ClearField("state")
    made.ClearField("pause_reason")
    # A release of the time zones may have dropped the schedule's.
    with _told_by_field():
        settle(made, now)


def _timing_of(made: Schedule) -> Timing:
    with _told_by_field():
        return Timing.of(made)


@contextmanager
def _told_by_field() -> Iterator[None]:
    try:
        yield
    except TimingInvalid as invalid:
        field = f"{FIELD}.{invalid.field}"
        raise FieldInvalid.of(field, invalid.problem, "TIMING_INVALID") from invalid


async def again_without(etag: str, clock: Clock, do: Callable[[], Awaitable[M]]) -> M:
    """Do it, and without an etag again when another write came first; WritesCollided at last."""
    for attempt in range(_TRIES):
        try:
            return await do()
        except EtagMismatch:
            if etag:
                raise
        await clock.sleep(_PAUSE * attempt)
    raise WritesCollided


def _account_name(made: Schedule) -> str:
    return f"tenants/{_ids(made.name)[0]}/accounts/{made.account_id}"


def _ids(name: str) -> tuple[str, str]:
    _, tenant, _, schedule = name.split("/")
    return tenant, schedule
