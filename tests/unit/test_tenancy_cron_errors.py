"""What is wrong with cron is said so that its author finds it: field, place, value, bounds."""

import re
from datetime import datetime

import pytest
from cronsim import CronSim, CronSimError
from hypothesis import given
from hypothesis import strategies as st

from services.tenancy.timing.cron import Cron
from services.tenancy.timing.cron_fields import FIELD, FIELDS
from services.tenancy.timing.errors import TimingInvalid
from services.tenancy.timing.expressions import parse_expression

_NAMES = [each.name for each in FIELDS]
_PLACE = re.compile(
    r"(?P<name>minute|hour|day of month|month|day of week|year)"
    r" \(field (?P<position>[1-6]) of (?P<total>[56])\): (?P<value>'.*?'|\".*?\") .+; allowed: .+"
)
_BOTH = re.compile(
    r"day of month and day of week \(fields 3 and 5 of 6\): .+ of the two, one is \?"
)
_ITEMS = st.one_of(
    st.sampled_from(
        ["*", "?", "L", "LW", "5L", "L5", "MON", "JAN", "MON#2", "5#6", "15W", "W", ""]
    ),
    st.integers(0, 70).map(str),
    st.tuples(st.integers(0, 35), st.integers(0, 35)).map(lambda pair: f"{pair[0]}-{pair[1]}"),
    st.tuples(st.sampled_from(["*", "3", "1-9", "L"]), st.integers(0, 9)).map(
        lambda pair: f"{pair[0]}/{pair[1]}"
    ),
    st.sampled_from(["2027", "2027-2030", "2030-2027", "1969", "2200", "2027/0"]),
    st.text(st.sampled_from("0123456789*/,-#LWSUNMOJAF?x"), min_size=1, max_size=6),
    st.text(min_size=1, max_size=4).filter(lambda text: not re.search(r"[\s()@]", text)),
)
_FIELD = st.lists(_ITEMS, min_size=1, max_size=2).map(",".join).filter(bool)


def refusal(text: str) -> str:
    """Give why an expression is refused; "" if it is not."""
    try:
        parse_expression(text)
    except TimingInvalid as invalid:
        return invalid.problem if invalid.field == FIELD else "of another field"
    return ""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("61 * * * *", "minute (field 1 of 5): '61' is out of range; allowed: 0-59, *"),
        ("0 4,24 * * *", "hour (field 2 of 5): '24' is out of range; allowed: 0-23"),
        ("0 0 0 * *", "day of month (field 3 of 5): '0' is out of range; allowed: 1-31, L"),
        ("0 0 31 2 *", "day of month (field 3 of 5): '31' comes in no month of '2'; allowed"),
        ("0 0 1 JAM *", "month (field 4 of 5): 'JAM' is no month; allowed: 1-12, JAN-DEC"),
        ("0 0 * * mun", "day of week (field 5 of 5): 'MUN' is no day of week; allowed: 0-7"),
        ("0 0 * * MON#6", "day of week (field 5 of 5): 'MON#6' has no number of 1-5 after #"),
        ("*/0 * * * *", "minute (field 1 of 5): '*/0' has no step of 1 or more after /"),
        ("0 5-2 * * *", "hour (field 2 of 5): '5-2' ends before it begins"),
        ("0 ? * * *", "hour (field 2 of 5): '?' has characters that cron does not know"),
        ("0 1,,2 * * *", "hour (field 2 of 5): '' lacks a value"),
        ("0 * * *", "cron has 5 fields (minute, hour, day of month, month, day of week), not 4"),
        ("cron(0 25 * * ? *)", "hour (field 2 of 6): '25' is out of range; allowed: 0-23"),
        ("cron(0 3 ? * 6-2 *)", "day of week (field 5 of 6): '6-2' ends before it begins"),
        ("cron(0 3 ? * 8 *)", "day of week (field 5 of 6): '8' is no day of week; allowed: 1-7"),
        ("cron(0 3 * * ? 1969)", "year (field 6 of 6): '1969' is out of range, or does not"),
        ("cron(0 3 31W 2 ? *)", "day of month (field 3 of 6): '31W' comes in no month of '2'"),
        ("cron(0 3 * * * *)", "(fields 3 and 5 of 6): '*' and '*'; of the two, one is ?"),
        ("rate(5 minute)", "rate(5 minute): one unit of a rate has no s, more have"),
        ("at(2027-02-30T00:00:00)", "at(2027-02-30T00:00:00): there is no such time"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, told: str) -> None:
    assert told in refusal(text)


@given(st.lists(_FIELD, min_size=5, max_size=5))
def test_every_refusal_of_five_fields_names_the_field(fields: list[str]) -> None:
    text = " ".join(fields)
    told = refusal(text)
    if not told:
        assert CronSim(text, datetime(1970, 1, 1))  # noqa: DTZ001 - a time of day, without zone
        return
    found = _PLACE.fullmatch(told)
    assert found is not None, told
    position = int(found["position"])
    assert (found["name"], found["total"]) == (_NAMES[position - 1], "5")
    # What is quoted stands in that field.
    value = re.sub(r"\\.", "", found["value"][1:-1])
    written = re.sub(r"\\.", "", repr(fields[position - 1])[1:-1])
    assert value.upper() in written.upper()


@given(st.lists(_FIELD, min_size=6, max_size=6))
def test_every_refusal_of_six_fields_names_the_field(fields: list[str]) -> None:
    told = refusal(f"cron({' '.join(fields)})")
    if told and not _BOTH.search(told):
        found = _PLACE.fullmatch(told)
        assert found is not None, told
        names = [*_NAMES, "year"]
        assert (found["name"], found["total"]) == (names[int(found["position"]) - 1], "6")


@given(st.lists(_FIELD, min_size=5, max_size=5))
def test_nothing_is_refused_that_the_library_takes(fields: list[str]) -> None:
    text = " ".join(fields)
    plain = all(re.fullmatch(r"[0-9A-Za-z*/,#-]+", each) for each in fields)
    try:
        CronSim(text, datetime(1970, 1, 1))  # noqa: DTZ001 - a time of day, without zone
        taken = plain
    except (CronSimError, AssertionError):
        taken = False
    if taken:
        assert isinstance(parse_expression(text), Cron)
    else:
        assert refusal(text)
