"""Twelve changes of clocks and nine expressions, held against the rule of Debian's cron(8).

The rule is written down here once more, minute by minute and without any cron library: a job of
fixed times whose time is left out runs when the jump is over, one whose time comes twice runs the
first time, and jumps of three hours or more are corrections. Jobs whose minutes or hours begin
with ``*`` run at each minute that matches.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest

from secmesh.tenancy.v1 import schedule_pb2
from services.tenancy.timing.expressions import parse_expression
from services.tenancy.timing.local_times import BOTH, FIRST, LAST, SHIFT, SKIP, Rules
from services.tenancy.timing.occurrences import occurrences
from services.tenancy.timing.timing import Timing, next_fire
from services.tenancy.timing.zones import zone

MINUTE = timedelta(minutes=1)
AROUND = timedelta(hours=50)

# Zone, and a moment in UTC not far from one change of its clocks: by what it changes, in minutes.
CHANGES = {
    "Berlin, spring": ("Europe/Berlin", datetime(2026, 3, 29, 1, tzinfo=UTC), 60),
    "Berlin, autumn": ("Europe/Berlin", datetime(2026, 10, 25, 1, tzinfo=UTC), -60),
    "New York, spring": ("America/New_York", datetime(2026, 3, 8, 7, tzinfo=UTC), 60),
    "New York, autumn": ("America/New_York", datetime(2026, 11, 1, 6, tzinfo=UTC), -60),
    "Lord Howe, half an hour on": (
        "Australia/Lord_Howe",
        datetime(2026, 10, 3, 15, tzinfo=UTC),
        30,
    ),
    "Lord Howe, half an hour back": (
        "Australia/Lord_Howe",
        datetime(2026, 4, 4, 15, tzinfo=UTC),
        -30,
    ),
    "Beirut, midnight left out": ("Asia/Beirut", datetime(2026, 3, 28, 22, tzinfo=UTC), 60),
    "Havana, midnight twice": ("America/Havana", datetime(2024, 11, 3, 5, tzinfo=UTC), -60),
    "Nuuk, into the next day": ("America/Nuuk", datetime(2026, 3, 29, 1, tzinfo=UTC), 60),
    "Troll, two hours on": ("Antarctica/Troll", datetime(2026, 3, 29, 1, tzinfo=UTC), 120),
    "Casablanca, Ramadan begins": ("Africa/Casablanca", datetime(2026, 2, 15, 2, tzinfo=UTC), -60),
    "Apia, a day left out": ("Pacific/Apia", datetime(2011, 12, 30, 10, tzinfo=UTC), 1440),
}

EXPRESSIONS: dict[str, Callable[[datetime], bool]] = {
    "30 2 * * *": lambda at: (at.hour, at.minute) == (2, 30),
    "15 0 * * *": lambda at: (at.hour, at.minute) == (0, 15),
    "0 3 * * *": lambda at: (at.hour, at.minute) == (3, 0),
    "30 23 * * SAT": lambda at: (at.hour, at.minute, at.isoweekday()) == (23, 30, 6),
    "10,40 1-3 * * *": lambda at: at.hour in (1, 2, 3) and at.minute in (10, 40),
    "45 1,2 1-31 * *": lambda at: at.hour in (1, 2) and at.minute == 45,
    "0 * * * *": lambda at: at.minute == 0,
    "*/15 2 * * *": lambda at: at.hour == 2 and at.minute % 15 == 0,
    "20 */2 * * *": lambda at: at.hour % 2 == 0 and at.minute == 20,
}


@dataclass(frozen=True)
class Clocks:
    """A zone around one change of its clocks."""

    name: str
    begin: datetime
    end: datetime

    def minutes(self) -> tuple[tuple[datetime, datetime], ...]:
        """Give each minute in UTC with what the clocks on the wall show."""
        return shown(self)


@cache
def shown(clocks: Clocks) -> tuple[tuple[datetime, datetime], ...]:
    count = (clocks.end - clocks.begin) // MINUTE + 1
    moments = [clocks.begin + each * MINUTE for each in range(count)]
    return tuple(
        (moment, moment.astimezone(zone(clocks.name)).replace(tzinfo=None)) for moment in moments
    )


@cache
def clocks_of(change: str) -> Clocks:
    name, near, minutes = CHANGES[change]
    before, after = ((near + side).astimezone(zone(name)).utcoffset() for side in (-AROUND, AROUND))
    assert before is not None
    assert after is not None
    assert after - before == timedelta(minutes=minutes), "the database has another change here"
    return Clocks(name, near - AROUND, near + AROUND)


def debian(expression: str, clocks: Clocks) -> list[int]:
    """Give the moments at which Debian's cron would run it."""
    matches = EXPRESSIONS[expression]
    by_elapsed_time = any(field.startswith("*") for field in expression.split()[:2])
    found: list[int] = []
    seen: set[datetime] = set()
    previous: datetime | None = None
    for moment, wall in clocks.minutes():
        jump = wall - previous - MINUTE if previous is not None else timedelta()
        left_out = int(jump / MINUTE) if timedelta() < jump < timedelta(hours=3) else 0
        late = any(matches(wall - each * MINUTE) for each in range(1, left_out + 1))
        again = wall in seen
        if matches(wall) if by_elapsed_time else late or (matches(wall) and not again):
            found.append(int(moment.timestamp()))
        seen.add(wall)
        previous = wall
    return found


def fires(expression: str, clocks: Clocks, rules: Rules) -> list[int]:
    timing = Timing(parse_expression(expression), zone(clocks.name), rules)
    found = occurrences(timing, int(clocks.begin.timestamp()), int(clocks.end.timestamp()))
    assert not found.more
    return list(found.times)


@pytest.mark.parametrize("expression", EXPRESSIONS)
@pytest.mark.parametrize("change", CHANGES)
def test_the_default_is_the_rule_of_debian(change: str, expression: str) -> None:
    clocks = clocks_of(change)
    expected = debian(expression, clocks)
    assert expected
    assert fires(expression, clocks, Rules(SHIFT, FIRST)) == expected


@pytest.mark.parametrize("change", CHANGES)
def test_other_rules_change_fires_near_the_change_alone(change: str) -> None:
    clocks = clocks_of(change)
    minutes = CHANGES[change][2]
    expected = debian("30 2 * * *", clocks)
    half_past_two = {
        (gap, fold): fires("30 2 * * *", clocks, Rules(gap, fold))
        for gap in (SHIFT, SKIP)
        for fold in (FIRST, LAST, BOTH)
    }
    for (gap, fold), found in half_past_two.items():
        if minutes > 0:
            left_out = gap == SKIP and has_no(clocks, "02:30")
            assert found == [
                each for each in expected if not left_out or is_half_past(each, clocks)
            ]
        else:
            assert found == of_fold(clocks, "02:30", fold)


def has_no(clocks: Clocks, time_of_day: str) -> bool:
    """Tell whether a day that begins and ends there lacks a time of day."""
    walls = {wall for _, wall in clocks.minutes()}
    days = {wall.date() for wall in walls}
    inner = sorted(days)[1:-1]
    return any(datetime.fromisoformat(f"{day}T{time_of_day}") not in walls for day in inner)


def is_half_past(moment: int, clocks: Clocks) -> bool:
    wall = datetime.fromtimestamp(moment, UTC).astimezone(zone(clocks.name))
    return (wall.hour, wall.minute) == (2, 30)


def of_fold(clocks: Clocks, time_of_day: str, fold: schedule_pb2.DstFold.ValueType) -> list[int]:
    """Give the moments when the clocks show a time of day: of two on one day as ``fold`` says."""
    days: dict[object, list[int]] = {}
    for moment, wall in clocks.minutes():
        if wall.strftime("%H:%M") == time_of_day:
            days.setdefault(wall.date(), []).append(int(moment.timestamp()))
    chosen = {FIRST: slice(0, 1), LAST: slice(-1, None), BOTH: slice(None)}[fold]
    return [each for found in days.values() for each in found[chosen]]


def test_fires_of_a_stretch_that_comes_twice_stay_in_order() -> None:
    clocks = clocks_of("Berlin, autumn")
    both = fires("0,30 2 * * *", clocks, Rules(SHIFT, BOTH))
    twice = [
        datetime(2026, 10, 25, hour, minute, tzinfo=UTC) for hour in (0, 1) for minute in (0, 30)
    ]
    assert both == sorted(set(both))
    assert [each for each in both if each in {int(at.timestamp()) for at in twice}] == [
        int(at.timestamp()) for at in twice
    ]


def test_times_that_a_jump_moves_to_one_moment_are_one_fire() -> None:
    clocks = clocks_of("Berlin, spring")
    found = fires("10,40 2,3 * * *", clocks, Rules())
    end_of_jump = int(datetime(2026, 3, 29, 1, tzinfo=UTC).timestamp())
    assert found.count(end_of_jump) == 1
    assert fires("0 2,3 * * *", clocks, Rules()).count(end_of_jump) == 1


@pytest.mark.parametrize("fold", [FIRST, LAST, BOTH])
@pytest.mark.parametrize("expression", ["0,40 0-2 * * *", "*/20 * * * *"])
@pytest.mark.parametrize("change", [each for each, found in CHANGES.items() if found[2] < 0])
def test_a_stretch_that_comes_twice_is_the_same_from_any_moment_of_it(
    change: str, expression: str, fold: schedule_pb2.DstFold.ValueType
) -> None:
    clocks = clocks_of(change)
    timing = Timing(parse_expression(expression), zone(clocks.name), Rules(SHIFT, fold))
    found = fires(expression, clocks, timing.rules)
    middle = int((clocks.begin + AROUND).timestamp())
    for start in range(middle - 4 * 3600, middle + 4 * 3600, 600):
        assert next_fire(timing, start) == next(each for each in found if each > start)
