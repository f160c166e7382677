"""What holds of all schedules: order, days, misfires."""

from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import islice, pairwise

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from secmesh.tenancy.v1 import schedule_pb2
from services.tenancy.timing.cron import Cron
from services.tenancy.timing.expressions import parse_expression
from services.tenancy.timing.local_times import BOTH, FIRST, LAST, SHIFT, SKIP, Rules, local_time
from services.tenancy.timing.occurrences import (
    MOST_AT_ONCE,
    Misfire,
    catch_up,
    jitter_of,
    occurrences,
)
from services.tenancy.timing.timing import Timing, next_fire
from services.tenancy.timing.zones import zone

SINCE = int(datetime(1990, 1, 1, tzinfo=UTC).timestamp())
UNTIL = int(datetime(2037, 1, 1, tzinfo=UTC).timestamp())
DAY = 86400
ZONES = (
    "UTC",
    "Europe/Berlin",
    "Europe/Dublin",
    "America/New_York",
    "America/Sao_Paulo",
    "America/Havana",
    "America/Nuuk",
    "Africa/Casablanca",
    "Africa/Cairo",
    "Antarctica/Troll",
    "Asia/Beirut",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
)
POLICIES = (
    schedule_pb2.MISFIRE_POLICY_SKIP,
    schedule_pb2.MISFIRE_POLICY_ONCE,
    schedule_pb2.MISFIRE_POLICY_ALL,
)


@cache
def changes_of(name: str) -> tuple[int, ...]:
    """Give days on which the clocks of a zone change, as noon in UTC before each."""
    days = range(SINCE, UNTIL, DAY)
    offsets = [local_time(day, zone(name)).utcoffset() for day in days]
    changed = [day for day, (a, b) in zip(days, pairwise(offsets), strict=False) if a != b]
    return tuple(changed) or (SINCE,)


def moments(name: str) -> st.SearchStrategy[int]:
    """Give moments, every other one near a change of the zone's clocks."""
    near = st.builds(int.__add__, st.sampled_from(changes_of(name)), st.integers(-DAY, 2 * DAY))
    return st.one_of(near, st.integers(SINCE, UNTIL))


rules = st.builds(Rules, st.sampled_from((SHIFT, SKIP)), st.sampled_from((FIRST, LAST, BOTH)))


@st.composite
def numbers(draw: st.DrawFn, low: int, high: int) -> str:
    """Give a field of cron."""
    first = draw(st.integers(low, high))
    last = draw(st.integers(first, high))
    step = draw(st.integers(1, 7))
    chosen = draw(st.sets(st.integers(low, high), min_size=1, max_size=4))
    listed = ",".join(map(str, sorted(chosen)))
    return draw(st.sampled_from(("*", f"*/{step}", f"{first}", f"{first}-{last}/{step}", listed)))


@st.composite
def crons(draw: st.DrawFn) -> str:
    week = draw(st.sampled_from(("*", "*", "*", "MON-FRI", "0", "5#2", "3L")))
    days = draw(st.sampled_from(("*", "*", "*", "L", "1,15", "10-20/3")))
    return f"{draw(numbers(0, 59))} {draw(numbers(0, 23))} {days} * {week}"


@st.composite
def timings(draw: st.DrawFn) -> Timing:
    rate = st.integers(5, 3000).map(lambda number: f"rate({number} minutes)")
    text = draw(st.one_of(crons(), crons(), rate))
    where = zone(draw(st.sampled_from(ZONES)))
    return Timing(parse_expression(text), where, draw(rules), SINCE - draw(st.integers(0, DAY)))


@given(timings(), st.data())
def test_fires_ascend_and_come_after(timing: Timing, data: st.DataObject) -> None:
    after = data.draw(moments(timing.zone.key))
    found = list(islice(timing.fires(after), 50))
    assert all(before < later for before, later in pairwise([after, *found]))


@given(timings(), st.data())
def test_fires_are_the_same_from_wherever_one_looks(timing: Timing, data: st.DataObject) -> None:
    after = data.draw(moments(timing.zone.key))
    found = list(islice(timing.fires(after), 40))
    assume(len(found) > 1)
    begin = data.draw(st.integers(after, found[-1] - 1))
    rest = [each for each in found if each > begin]
    assert list(islice(timing.fires(begin), len(rest))) == rest


@given(timings(), st.data())
def test_every_fire_of_cron_shows_a_time_of_the_expression(
    timing: Timing, data: st.DataObject
) -> None:
    assume(isinstance(timing.expression, Cron))
    assert isinstance(timing.expression, Cron)
    times = timing.expression.minutes_of_day
    after = data.draw(moments(timing.zone.key))
    for fire in islice(timing.marked(after), 30):
        assert 60 * fire.wanted.hour + fire.wanted.minute in times
        shown = local_time(fire.time, timing.zone).replace(tzinfo=None)
        assert shown == fire.wanted or shown > fire.wanted


@settings(max_examples=30)
@given(
    st.sampled_from(ZONES),
    st.sampled_from((FIRST, LAST)),
    # Clocks are changed at night: other hours would hardly ever meet that.
    st.one_of(st.integers(0, 3), st.integers(0, 3), st.integers(0, 23)),
    st.integers(0, 59),
    st.dates(date(1990, 1, 1), date(2036, 1, 1)),
)
def test_a_daily_time_fires_for_each_day_once(
    name: str, fold: schedule_pb2.DstFold.ValueType, hour: int, minute: int, first: date
) -> None:
    timing = Timing(parse_expression(f"{minute} {hour} * * *"), zone(name), Rules(SHIFT, fold))
    begin = int(datetime(first.year, first.month, first.day, 12, tzinfo=UTC).timestamp())
    days = [fire.wanted.date() for fire in islice(timing.marked(begin), 400) if fire.fires]
    left_out = {date(2011, 12, 30)} if name == "Pacific/Apia" else set()
    expected = [
        day
        for day in (days[0] + timedelta(days=each) for each in range((days[-1] - days[0]).days + 1))
        if day not in left_out
    ]
    assert days == expected


@given(crons(), st.sampled_from(ZONES), st.data())
def test_rules_only_leave_out_what_others_fire(text: str, name: str, data: st.DataObject) -> None:
    after = data.draw(moments(name))
    until = after + DAY

    def fires(gap: schedule_pb2.DstGap.ValueType, fold: schedule_pb2.DstFold.ValueType) -> set[int]:
        timing = Timing(parse_expression(text), zone(name), Rules(gap, fold))
        return set(occurrences(timing, after, until, 10_000).times)

    assert fires(SKIP, FIRST) <= fires(SHIFT, FIRST) <= fires(SHIFT, BOTH)
    assert fires(SHIFT, BOTH) == fires(SHIFT, FIRST) | fires(SHIFT, LAST)


@given(timings(), st.integers(0, 20 * DAY), st.integers(1, 60), st.data())
def test_a_stretch_is_the_sum_of_its_parts(
    timing: Timing, length: int, cap: int, data: st.DataObject
) -> None:
    since = data.draw(moments(timing.zone.key))
    until = since + length
    whole = occurrences(timing, since, until, 100_000).times
    parts: list[int] = []
    begin = since
    while (found := occurrences(timing, begin, until, cap)).times:
        assert found.more == (len(parts) + len(found.times) < len(whole))
        parts += found.times
        begin = parts[-1] + 1
        if len(parts) > 300:
            return
    assert tuple(parts) == whole


@given(
    timings(),
    st.lists(st.integers(1, DAY), min_size=1, max_size=6),
    st.sampled_from(POLICIES),
    st.integers(60, 2 * DAY),
    st.integers(0, 7200),
    st.data(),
)
def test_each_time_runs_once_or_is_missed_once(
    timing: Timing,
    waits: list[int],
    policy: schedule_pb2.MisfirePolicy.ValueType,
    window: int,
    jitter: int,
    data: st.DataObject,
) -> None:
    created = data.draw(moments(timing.zone.key))
    misfire = Misfire(policy, window)
    due = next_fire(timing, created)
    run: list[int] = []
    missed, now = 0, created
    first = due
    for wait in waits:
        now += wait
        for _ in range(300):
            if due is None or due + jitter > now:
                break
            found = catch_up(timing, misfire, due, now, jitter)
            assert found == catch_up(timing, misfire, due, now, jitter)
            assert found.next_fire is None or found.next_fire > due
            assert len(found.run) <= MOST_AT_ONCE
            assert all(now - each - jitter <= window for each in found.run)
            run += found.run
            missed += found.missed
            due = found.next_fire
    assume(first is not None and (due is None or due + jitter > now))
    assert first is not None
    times = occurrences(timing, first, now - jitter, 100_000).times
    assert all(before < after for before, after in pairwise(run))
    assert set(run) <= set(times)
    assert len(run) + missed == len(times)
    if policy == schedule_pb2.MISFIRE_POLICY_ALL and now - created <= window:
        assert tuple(run) == times


@given(st.text(max_size=40), st.integers(1, DAY))
def test_jitter_is_below_its_bound_and_the_same_each_time(schedule_id: str, bound: int) -> None:
    assert 0 <= jitter_of(schedule_id, bound) < bound
    assert jitter_of(schedule_id, bound) == jitter_of(schedule_id, bound)
    assert jitter_of(schedule_id, 0) == 0
