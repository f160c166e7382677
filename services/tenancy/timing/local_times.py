"""From a time of day in a zone to moments, where clocks jump as well."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from secmesh.tenancy.v1 import schedule_pb2, schedule_preview_pb2

CORRECTION = timedelta(hours=3)
"""A jump from here on corrects the calendar, and nothing is run for what it left out (cron(8))."""

SHIFT = schedule_pb2.DST_GAP_SHIFT
SKIP = schedule_pb2.DST_GAP_SKIP
FIRST = schedule_pb2.DST_FOLD_FIRST
LAST = schedule_pb2.DST_FOLD_LAST
BOTH = schedule_pb2.DST_FOLD_BOTH


@dataclass(frozen=True, order=True)
class Fire:
    """A time of a schedule."""

    time: int
    """Seconds since the epoch; of a time that is left out, the end of the jump."""
    wanted: datetime
    """The time of day that was asked for, without zone."""
    mark: schedule_preview_pb2.FireMark.ValueType = schedule_preview_pb2.FIRE_MARK_PLAIN

    @property
    def fires(self) -> bool:
        """Whether anything runs."""
        return self.mark not in (
            schedule_preview_pb2.FIRE_MARK_GAP_SKIPPED,
            schedule_preview_pb2.FIRE_MARK_FOLD_SKIPPED,
        )


@dataclass(frozen=True)
class Rules:
    """What becomes of times of day that are left out, or come twice."""

    gap: schedule_pb2.DstGap.ValueType = SHIFT
    fold: schedule_pb2.DstFold.ValueType = FIRST


def resolve(local: datetime, zone: ZoneInfo, rules: Rules) -> tuple[Fire, ...]:
    """Give the moments of a time of day, in order: one, or two where it comes twice."""
    first, last = (_moment(local.replace(tzinfo=zone, fold=fold)) for fold in (0, 1))
    if first == last:
        return (Fire(first, local),)
    if first > last:
        return (_in_gap(local, zone, rules.gap),)
    marks = schedule_preview_pb2
    skipped = marks.FIRE_MARK_FOLD_SKIPPED
    return (
        Fire(first, local, skipped if rules.fold == LAST else marks.FIRE_MARK_FOLD_FIRST),
        Fire(last, local, marks.FIRE_MARK_FOLD_LAST if rules.fold in (LAST, BOTH) else skipped),
    )


def local_time(moment: int, zone: ZoneInfo) -> datetime:
    """Give the time of day at a moment, with its zone."""
    return datetime.fromtimestamp(moment, UTC).astimezone(zone)


def _moment(local: datetime) -> int:
    return int(local.timestamp())


def _in_gap(local: datetime, zone: ZoneInfo, rule: schedule_pb2.DstGap.ValueType) -> Fire:
    before, after = (_offset(local.replace(tzinfo=zone, fold=fold)) for fold in (0, 1))
    shifted = rule == SHIFT and after - before < CORRECTION
    return Fire(
        _transition(local, zone, before, after),
        local,
        schedule_preview_pb2.FIRE_MARK_GAP_SHIFTED
        if shifted
        else schedule_preview_pb2.FIRE_MARK_GAP_SKIPPED,
    )


def _offset(local: datetime) -> timedelta:
    return local.utcoffset() or timedelta()


def _transition(local: datetime, zone: ZoneInfo, before: timedelta, after: timedelta) -> int:
    """Find the first second of the new offset, by bisection: zones do not tell it."""
    naive = int(local.replace(tzinfo=UTC).timestamp())
    low, high = naive - int(after.total_seconds()), naive - int(before.total_seconds())
    while low < high:
        middle = (low + high) // 2
        if _offset(local_time(middle, zone)) >= after:
            high = middle
        else:
            low = middle + 1
    return low
