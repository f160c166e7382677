"""What a scheduler makes of a schedule that is due: pure, so that simulation and tests hold it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from secmesh.tenancy.v1.execution_pb2 import ExecutionStatus
from secmesh.tenancy.v1.schedule_pb2 import MisfirePolicy, OverlapPolicy

QUEUED = ExecutionStatus.EXECUTION_STATUS_QUEUED
SKIPPED = ExecutionStatus.EXECUTION_STATUS_SKIPPED
CANCELLED = ExecutionStatus.EXECUTION_STATUS_CANCELLED

MOST_LOOKED_AT = 1000
"""Occurrences of one schedule that one claim looks at."""
MOST_MADE = 10
"""Executions that one claim makes."""

Occurrences = Callable[[int, int, int], Sequence[int]]
"""Nominal times from the first moment to the second, both included, at most so many."""


@dataclass(frozen=True)
class Misfires:
    """What becomes of fires that were not taken up in time; all in microseconds."""

    policy: MisfirePolicy.ValueType
    window: int
    grace: int


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
    folded: int = 0
    """Earlier occurrences that stand in this one."""


@dataclass(frozen=True)
class Kept:
    """Occurrences of which executions are made, and what became of the others."""

    times: Sequence[int]
    missed: int
    folded: int
    looked_until: int
    """No occurrence up to this moment is left."""


@dataclass(frozen=True)
class Placed:
    """Executions that fit to the one that has not ended."""

    fires: Sequence[Fire]
    newest: str
    """Id of the newest that was not skipped; empty if none is new."""
    cancels: Sequence[Unended] = field(default_factory=tuple)
    """Executions from before that have to end."""


def keep(times: Sequence[int], until: int, misfires: Misfires) -> Kept:
    """Choose which of the occurrences of a schedule still run.

    Args:
        times: Nominal times up to ``until``, ascending; those past MOST_LOOKED_AT are left for a
            later claim.
        until: This moment in nominal time, that is without the schedule's jitter.
    """
    cut = len(times) > MOST_LOOKED_AT
    times = times[:MOST_LOOKED_AT]
    looked_until = times[-1] if cut else until
    young = [each for each in times if until - each <= misfires.window]
    old = len(times) - len(young)
    match misfires.policy:
        case MisfirePolicy.MISFIRE_POLICY_ALL:
            kept = young[:MOST_MADE]
            if len(young) > MOST_MADE:
                looked_until = kept[-1]
            return Kept(kept, old, 0, looked_until)
        case _ if cut:
            # The newest comes with a later claim; these are too many for one look.
            return Kept((), len(times), 0, looked_until)
        case MisfirePolicy.MISFIRE_POLICY_SKIP:
            kept = [each for each in times[-1:] if until - each <= misfires.grace]
            return Kept(kept, len(times) - len(kept), 0, looked_until)
        case _:
            return Kept(young[-1:], old, max(len(young) - 1, 0), looked_until)


def place(
    times: Sequence[tuple[str, int]],
    unended: Unended | None,
    policy: OverlapPolicy.ValueType,
    folded: int = 0,
) -> Placed:
    """Fit new executions to the one that has not ended.

    Args:
        times: Ids and nominal times of the new ones, the oldest first.
        folded: Occurrences that stand in the last of them.
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
    if fires and folded:
        last = fires[-1]
        fires[-1] = Fire(last.id, last.time, last.status, last.depends_on, folded)
    newest = next((each.id for each in reversed(fires) if each.status == QUEUED), "")
    return Placed(fires, newest, cancels)


_Place = tuple[ExecutionStatus.ValueType, str]


def _skip(current: Unended | None, _fires: list[Fire], _cancels: list[Unended]) -> _Place:
    return (QUEUED, "") if current is None else (SKIPPED, "")


def _buffer_one(current: Unended | None, _fires: list[Fire], _cancels: list[Unended]) -> _Place:
    if current is None:
        return QUEUED, ""
    return (SKIPPED, "") if current.waits else (QUEUED, current.id)


def _allow(_current: Unended | None, _fires: list[Fire], _cancels: list[Unended]) -> _Place:
    return QUEUED, ""


def _cancel_other(
    current: Unended | None, fires: list[Fire], cancels: list[Unended]
) -> _Place:
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
