"""Expressions, zones, pace, misfires and previews, case by case."""

from datetime import UTC, datetime

import pytest

from secmesh.tenancy.v1 import schedule_pb2, schedule_preview_pb2
from services.tenancy.timing.cron import Cron
from services.tenancy.timing.errors import TimingInvalid
from services.tenancy.timing.expressions import parse_expression
from services.tenancy.timing.local_times import BOTH, LAST, SHIFT, SKIP, Rules
from services.tenancy.timing.occurrences import CatchUp, Misfire, catch_up, jitter_of, occurrences
from services.tenancy.timing.pace import hourly_fires, require_pace
from services.tenancy.timing.preview import preview
from services.tenancy.timing.timing import LATEST, Timing, next_fire
from services.tenancy.timing.zones import TZDATA_VERSION, zone

DAY = 86400
ONCE = schedule_pb2.MISFIRE_POLICY_ONCE
ALL = schedule_pb2.MISFIRE_POLICY_ALL
SKIPPED = schedule_pb2.MISFIRE_POLICY_SKIP


def at(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> int:
    return int(datetime(year, month, day, hour, minute, tzinfo=UTC).timestamp())


def shown(moment: int | None) -> str:
    assert moment is not None
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M")


def timing(expression: str, name: str = "UTC", rules: Rules | None = None) -> Timing:
    return Timing(parse_expression(expression), zone(name), rules or Rules())


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("@hourly", "2026-11-22T19:00"),
        ("@daily", "2026-11-23T00:00"),
        ("@midnight", "2026-11-23T00:00"),
        ("@weekly", "2026-11-29T00:00"),
        ("@monthly", "2026-12-01T00:00"),
        ("@yearly", "2027-01-01T00:00"),
        ("@Annually", "2027-01-01T00:00"),
        ("  30   2 * *  mon ", "2026-11-23T02:30"),
        ("0 0 29 2 *", "2028-02-29T00:00"),
        ("0 12 L * *", "2026-11-30T12:00"),
        ("0 0 1 * 5", "2026-11-27T00:00"),
        ("cron(0 10 * * ? *)", "2026-11-23T10:00"),
        ("cron(15 12 * * ? *)", "2026-11-23T12:15"),
        ("cron(0 18 ? * MON-FRI *)", "2026-11-23T18:00"),
        ("cron(0 8 1 * ? *)", "2026-12-01T08:00"),
        ("cron(0/15 8 ? * 2-6 *)", "2026-11-23T08:00"),
        ("cron(0 0 ? * 1 *)", "2026-11-29T00:00"),
        ("cron(0 0 ? * L *)", "2026-11-28T00:00"),
        ("cron(0 0 ? * 6L *)", "2026-11-27T00:00"),
        ("cron(0 0 ? * FRIL *)", "2026-11-27T00:00"),
        ("cron(0 0 ? * 3#2 *)", "2026-12-08T00:00"),
        ("cron(0 0 ? * TUE#2 *)", "2026-12-08T00:00"),
        ("cron(0 0 L * ? *)", "2026-11-30T00:00"),
        ("cron(0 0 LW 2 ? *)", "2027-02-26T00:00"),
        ("cron(0 0 29W * ? *)", "2026-11-30T00:00"),
        ("cron(0 0 1W 8 ? *)", "2027-08-02T00:00"),
        ("cron(0 0 31W 10,11,1 ? *)", "2027-01-29T00:00"),
        ("cron(0 0 1 1 ? 2030-2040/5)", "2030-01-01T00:00"),
        ("cron(0 0 1 1 ? 2029,2028)", "2028-01-01T00:00"),
        ("cron(0 0 1 1 ? */100)", "2070-01-01T00:00"),
        ("cron(0 0 1 1 ? 2199)", "2199-01-01T00:00"),
        ("CRON(0 0 1 JAN ? *)", "2027-01-01T00:00"),
        ("at(2027-01-31T02:30:00)", "2027-01-31T02:30"),
    ],
)
def test_the_next_time_of_an_expression(expression: str, expected: str) -> None:
    assert shown(next_fire(timing(expression), at(2026, 11, 22, 18, 12))) == expected


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("", "must be set"),
        ("* * * *", "month, day of week), not 4"),
        ("0 0 0 * * *", "the six of AWS stand in cron(...)"),
        ("60 * * * *", "'60' is out of range; allowed: 0-59"),
        ("0 24 * * *", "'24' is out of range; allowed: 0-23"),
        ("0 0 31 2 *", "'31' comes in no month of '2'"),
        ("0 0 * * MON#6", "'MON#6' has no number of 1-5"),
        ("0 0 * * FRI-MON", "'FRI-MON' ends before it begins"),
        ("*/0 * * * *", "'*/0' has no step"),
        ("0 0 * * ²L", "characters that cron does not know"),
        ("0 0 ? * *", "characters that cron does not know"),
        ("@reboot", "is none of"),
        ("cron(0 0 * * *)", "week, year), not 5"),
        ("cron(0 0 * * * *)", "one is ?"),
        ("cron(0 0 ? * ? *)", "one is ?"),
        ("cron(0 0 ? * 0 *)", "no day of week"),
        ("cron(0 0 ? * 8 *)", "no day of week"),
        ("cron(0 0 ? * MON/2 *)", "no day of week"),
        ("cron(0 0 32W * ? *)", "W stands after"),
        ("cron(0 0 1,15W * ? *)", "W stands after"),
        ("cron(0 0 31W 2,4 ? *)", "comes in no month"),
        ("cron(0 0 1 1 ? 1969)", "out of range"),
        ("cron(0 0 1 1 ? 2030-2020)", "does not ascend"),
        ("cron(0 0 1 1 ? 2030/0)", "does not ascend"),
        ("cron(0 0 1 1 ? soon)", "no year"),
        ("rate(0 minutes)", "at least a minute"),
        ("rate(1 hours)", "no s"),
        ("rate(2 hour)", "no s"),
        ("rate(367 days)", "366 days"),
        ("rate(5 weeks)", "minutes, hours or days"),
        ("rate(-5 minutes)", "minutes, hours or days"),
        ("at(2027-02-30T00:00:00)", "no such time"),
        ("at(tomorrow)", "a single time"),
        ("at(2027-01-31T02:30:00+01:00)", "a single time"),
        ("0 0 * * *; rm", "not 6; the six of AWS"),
    ],
)
def test_an_expression_that_cannot_be_read_is_refused_by_name(
    expression: str, problem: str
) -> None:
    with pytest.raises(TimingInvalid, match=r"^expression: ") as refused:
        parse_expression(expression)
    assert refused.value.field == "expression"
    assert problem in refused.value.problem


def test_zones_are_those_of_the_pinned_database_alone() -> None:
    assert zone("").key == "UTC"
    assert zone("Asia/Kathmandu") is zone("Asia/Kathmandu")
    assert TZDATA_VERSION[:4].isdecimal()
    for name in ("Mars/Olympus", "../../etc/passwd", "europe/berlin", "Europe", "/etc/localtime"):
        with pytest.raises(TimingInvalid) as refused:
            zone(name)
        assert refused.value.field == "time_zone"


def test_a_rate_is_counted_from_its_start_and_keeps_time_elapsed() -> None:
    start = at(2026, 3, 28, 20)
    rate = Timing(parse_expression("rate(12 hours)"), zone("Europe/Berlin"), start=start)
    assert [shown(next_fire(rate, start - 1)), shown(next_fire(rate, start))] == [
        "2026-03-28T20:00",
        "2026-03-29T08:00",
    ]
    assert next_fire(rate, start + 100 * DAY + 1) == start + 100 * DAY + DAY // 2


def test_nothing_fires_outside_of_the_bounds_of_a_schedule() -> None:
    schedule = schedule_pb2.Schedule(expression="0 6 * * *", time_zone="Europe/Berlin")
    schedule.start_time.seconds = at(2026, 11, 25)
    schedule.end_time.seconds = at(2026, 11, 27, 5)
    bounded = Timing.of(schedule)
    found = occurrences(bounded, at(2026, 11, 1), at(2026, 12, 31))
    assert [shown(each) for each in found.times] == [
        "2026-11-25T05:00",
        "2026-11-26T05:00",
        "2026-11-27T05:00",
    ]
    assert next_fire(bounded, at(2026, 11, 27, 5)) is None
    schedule.end_time.seconds = at(2026, 11, 24)
    with pytest.raises(TimingInvalid, match="end_time: is before"):
        Timing.of(schedule)


def test_a_schedule_without_start_begins_when_it_was_created() -> None:
    schedule = schedule_pb2.Schedule(expression="rate(1 hour)")
    schedule.create_time.seconds = at(2026, 11, 22, 10, 7)
    assert shown(next_fire(Timing.of(schedule), at(2026, 11, 22, 18))) == "2026-11-22T18:07"


def test_a_single_time_is_over_once_it_was() -> None:
    single = timing("at(2026-10-25T02:30:00)", "Europe/Berlin", Rules(SHIFT, BOTH))
    found = occurrences(single, 0, LATEST)
    assert [shown(each) for each in found.times] == ["2026-10-25T00:30", "2026-10-25T01:30"]
    left_out = timing("at(2026-03-29T02:30:00)", "Europe/Berlin", Rules(SKIP))
    assert next_fire(left_out, 0) is None


def test_nothing_is_computed_past_the_last_year() -> None:
    assert next_fire(timing("@daily"), at(2199, 12, 31)) is None
    assert next_fire(timing("cron(0 0 1 1 ? 2026)"), at(2026, 1, 1)) is None
    assert next_fire(timing("rate(366 days)"), LATEST) is None
    assert next_fire(timing("at(2199-12-31T23:59:59)"), 0) == LATEST - 1
    assert next_fire(timing("at(2200-01-01T00:00:00)"), 0) is None


@pytest.mark.parametrize("name", ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"])
@pytest.mark.parametrize(
    "expression", ["@daily", "rate(1 day)", "at(9999-12-31T23:59:59)", "at(0001-01-01T00:00:00)"]
)
def test_moments_at_the_ends_of_the_calendar_are_no_harm(expression: str, name: str) -> None:
    first, last = -62_135_596_800, 253_402_300_799
    assert next_fire(timing(expression, name), last) is None
    found = next_fire(timing(expression, name), first)
    assert found is None or 0 < found <= DAY
    schedule = schedule_pb2.Schedule(expression=expression, time_zone=name)
    schedule.start_time.seconds = last
    assert next_fire(Timing.of(schedule), 0) is None
    schedule.start_time.seconds = first
    found = next_fire(Timing.of(schedule), 0)
    assert found is None or 0 < found <= DAY


@pytest.mark.parametrize(
    ("expression", "hourly"),
    [
        ("*/5 * * * *", 12),
        ("0 * * * *", 1),
        ("@daily", 1),
        ("0,30 22,23,0 * * *", 2),
        ("50 0 * * *", 1),
        ("40,50 0 * * *", 2),
        ("55 * * * *", 1),
        ("0,55 23,0 * * *", 2),
        ("0,40,50 23,0 * * *", 3),
        ("rate(5 minutes)", 12),
        ("rate(7 minutes)", 9),
        ("rate(3 days)", 1),
        ("at(2027-01-31T02:30:00)", 0),
    ],
)
def test_how_often_an_expression_fires_within_an_hour(expression: str, hourly: int) -> None:
    parsed = parse_expression(expression)
    require_pace(parsed)
    assert hourly_fires(parsed) == hourly


@pytest.mark.parametrize(
    "expression",
    [
        "* * * * *",
        "*/4 * * * *",
        "0,3 2 * * *",
        "1,58 23,0 * * *",
        "rate(4 minutes)",
        "rate(1 minute)",
    ],
)
def test_times_closer_than_five_minutes_are_refused(expression: str) -> None:
    parsed = parse_expression(expression)
    with pytest.raises(TimingInvalid, match="5 are the least"):
        require_pace(parsed)


def hourly_due(policy: schedule_pb2.MisfirePolicy.ValueType, late: int, **more: int) -> CatchUp:
    """Catch up with an hourly schedule that was due at midnight, so many seconds later."""
    misfire = Misfire(policy, more.get("window", DAY), more.get("grace", 60))
    due = at(2026, 11, 22)
    return catch_up(timing("@hourly"), misfire, due, due + late, more.get("jitter", 0))


def hours(*each: int) -> tuple[int, ...]:
    return tuple(at(2026, 11, 22) + hour * 3600 for hour in each)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (hourly_due(ONCE, 0), CatchUp(hours(0), 0, hours(1)[0])),
        (hourly_due(ONCE, 3 * 3600 + 5), CatchUp(hours(3), 3, hours(4)[0])),
        (hourly_due(ONCE, 3 * 3600 + 61, window=60), CatchUp((), 4, hours(4)[0])),
        (hourly_due(SKIPPED, 59), CatchUp(hours(0), 0, hours(1)[0])),
        (hourly_due(SKIPPED, 61), CatchUp((), 1, hours(1)[0])),
        (hourly_due(SKIPPED, 3 * 3600 + 30), CatchUp(hours(3), 3, hours(4)[0])),
        (hourly_due(SKIPPED, 3 * 3600 + 30, grace=20), CatchUp((), 4, hours(4)[0])),
        (hourly_due(ALL, 3 * 3600), CatchUp(hours(0, 1, 2, 3), 0, hours(4)[0])),
        (hourly_due(ALL, 3 * 3600, window=7200), CatchUp(hours(1, 2, 3), 1, hours(4)[0])),
        (hourly_due(ALL, 12 * 3600), CatchUp(hours(*range(10)), 0, hours(10)[0])),
        (hourly_due(ALL, 30 * 3600), CatchUp(hours(*range(6, 16)), 6, hours(16)[0])),
        (hourly_due(ONCE, 3 * 3600 + 5, jitter=10), CatchUp(hours(2), 2, hours(3)[0])),
        (hourly_due(ONCE, 5, jitter=10), CatchUp((), 0, hours(0)[0])),
    ],
)
def test_what_runs_of_late_fires(found: CatchUp, expected: CatchUp) -> None:
    assert found == expected


@pytest.mark.parametrize("window", [DAY, 30 * DAY])
def test_a_long_outage_is_caught_up_in_bounded_steps(window: int) -> None:
    due = at(2026, 1, 1)
    often = timing("*/5 * * * *")
    now = due + 10 * DAY
    steps, missed = [], 0
    following: int | None = due
    while following is not None and following <= now:
        found = catch_up(often, Misfire(ONCE, window), following, now)
        steps.append(found.run)
        missed += found.missed
        following = found.next_fire
    assert steps == [(), (), (now,)]
    assert missed == 10 * 288
    assert following == now + 300


def test_a_schedule_that_is_over_is_caught_up_without_a_next_time() -> None:
    due = at(2027, 1, 31, 2, 30)
    found = catch_up(timing("at(2027-01-31T02:30:00)"), Misfire(), due, due + 5)
    assert found == CatchUp((due,), 0, None)


def test_a_preview_marks_what_the_clocks_do() -> None:
    marks = schedule_preview_pb2
    spring = preview(timing("30 2 * * *", "Europe/Berlin"), at(2027, 3, 27, 12), 2, jitter=90)
    assert [
        (each.wanted_local_time, each.local_time, each.mark, each.run_time.seconds)
        for each in spring
    ] == [
        (
            "2027-03-28T02:30:00",
            "2027-03-28T03:00:00+02:00",
            marks.FIRE_MARK_GAP_SHIFTED,
            at(2027, 3, 28, 1) + 90,
        ),
        (
            "2027-03-29T02:30:00",
            "2027-03-29T02:30:00+02:00",
            marks.FIRE_MARK_PLAIN,
            at(2027, 3, 29, 0, 30) + 90,
        ),
    ]
    rules = Rules(SKIP, LAST)
    skipped = preview(timing("30 2 * * *", "Europe/Berlin", rules), at(2027, 3, 27, 12), 1)
    assert skipped[0].mark == marks.FIRE_MARK_GAP_SKIPPED
    assert not skipped[0].HasField("run_time")
    autumn = preview(timing("30 2 * * *", "Europe/Berlin", rules), at(2027, 10, 30, 12), 3)
    assert [each.mark for each in autumn] == [
        marks.FIRE_MARK_FOLD_SKIPPED,
        marks.FIRE_MARK_FOLD_LAST,
        marks.FIRE_MARK_PLAIN,
    ]
    assert [each.local_time[-6:] for each in autumn] == ["+02:00", "+01:00", "+01:00"]


def test_jitter_spreads_schedules_and_never_changes() -> None:
    found = [jitter_of(f"schedule-{each}", 3600) for each in range(1000)]
    assert max(sum(low <= each < low + 600 for each in found) for low in range(0, 3600, 600)) < 250
    # Schedules in the store rely on it: another hash would run them all at other times.
    assert jitter_of("nightly", 3600) == 2106


def test_expressions_by_elapsed_time_are_told_from_fixed_times() -> None:
    def by_elapsed_time(text: str) -> bool:
        found = parse_expression(text)
        assert isinstance(found, Cron)
        return found.by_elapsed_time

    assert by_elapsed_time("0 * * * *")
    assert by_elapsed_time("*/10 2 * * *")
    assert not by_elapsed_time("0 2 * * *")
    assert not by_elapsed_time("0 0-23 * * *")
