"""When one schedule fires."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count, takewhile
from zoneinfo import ZoneInfo

from secmesh.tenancy.v1 import schedule_pb2
from services.tenancy.timing.cron import Cron
from services.tenancy.timing.errors import TimingInvalid
from services.tenancy.timing.expressions import At, Expression, Rate, parse_expression
from services.tenancy.timing.local_times import (
    BOTH,
    FIRST,
    SHIFT,
    SKIP,
    Fire,
    Rules,
    local_time,
    resolve,
)
from services.tenancy.timing.zones import zone

EARLIEST = 0
LATEST = 7_258_118_400
"""The end of the year 2199 in UTC; no moments are computed but from 1970 to here."""
_NEAR = 25 * 3600
"""Further away than this from a moment, no jump makes its times of day come twice."""
_DEFAULT = Rules()
_BY_ELAPSED_TIME = Rules(SKIP, BOTH)
"""Each moment whose time of day is asked for: what is left out is none, what comes twice is two."""


@dataclass(frozen=True)
class Timing:
    """An expression in a zone, within its bounds. All moments are seconds since the epoch."""

    expression: Expression
    zone: ZoneInfo
    rules: Rules = _DEFAULT
    start: int = 0
    """A rate is counted from here, and nothing fires before."""
    end: int | None = None
    """Nothing fires after."""

    @classmethod
    def of(cls, schedule: schedule_pb2.Schedule) -> "Timing":
        """Read it from a schedule; TimingInvalid names the field."""
        start = schedule.start_time if schedule.HasField("start_time") else schedule.create_time
        begin = start.seconds + bool(start.nanos)
        end = schedule.end_time.seconds if schedule.HasField("end_time") else None
        if end is not None and end < begin:
            raise TimingInvalid("end_time", "is before start_time")
        return cls(
            parse_expression(schedule.expression),
            zone(schedule.time_zone),
            Rules(schedule.dst_gap or SHIFT, schedule.dst_fold or FIRST),
            begin,
            end,
        )

    def fires(self, after: int) -> Iterator[int]:
        """Give the moments after one, strictly ascending; the jitter is not in them."""
        return (fire.time for fire in self.marked(after) if fire.fires)

    def marked(self, after: int) -> Iterator[Fire]:
        """Give the moments after one with their marks, ascending, those that do not fire as well.

        Times of day that a jump moves to one moment are one there, the earliest.
        """
        after = max(after, self.start - 1, EARLIEST)
        if after >= LATEST:
            return iter(())
        end = LATEST - 1 if self.end is None else min(self.end, LATEST - 1)
        if isinstance(self.expression, Rate):
            found = _of_rate(self.expression, self.zone, self.start, after)
        else:
            found = _once_each(self._of_local_times(self.expression, after), after)
        return takewhile(lambda fire: fire.time <= end, found)

    def _of_local_times(self, expression: Cron | At, after: int) -> Iterator[Fire]:
        """Bring times of day to moments in order, also where a stretch of them comes twice."""
        rules = self.rules
        if isinstance(expression, Cron) and expression.by_elapsed_time:
            rules = _BY_ELAPSED_TIME
        waiting: list[Fire] = []
        for local in _local_times(expression, self._local_start(after)):
            found = resolve(local, self.zone, rules)
            while waiting and waiting[0] < found[0]:
                yield heapq.heappop(waiting)
            for fire in found:
                heapq.heappush(waiting, fire)
        while waiting:
            yield heapq.heappop(waiting)

    def _local_start(self, after: int) -> datetime:
        """Give a time of day before all that come after a moment: some may come twice."""
        here = local_time(after, self.zone)
        offsets = [
            local_time(max(0, after + step), self.zone).utcoffset() or timedelta()
            for step in (-_NEAR, 0, _NEAR)
        ]
        set_back = max(timedelta(), offsets[0] - offsets[1], offsets[1] - offsets[2])
        return here.replace(tzinfo=None) - set_back


def next_fire(timing: Timing, after: int) -> int | None:
    """Give the first moment after one; None if there is none any more."""
    return next(timing.fires(after), None)


def _local_times(expression: Cron | At, start: datetime) -> Iterator[datetime]:
    if isinstance(expression, Cron):
        return expression.after(start)
    return iter((expression.local,))


def _of_rate(rate: Rate, where: ZoneInfo, start: int, after: int) -> Iterator[Fire]:
    first = max(0, (after - start) // rate.seconds + 1)
    for moment in count(start + first * rate.seconds, rate.seconds):
        yield Fire(moment, local_time(moment, where).replace(tzinfo=None))


def _once_each(fires: Iterator[Fire], after: int) -> Iterator[Fire]:
    last = after
    for fire in fires:
        if fire.time <= last and (fire.fires or fire.time <= after):
            continue
        if fire.fires:
            last = fire.time
        yield fire
