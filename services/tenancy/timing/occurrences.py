"""The times of a schedule within a stretch of time, and what is run of those that are late."""

import zlib
from dataclasses import dataclass
from itertools import islice, takewhile

from secmesh.tenancy.v1 import schedule_pb2
from services.tenancy.timing.timing import Timing, next_fire

CAP = 1000
"""Most times looked at in one go."""
MOST_AT_ONCE = 10
"""Most fires that one claim of MISFIRE_POLICY_ALL makes up for."""
DAY = 86400
MINUTE = 60


@dataclass(frozen=True)
class Occurrences:
    """Some times of a schedule, ascending, in seconds since the epoch."""

    times: tuple[int, ...]
    more: bool
    """Whether the stretch holds more of them."""


@dataclass(frozen=True)
class Misfire:
    """What is run of fires that are late."""

    policy: schedule_pb2.MisfirePolicy.ValueType = schedule_pb2.MISFIRE_POLICY_ONCE
    window: int = DAY
    """Seconds; a fire that is later is missed."""
    grace: int = MINUTE
    """Seconds; a fire that is no later is on time for MISFIRE_POLICY_SKIP."""

    @classmethod
    def of(cls, schedule: schedule_pb2.Schedule) -> "Misfire":
        """Read it from a schedule, with the defaults of the contract."""
        return cls(
            schedule.misfire_policy or schedule_pb2.MISFIRE_POLICY_ONCE,
            schedule.misfire_window_seconds or DAY,
            schedule.misfire_grace_seconds or MINUTE,
        )


@dataclass(frozen=True)
class CatchUp:
    """What a schedule that is due comes to."""

    run: tuple[int, ...]
    """Times that become executions, ascending; the keys of those executions."""
    missed: int
    """How many times are passed over for good."""
    next_fire: int | None
    """The time to wait for then, which may be past as well; None if there is none any more."""


def occurrences(timing: Timing, since: int, until: int, cap: int = CAP) -> Occurrences:
    """Give the times from ``since`` to ``until``, both included, at most ``cap``."""
    within = takewhile(lambda moment: moment <= until, timing.fires(since - 1))
    found = tuple(islice(within, cap + 1))
    return Occurrences(found[:cap], len(found) > cap)


def jitter_of(schedule_id: str, jitter_seconds: int) -> int:
    """Give by how many seconds a schedule runs after its times: from its id, the same for good."""
    return zlib.crc32(schedule_id.encode()) % jitter_seconds if jitter_seconds else 0


def catch_up(timing: Timing, misfire: Misfire, due: int, now: int, jitter: int = 0) -> CatchUp:
    """Decide what a schedule runs now, whose next time was ``due``.

    ``due`` is a time without jitter; a time has come when ``jitter`` seconds have passed since it.
    A pure function: whoever asks with the same values decides the same. Nothing has come: nothing
    runs, nothing is missed, and the next time is the first from ``due`` on.
    """
    found = occurrences(timing, due, now - jitter)
    times = found.times
    if not times:
        return CatchUp((), 0, next_fire(timing, due - 1))
    run = _chosen(misfire, found, now - jitter)
    # What is younger than the last that runs is left for the next claim by MISFIRE_POLICY_ALL only.
    last = run[-1] if run and misfire.policy == schedule_pb2.MISFIRE_POLICY_ALL else times[-1]
    missed = sum(moment <= last for moment in times) - len(run)
    return CatchUp(run, missed, next_fire(timing, last))


def _chosen(misfire: Misfire, found: Occurrences, now: int) -> tuple[int, ...]:
    late = misfire.window
    if misfire.policy == schedule_pb2.MISFIRE_POLICY_ALL:
        return tuple(moment for moment in found.times if now - moment <= late)[:MOST_AT_ONCE]
    if found.more:
        return ()  # The newest is still to come.
    if misfire.policy == schedule_pb2.MISFIRE_POLICY_SKIP:
        late = min(late, misfire.grace)
    return tuple(moment for moment in found.times[-1:] if now - moment <= late)
