"""How new executions of a schedule fit to the one that has not ended: pure.

Which occurrences become executions at all is decided by ``timing.occurrences.catch_up``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from secmesh.tenancy.v1.execution_pb2 import ExecutionStatus
from secmesh.tenancy.v1.schedule_pb2 import OverlapPolicy

QUEUED = ExecutionStatus.EXECUTION_STATUS_QUEUED
SKIPPED = ExecutionStatus.EXECUTION_STATUS_SKIPPED
CANCELLED = ExecutionStatus.EXECUTION_STATUS_CANCELLED


@dataclass(frozen=True)
class Unended:
    """The newest execution of a schedule, where it has not ended."""

    id: str
    queued: bool
    """Whether no executor has it: it can be taken back without one."""
    depends_on: str = ""
    """What it waits for to end; empty once it started."""

    @property
    def waits(self) -> bool:
        """Whether it stands in the buffer for its turn."""
        return self.queued and bool(self.depends_on)


@dataclass(frozen=True)
class Fire:
    """One execution that a claim makes."""

    id: str
    time: int
    """Nominal, in microseconds."""
    status: ExecutionStatus.ValueType
    depends_on: str = ""


@dataclass(frozen=True)
class Placed:
    """Executions that fit to the one that has not ended."""

    fires: Sequence[Fire]
    newest: str
    """Id of the newest that was not skipped; empty if none is new."""
    cancels_unended: bool = False
    """Whether the one from before has to end."""


def place(
    times: Sequence[tuple[str, int]],
    unended: Unended | None,
    policy: OverlapPolicy.ValueType,
) -> Placed:
    """Fit new executions to the one that has not ended.

    Args:
        times: Ids and nominal times of the new ones, the oldest first.
    """
    place_one = _PLACES.get(policy, _skip)
    fires: list[Fire] = []
    cancels: list[Unended] = []
    current = unended
    for identity, time in times:
        status, depends_on = place_one(current, fires, cancels)
        fires.append(Fire(identity, time, status, depends_on))
        if status == QUEUED:
            current = Unended(identity, queued=True, depends_on=depends_on)
    newest = next((each.id for each in reversed(fires) if each.status == QUEUED), "")
    return Placed(fires, newest, bool(cancels))


_Place = tuple[ExecutionStatus.ValueType, str]


def _skip(current: Unended | None, _fires: list[Fire], _cancels: list[Unended]) -> _Place:
    return (QUEUED, "") if current is None else (SKIPPED, "")


def _buffer_one(current: Unended | None, _fires: list[Fire], _cancels: list[Unended]) -> _Place:
    if current is None:
        return QUEUED, ""
    return (SKIPPED, "") if current.waits else (QUEUED, current.id)


def _allow(_current: Unended | None, _fires: list[Fire], _cancels: list[Unended]) -> _Place:
    return QUEUED, ""


def _cancel_other(current: Unended | None, fires: list[Fire], cancels: list[Unended]) -> _Place:
    """Take the place of what waits, and wait for what runs: two never run side by side."""
    if current is None:
        return QUEUED, ""
    if fires and fires[-1].id == current.id:
        last = fires.pop()
        fires.append(Fire(last.id, last.time, CANCELLED))
    else:
        cancels.append(current)
    return QUEUED, current.depends_on if current.queued else current.id


_PLACES = {
    OverlapPolicy.OVERLAP_POLICY_BUFFER_ONE: _buffer_one,
    OverlapPolicy.OVERLAP_POLICY_ALLOW: _allow,
    OverlapPolicy.OVERLAP_POLICY_CANCEL_OTHER: _cancel_other,
}
