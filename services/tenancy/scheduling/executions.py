"""The life of an execution: each transition is one conditional write on its item.

QUEUED -> RUNNING -> SUCCEEDED | FAILED | DEAD | CANCELLED, and back to QUEUED for the next
attempt; SKIPPED and CANCELLED also from the start. Times are microseconds since 1970.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from google.protobuf.timestamp_pb2 import Timestamp

from secmesh.tenancy.v1.execution_pb2 import Execution, ExecutionStatus, ExecutionTrigger
from services.tenancy.clock import MICROSECONDS
from services.tenancy.store.conditions import All, Any, AtMost, Condition, Equals, In, Missing
from services.tenancy.store.items import VERSION, ItemCodec, integer, text
from services.tenancy.store.keys import (
    PlatformScope,
    TenantScope,
    execution_id,
    key_of,
    shard_of,
)
from services.tenancy.store.port import Add, Change, Key, Put, Remove, Set, Update
from services.tenancy.store.tables import EXPIRES_AT, Table
from services.tenancy.store.values import Item, Value

CODEC = ItemCodec(Execution)
DAY: Final = 86_400 * MICROSECONDS
HISTORY: Final = 400 * DAY
"""How long an execution is remembered after it was made."""
Status: TypeAlias = ExecutionStatus.ValueType

QUEUED = ExecutionStatus.EXECUTION_STATUS_QUEUED
RUNNING = ExecutionStatus.EXECUTION_STATUS_RUNNING
SUCCEEDED = ExecutionStatus.EXECUTION_STATUS_SUCCEEDED
FAILED = ExecutionStatus.EXECUTION_STATUS_FAILED
DEAD = ExecutionStatus.EXECUTION_STATUS_DEAD
SKIPPED = ExecutionStatus.EXECUTION_STATUS_SKIPPED
CANCELLED = ExecutionStatus.EXECUTION_STATUS_CANCELLED
UNENDED = frozenset({QUEUED, RUNNING})
RETRIED = frozenset({FAILED, DEAD, CANCELLED})
"""What somebody can have tried once more."""
_LEASE = Table.EXECUTIONS.indexes["lease"]


@dataclass(frozen=True)
class Plan:
    """What a new execution is made of."""

    tenant: str
    schedule_id: str
    account_id: str
    status: Status
    trigger: ExecutionTrigger.ValueType
    fire: int
    """Nominal time of the occurrence, or when it was triggered."""
    max_attempts: int
    depends_on: str = ""
    missed: int = 0
    pause_on_failure: bool = False


@dataclass(frozen=True)
class Lease:
    """The right to work on an execution and to say how it ended, until it is taken over."""

    key: Key
    fence: int
    executor: str
    until: int
    queued_until: int
    """Where it stands in the queue: no later than when it is seen as expired."""


def scheduled_key(scope: TenantScope, schedule_id: str, fire: int) -> Key:
    """Give the key of the one execution of an occurrence."""
    return scope.execution(schedule_id, fire // MICROSECONDS)


def status_of(item: Mapping[str, Value]) -> Status:
    """Give how far an execution is."""
    return ExecutionStatus.Value(text(item, "status"))


def has_ended(item: Mapping[str, Value] | None) -> bool:
    """Tell whether an execution has ended; one that the history forgot has."""
    return item is None or status_of(item) not in UNENDED


def has_started(item: Mapping[str, Value]) -> bool:
    """Tell whether an executor ever had it."""
    return integer(item, "fence") > 0


def created(key: Key, plan: Plan, now: int, shards: int) -> Put:
    """Make an execution, unless there is one of its key already."""
    scope = TenantScope(plan.tenant)
    identity = execution_id(key)
    message = Execution(
        name=execution_name(plan.tenant, plan.schedule_id, identity),
        create_time=_timestamp(now),
        update_time=_timestamp(now),
        account_id=plan.account_id,
        status=plan.status,
        trigger=plan.trigger,
        fire_time=_timestamp(plan.fire),
        max_attempts=plan.max_attempts,
        depends_on=plan.depends_on,
        missed_count=plan.missed,
        pause_on_failure=plan.pause_on_failure,
        expire_time=_timestamp(now + HISTORY),
    )
    attributes: Item = CODEC.item(message)
    attributes["fence"] = 0
    attributes[EXPIRES_AT] = (now + HISTORY) // MICROSECONDS
    fire = plan.fire // MICROSECONDS
    attributes |= scope.execution_indexes(plan.account_id, fire, now, identity)
    if plan.status == QUEUED:
        attributes["visible_time"] = now
        attributes |= _place(key, now, shards)
    else:
        attributes["end_time"] = now
    return Put(key, attributes, Missing())


def acquired(item: Item, executor: str, now: int, length: int, shards: int) -> tuple[Update, Lease]:
    """Take the lease of an execution that waits, or whose lease was left to expire."""
    key = key_of(Table.EXECUTIONS, item)
    fence, until = integer(item, "fence"), now + length
    update = Update(
        key,
        [
            *_changed(RUNNING, now),
            Set("fence", fence + 1),
            Set("executor", executor),
            Set("start_time", now),
            Set("lease_time", until),
            Add("attempts", 1),
            *_visible(key, until, shards),
        ],
        All(Equals("fence", fence), _free(now)),
    )
    return update, Lease(key, fence + 1, executor, until, until)


def is_free(item: Item, now: int) -> bool:
    """Tell whether ``acquired`` would take it."""
    status = status_of(item)
    if status == QUEUED:
        return integer(item, "visible_time") <= now
    return status == RUNNING and integer(item, "lease_time") <= now


def beaten(lease: Lease, now: int, length: int, shards: int) -> tuple[Update, Lease]:
    """Keep the lease. It fails when the lease is lost, or when the execution is to be cancelled.

    The place in the queue, which costs two writes of the index, is moved only when it is near.
    """
    until = now + length
    changes: list[Change] = [Set("lease_time", until)]
    queued_until = lease.queued_until
    if queued_until - now <= length // 2:
        queued_until = until
        changes += _visible(lease.key, until, shards)
    update = Update(lease.key, changes, All(_held(lease), Missing("cancel_requested")))
    return update, Lease(lease.key, lease.fence, lease.executor, until, queued_until)


def is_lost(lease: Lease, item: Item | None) -> bool:
    """Tell whether another holds the lease by now, or nobody can."""
    return item is None or integer(item, "fence") != lease.fence or status_of(item) != RUNNING


def ended(
    lease: Lease, status: Status, now: int, reason: str = "", message: str = "", result: str = ""
) -> Update:
    """Say how it ended, for good."""
    changes: list[Change] = [*_changed(status, now), Set("end_time", now), *_LEFT]
    if result:
        changes.append(Set("scan_result", result))
    changes += _error(reason, message)
    if status in (FAILED, DEAD):
        changes.append(Add("failures", 1))
    return Update(lease.key, changes, _held(lease))


def closed(item: Item, status: Status, now: int, reason: str = "", message: str = "") -> Update:
    """End an execution whose executor was lost, once its lease is over, in place of an attempt."""
    key, fence = key_of(Table.EXECUTIONS, item), integer(item, "fence")
    changes = [*_changed(status, now), Set("end_time", now), *_LEFT, *_error(reason, message)]
    expired = All(Equals("fence", fence), _is(RUNNING), AtMost("lease_time", now))
    return Update(key, [*changes, Set("fence", fence + 1)], expired)


def requeued(
    lease: Lease, now: int, visible: int, shards: int, reason: str, message: str
) -> Update:
    """Have a failed attempt tried again at ``visible``."""
    changes = [
        *_changed(QUEUED, now),
        Add("failures", 1),
        *_error(reason, message),
        Remove("lease_time"),
        Remove("executor"),
        *_visible(lease.key, visible, shards),
    ]
    return Update(lease.key, changes, _held(lease))


def released(lease: Lease, now: int, shards: int) -> Update:
    """Give the lease back at once, as an executor does that ends in peace."""
    changes = [
        *_changed(QUEUED, now),
        Add("attempts", -1),
        Remove("lease_time"),
        Remove("executor"),
        *_visible(lease.key, now, shards),
    ]
    return Update(lease.key, changes, _held(lease))


def postponed(item: Item, visible: int, shards: int) -> Update:
    """Look at an execution again at ``visible`` that cannot start yet."""
    key = key_of(Table.EXECUTIONS, item)
    condition = All(Equals("fence", integer(item, "fence")), _is(QUEUED))
    return Update(key, _visible(key, visible, shards), condition)


def cancelled(item: Item, now: int) -> Update:
    """End an execution that waits, or ask the executor of one that runs to end it.

    It fails if the one became the other meanwhile.
    """
    key = key_of(Table.EXECUTIONS, item)
    if status_of(item) == QUEUED:
        changes = [*_changed(CANCELLED, now), Set("end_time", now), *_LEFT]
        return Update(key, changes, All(_is(QUEUED), Equals("fence", integer(item, "fence"))))
    changes = [Set("cancel_requested", True), Set("update_time", now), Add(VERSION, 1)]
    return Update(key, changes, _is(RUNNING))


def retried(item: Item, now: int, shards: int) -> Update:
    """Queue an execution once more that failed, died or was cancelled."""
    key = key_of(Table.EXECUTIONS, item)
    gone = ("end_time", "depends_on", "cancel_requested", "error_reason", "error_message")
    changes = [
        *_changed(QUEUED, now),
        *(Remove(name) for name in gone),
        Set("attempts", 0),
        # The work of this try is another one than that which failed.
        Add("failures", 1),
        Set("expire_time", now + HISTORY),
        Set(EXPIRES_AT, (now + HISTORY) // MICROSECONDS),
        *_visible(key, now, shards),
    ]
    names = tuple(ExecutionStatus.Name(each) for each in sorted(RETRIED))
    return Update(key, changes, All(In("status", names), Equals(VERSION, integer(item, VERSION))))


def execution_name(tenant: str, schedule_id: str, identity: str) -> str:
    """Give the resource name of an execution."""
    return f"tenants/{tenant}/schedules/{schedule_id}/executions/{identity}"


def work_key(item: Item) -> str:
    """Give the idempotency key of the work: the same after a crash, another after a failure.

    What a crash left half done is gone on with; what failed is begun anew.
    """
    return f"{text(item, 'execution_id')}.{integer(item, 'failures')}"


_LEFT: Final = (
    Remove("visible_time"),
    Remove("lease_time"),
    Remove("executor"),
    *(Remove(name) for name in _LEASE.keys),
)
"""What an execution has no more when it has ended."""


def _is(status: Status) -> Condition:
    return Equals("status", ExecutionStatus.Name(status))


def _free(now: int) -> Condition:
    return Any(_is(QUEUED), All(_is(RUNNING), AtMost("lease_time", now)))


def _held(lease: Lease) -> Condition:
    return All(Equals("fence", lease.fence), _is(RUNNING))


def _changed(status: Status, now: int) -> list[Change]:
    return [Set("status", ExecutionStatus.Name(status)), Set("update_time", now), Add(VERSION, 1)]


def _visible(key: Key, visible: int, shards: int) -> list[Change]:
    place = _place(key, visible, shards)
    return [Set("visible_time", visible), *(Set(name, value) for name, value in place.items())]


def _place(key: Key, visible: int, shards: int) -> dict[str, Value]:
    # Rounded up: whoever finds it in the index may take it.
    seconds = -(-visible // MICROSECONDS)
    identity = execution_id(key)
    return PlatformScope().lease_place(shard_of(identity, shards), seconds, identity)


def _error(reason: str, message: str) -> list[Change]:
    return [Set("error_reason", reason), Set("error_message", message[:2048])] if reason else []


def _timestamp(moment: int) -> Timestamp:
    seconds, micros = divmod(moment, MICROSECONDS)
    return Timestamp(seconds=seconds, nanos=micros * 1000)
