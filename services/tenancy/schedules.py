"""Schedules as items: their place among those that are due, and how it changes."""

from collections.abc import Mapping
from typing import Final

from secmesh.tenancy.v1 import schedule_pb2
from secmesh.tenancy.v1.schedule_pb2 import Schedule, ScheduleState
from services.tenancy.clock import MICROSECONDS
from services.tenancy.store.items import ItemCodec, integer, text
from services.tenancy.store.keys import IndexKeys, PlatformScope, TenantScope, shard_of
from services.tenancy.store.port import Change, Remove, Set
from services.tenancy.store.tables import Table
from services.tenancy.store.values import Item, Value
from services.tenancy.timing.occurrences import DAY, MINUTE, jitter_of
from services.tenancy.timing.timing import Timing, next_fire
from services.tenancy.timing.zones import TZDATA_VERSION, UTC

CODEC = ItemCodec(Schedule)
ACTIVE: Final = ScheduleState.SCHEDULE_STATE_ACTIVE
PAUSED: Final = ScheduleState.SCHEDULE_STATE_PAUSED
COMPLETED: Final = ScheduleState.SCHEDULE_STATE_COMPLETED
DELETED: Final = ScheduleState.SCHEDULE_STATE_DELETED
_DEFAULTS: Final = {
    "dst_gap": schedule_pb2.DST_GAP_SHIFT,
    "dst_fold": schedule_pb2.DST_FOLD_FIRST,
    "misfire_policy": schedule_pb2.MISFIRE_POLICY_ONCE,
    "misfire_window_seconds": DAY,
    "misfire_grace_seconds": MINUTE,
    "overlap_policy": schedule_pb2.OVERLAP_POLICY_SKIP,
}
_DUE = Table.SCHEDULES.indexes["due"]


def run_time(schedule_id: str, fire: int, jitter_seconds: int) -> int:
    """Give when a schedule runs that fires at a moment; all in seconds since 1970."""
    return fire + jitter_of(schedule_id, jitter_seconds)


def due_place(schedule_id: str, fire: int, jitter_seconds: int, shards: int) -> IndexKeys:
    """Give the place in the index ``due`` of a schedule whose next fire is at a moment (seconds).

    Only what fires has one: the index holds nothing else, so a poll reads nothing else.
    """
    shard = shard_of(schedule_id, shards)
    return PlatformScope().due_place(
        shard, run_time(schedule_id, fire, jitter_seconds), schedule_id
    )


def due_changes(item: Mapping[str, Value], fire: int | None, shards: int) -> list[Change]:
    """Give the changes by which an active schedule waits for its next fire (seconds).

    Without one it is completed. The version is not among the changes.
    """
    if fire is None:
        return [*_waits_for_nothing(item), _state(COMPLETED)]
    place = due_place(text(item, "schedule_id"), fire, integer(item, "jitter_seconds"), shards)
    return [
        Set("next_fire_time", fire * MICROSECONDS),
        Set("tzdata_version", TZDATA_VERSION),
        *(Set(name, value) for name, value in place.items()),
    ]


def pause_changes(item: Mapping[str, Value], now: int, reason: str) -> list[Change]:
    """Give the changes that pause a schedule at a moment (microseconds), without the version."""
    return [
        *_waits_for_nothing(item),
        _state(PAUSED),
        Set("pause_reason", reason),
        Set("update_time", now),
    ]


def settle_defaults(schedule: Schedule) -> None:
    """Set what a caller left out to what the contract says of it."""
    schedule.time_zone = schedule.time_zone or UTC
    for field, number in _DEFAULTS.items():
        if not getattr(schedule, field):
            setattr(schedule, field, number)
    if not schedule.HasField("start_time"):
        schedule.start_time.CopyFrom(schedule.create_time)


def settle(schedule: Schedule, now: int) -> None:
    """Set what follows from the rest of a schedule that is not deleted; ``now`` in microseconds.

    Its next fire is the first after now. TimingInvalid if its timing cannot be read.
    """
    schedule.ClearField("next_fire_time")
    if schedule.state == PAUSED:
        return
    fire = next_fire(Timing.of(schedule), now // MICROSECONDS)
    schedule.state = ACTIVE if fire is not None else COMPLETED
    schedule.tzdata_version = TZDATA_VERSION
    if fire is not None:
        schedule.next_fire_time.seconds = fire


def item_of(schedule: Schedule, version: int, shards: int) -> Item:
    """Give the attributes of a schedule as it is stored, without ``pk`` and ``sk``."""
    item = CODEC.item(schedule, version=version)
    schedule_id = text(item, "schedule_id")
    scope = TenantScope(text(item, "tenant_id"))
    item |= scope.schedule_by_account(schedule.account_id, schedule_id)
    if schedule.state == ACTIVE:
        fire = schedule.next_fire_time.seconds
        item |= due_place(schedule_id, fire, schedule.jitter_seconds, shards)
    return item


def _waits_for_nothing(item: Mapping[str, Value]) -> list[Change]:
    # Only what is there is removed: an index is written for each change of its keys.
    return [Remove(name) for name in ("next_fire_time", *_DUE.keys) if name in item]


def _state(state: ScheduleState.ValueType) -> Set:
    return Set("state", ScheduleState.Name(state))
