"""What callers do to executions: end one, or have one tried once more."""

from mesh.errors import Refusal
from secmesh.tenancy.v1.execution_pb2 import ExecutionStatus
from secmesh.tenancy.v1.schedule_pb2 import OverlapPolicy
from services.tenancy.clock import Clock
from services.tenancy.errors import (
    ExecutionEnded,
    ExecutionNotRetriable,
    ResourceDeleted,
    ScheduleBusy,
    WritesCollided,
)
from services.tenancy.schedules import CODEC
from services.tenancy.scheduling import executions
from services.tenancy.scheduling.claims import newest_unended
from services.tenancy.store.conditions import Equals
from services.tenancy.store.items import VERSION, text, version_of
from services.tenancy.store.keys import TenantScope, key_of
from services.tenancy.store.port import Add, ConditionFailed, Item, Set, Store, Update
from services.tenancy.store.tables import Table
from services.tenancy.writing import Write

_TRIES = 5
"""Against others that change the same execution at the same time."""
_DELETED = "SCHEDULE_STATE_DELETED"


async def cancel(store: Store, item: Item, clock: Clock) -> Item:
    """End an execution, or have its executor end it; give it as it is then.

    One that was cancelled is given as it stands. ExecutionEnded if it ended otherwise.
    """
    key = key_of(Table.EXECUTIONS, item)
    for _ in range(_TRIES):
        status = executions.status_of(item)
        if status == executions.CANCELLED or item.get("cancel_requested"):
            return item
        if status not in executions.UNENDED:
            raise ExecutionEnded(spoken(status))
        try:
            await store.write(executions.cancelled(item, clock.now()))
        except ConditionFailed as failed:
            if failed.item is None:
                break
            item = failed.item
        else:
            return await store.get(key) or item
    raise WritesCollided


async def retry(store: Store, item: Item, clock: Clock, shards: int, write: Write) -> Item:
    """Queue an execution once more, in a write that may do other things; give it as it is then.

    Raises ExecutionNotRetriable, ResourceDeleted, ScheduleBusy, and WritesCollided if others
    change it right now.
    """
    status = executions.status_of(item)
    if status not in executions.RETRIED:
        raise ExecutionNotRetriable(spoken(status))
    scope = TenantScope(text(item, "tenant_id"))
    schedule = await store.get(scope.schedule(text(item, "schedule_id")))
    if schedule is None or schedule.get("state") == _DELETED:
        raise ResourceDeleted(f"tenants/{scope.tenant}/schedules/{text(item, 'schedule_id')}")
    message = CODEC.message(schedule)
    unended, _ = await newest_unended(store, scope, message.last_execution_id)
    beside = message.overlap_policy == OverlapPolicy.OVERLAP_POLICY_ALLOW
    if unended is not None and not beside:
        raise ScheduleBusy(unended.id)
    newest = Set("last_execution_id", text(item, "execution_id"))
    # A claim that goes by the schedule as it was fails, and sees this execution then.
    moved = Update(
        key_of(Table.SCHEDULES, schedule),
        [newest, Add(VERSION, 1)],
        Equals(VERSION, version_of(schedule)),
    )
    write.extend([executions.retried(item, clock.now(), shards), moved], _collided)
    await write.carry_out()
    return await store.get(key_of(Table.EXECUTIONS, item)) or item


def _collided(_item: Item | None) -> Refusal:
    return WritesCollided()


def spoken(status: executions.Status) -> str:
    """Give a status in words."""
    return ExecutionStatus.Name(status).removeprefix("EXECUTION_STATUS_").lower()
