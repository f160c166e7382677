"""What a claim of a schedule writes: the schedule moved on, and its executions, or nothing."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from secmesh.tenancy.v1.execution_pb2 import ExecutionTrigger
from secmesh.tenancy.v1.schedule_pb2 import OverlapPolicy, Schedule, ScheduleState
from services.tenancy.clock import MICROSECONDS
from services.tenancy.schedules import CODEC, due_changes, pause_changes
from services.tenancy.scheduling import executions
from services.tenancy.scheduling.overlap import Unended, place
from services.tenancy.store.conditions import All, Condition, Equals
from services.tenancy.store.items import VERSION, text, version_of
from services.tenancy.store.keys import TenantScope, execution_id, key_of
from services.tenancy.store.port import (
    Action,
    Add,
    Change,
    Item,
    Key,
    Put,
    Set,
    Store,
    Update,
)
from services.tenancy.store.tables import Table
from services.tenancy.timing.errors import TimingInvalid
from services.tenancy.timing.occurrences import CatchUp, Misfire, catch_up, jitter_of
from services.tenancy.timing.timing import Timing

Trigger: TypeAlias = ExecutionTrigger.ValueType
_ACTIVE = ScheduleState.Name(ScheduleState.SCHEDULE_STATE_ACTIVE)
MOST_REASON = 512
"""Characters of the reason of a pause."""
_ALLOW = OverlapPolicy.OVERLAP_POLICY_ALLOW
_SCHEDULED = ExecutionTrigger.EXECUTION_TRIGGER_SCHEDULE


class ScheduleUnreadable(Exception):
    """A schedule whose times cannot be computed, as after its time zone was given up."""


class ClaimPace(Protocol):
    """What a claim needs to know of the deployment."""

    @property
    def shards(self) -> int:
        """Of the indexes."""

    @property
    def max_attempts(self) -> int:
        """Of new executions."""


@dataclass(frozen=True)
class Admission:
    """New executions of a schedule, as they fit to the one that has not ended."""

    actions: Sequence[Action]
    """On executions alone: whoever writes them moves the schedule on in the same transaction."""
    newest: str
    """What ``last_execution_id`` of the schedule becomes; empty if it stays."""


@dataclass(frozen=True)
class Claim:
    """A transaction that claims."""

    actions: Sequence[Action]
    """The schedule first."""
    fired: int
    due: int
    """When the oldest of it was due, in microseconds."""

    def made_elsewhere(self, position: int) -> str | None:
        """Give the id of the execution whose creation failed; None if it is another action."""
        action = self.actions[position]
        return execution_id(action.key) if isinstance(action, Put) else None


async def claim_of(
    store: Store, item: Item, now: int, pace: ClaimPace, known: Collection[str] = ()
) -> Claim | None:
    """Give the claim of a schedule at a moment; None if nothing of it is due.

    Args:
        known: Ids of executions that were made otherwise: their occurrences are passed over.
    """
    if item.get("state") != _ACTIVE or "next_fire_time" not in item:
        return None
    schedule, schedule_id = CODEC.message(item), text(item, "schedule_id")
    jitter = jitter_of(schedule_id, schedule.jitter_seconds)
    due = schedule.next_fire_time.seconds
    if now < (due + jitter) * MICROSECONDS:
        return None
    found = _caught_up(schedule, due, now // MICROSECONDS, jitter)
    scope = TenantScope(text(item, "tenant_id"))
    keys = [(scope.execution(schedule_id, time), time * MICROSECONDS) for time in found.run]
    new = [(key, time) for key, time in keys if execution_id(key) not in known]
    admitted = await admit(store, item, new, _SCHEDULED, now, pace, missed=found.missed)
    moved = _moved(item, found, admitted, len(new), pace.shards)
    return Claim([moved, *admitted.actions], len(new), (due + jitter) * MICROSECONDS)


async def admit(
    store: Store,
    item: Item,
    new: Sequence[tuple[Key, int]],
    trigger: Trigger,
    now: int,
    pace: ClaimPace,
    *,
    missed: int = 0,
    policy: OverlapPolicy.ValueType = OverlapPolicy.OVERLAP_POLICY_UNSPECIFIED,
) -> Admission:
    """Make executions of a schedule as its overlap policy says, or another one if it is given.

    Its actions fail if what they rest on has changed.

    Args:
        item: The schedule. Its version must be a condition of the transaction.
        new: Keys and nominal times (microseconds) of the executions, the oldest first.
        missed: Occurrences that were passed over before them.
    """
    schedule, scope = CODEC.message(item), TenantScope(text(item, "tenant_id"))
    schedule_id = text(item, "schedule_id")
    unended, its_item = await newest_unended(store, scope, schedule.last_execution_id)
    times = [(execution_id(key), time) for key, time in new]
    if unended is not None and unended.id in dict(times):
        # It is one of these, made otherwise meanwhile: the transaction has to fail on its creation.
        unended = its_item = None
    policy = policy or schedule.overlap_policy
    placed = place(times, unended, policy)
    actions: list[Action] = []
    for (key, _), fire in zip(new, placed.fires, strict=True):
        plan = executions.Plan(
            tenant=scope.tenant,
            schedule_id=schedule_id,
            account_id=schedule.account_id,
            status=fire.status,
            trigger=trigger,
            fire=fire.time,
            max_attempts=pace.max_attempts,
            depends_on=fire.depends_on,
            missed=missed if not actions else 0,
            pause_on_failure=schedule.pause_on_failure,
        )
        actions.append(executions.created(key, plan, now, pace.shards))
    if placed.cancels_unended and its_item is not None:
        actions.append(executions.cancelled(its_item, now))
    beside = policy == _ALLOW != schedule.overlap_policy and unended is not None
    # What runs beside by exception hides from the schedule's own fires what they wait for.
    return Admission(actions, "" if beside else placed.newest)


def paused(item: Item, reason: str, now: int) -> Update:
    """Pause a schedule that is active for a reason, whatever else was changed of it."""
    changes = [*pause_changes(item, now, reason[:MOST_REASON]), Add(VERSION, 1)]
    return Update(key_of(Table.SCHEDULES, item), changes, Equals("state", _ACTIVE))


def unchanged(item: Item) -> Condition:
    """Give the condition that a schedule is active and as it was read."""
    return All(Equals(VERSION, version_of(item)), Equals("state", _ACTIVE))


def _caught_up(schedule: Schedule, due: int, now: int, jitter: int) -> CatchUp:
    try:
        return catch_up(Timing.of(schedule), Misfire.of(schedule), due, now, jitter)
    except TimingInvalid as problem:
        raise ScheduleUnreadable(str(problem)) from problem


def _moved(item: Item, found: CatchUp, admitted: Admission, fired: int, shards: int) -> Update:
    """Move the schedule on to its next time."""
    changes: list[Change] = [*due_changes(item, found.next_fire, shards), Add(VERSION, 1)]
    if found.run:
        changes.append(Set("last_fire_time", found.run[-1] * MICROSECONDS))
    if admitted.newest:
        changes.append(Set("last_execution_id", admitted.newest))
    if fired:
        changes.append(Add("fired_count", fired))
    if found.missed:
        changes.append(Add("missed_count", found.missed))
    return Update(key_of(Table.SCHEDULES, item), changes, unchanged(item))


async def newest_unended(
    store: Store, scope: TenantScope, identity: str
) -> tuple[Unended | None, Item | None]:
    """Give the newest execution of a schedule that has not ended, and its item.

    Args:
        identity: Id of the newest execution. If it was cancelled while it waited for another,
            that one is looked at.
    """
    while identity:
        key = scope.execution_of(identity)
        item = await store.get(key) if key is not None else None
        if item is None:
            break
        waited_for = "" if executions.has_started(item) else text(item, "depends_on")
        if not executions.has_ended(item):
            queued = executions.status_of(item) == executions.QUEUED
            return Unended(identity, queued, waited_for), item
        identity = waited_for
    return None, None
