"""Faults put into the real code one at a time: a simulation that misses them holds nothing."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import pytest

from secmesh.tenancy.v1.schedule_pb2 import OverlapPolicy
from services.tenancy.scheduling import claims, executions, overlap, scheduler
from services.tenancy.scheduling.executor import Executor
from services.tenancy.store.conditions import Condition, Exists
from services.tenancy.store.port import Action, Put, Update
from services.tenancy.store.tables import Table
from services.tenancy.store.values import Item
from tests.unit.simulation.process import Process


def claims_without_conditions(patch: pytest.MonkeyPatch) -> None:
    """Claim whatever another has claimed meanwhile."""
    real = claims.claim_of

    async def claim_of(*arguments: Any) -> claims.Claim | None:
        claim = await real(*arguments)
        if claim is None:
            return None
        return replace(claim, actions=[_unconditional(each) for each in claim.actions])

    patch.setattr(scheduler, "claim_of", claim_of)


def advance_before_create(patch: pytest.MonkeyPatch) -> None:
    """Move the schedule on first, and create the executions then, as Celery's beat does."""
    _split(patch, Table.SCHEDULES, own_first=True)


def publish_before_end(patch: pytest.MonkeyPatch) -> None:
    """Publish results first, and end the execution then."""
    _split(patch, Table.EXECUTIONS, own_first=False)


def end_without_fence(patch: pytest.MonkeyPatch) -> None:
    """Let whoever once had the lease say how it ended."""

    def held(_lease: executions.Lease) -> Condition:
        return Exists()

    patch.setattr(executions, "_held", held)


def acquire_without_lease_check(patch: pytest.MonkeyPatch) -> None:
    """Take an execution whose executor still has its lease."""

    def is_free(item: Item, _now: int) -> bool:
        return not executions.has_ended(item)

    def free(_now: int) -> Condition:
        return Exists()

    patch.setattr(executions, "is_free", is_free)
    patch.setattr(executions, "_free", free)


def overlap_unseen(patch: pytest.MonkeyPatch) -> None:
    """Fire as if the execution before had ended."""

    async def newest_unended(*_arguments: Any) -> tuple[None, None]:
        return None, None

    patch.setattr(claims, "newest_unended", newest_unended)


def dependency_unseen(patch: pytest.MonkeyPatch) -> None:
    """Start an execution while the one that it waits for runs."""

    async def must_wait(_self: Executor, _item: Item) -> bool:
        return False

    patch.setattr(Executor, "_must_wait", must_wait)


def skip_runs_beside(patch: pytest.MonkeyPatch) -> None:
    """Run what was to be skipped."""
    patch.setattr(overlap, "_skip", overlap._allow)


def buffer_runs_beside(patch: pytest.MonkeyPatch) -> None:
    """Run at once what was to wait."""
    buffer_one = OverlapPolicy.OVERLAP_POLICY_BUFFER_ONE
    patch.setitem(overlap._PLACES, buffer_one, overlap._allow)


def cancel_does_not_wait(patch: pytest.MonkeyPatch) -> None:
    """Run in place of another before that has ended."""
    real = overlap._cancel_other

    def at_once(*arguments: Any) -> tuple[Any, str]:
        return real(*arguments)[0], ""

    patch.setitem(overlap._PLACES, OverlapPolicy.OVERLAP_POLICY_CANCEL_OTHER, at_once)


MUTANTS: Final[list[Callable[[pytest.MonkeyPatch], None]]] = [
    claims_without_conditions,
    advance_before_create,
    publish_before_end,
    end_without_fence,
    acquire_without_lease_check,
    overlap_unseen,
    dependency_unseen,
    skip_runs_beside,
    buffer_runs_beside,
    cancel_does_not_wait,
]


def _split(patch: pytest.MonkeyPatch, table: Table, *, own_first: bool) -> None:
    """Write one transaction of a process as several writes."""
    real = Process.write

    async def write(self: Process, *actions: Action, token: str = "") -> None:
        if len(actions) == 1 or actions[0].key.table is not table:
            await real(self, *actions, token=token)
            return
        order = actions if own_first else actions[::-1]
        for action in order:
            await real(self, action)

    patch.setattr(Process, "write", write)


def _unconditional(action: Action) -> Action:
    return replace(action, condition=None) if isinstance(action, Put | Update) else action
