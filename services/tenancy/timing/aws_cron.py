"""AWS's six fields of cron, as EventBridge Scheduler documents them, brought to five."""

import re
from itertools import product

from services.tenancy.timing.cron import LAST_YEAR, Cron, checked, nearest_weekday
from services.tenancy.timing.cron_fields import (
    DAY,
    FIELD,
    FIELDS,
    WEEKDAY,
    CronField,
    problem_of,
)
from services.tenancy.timing.errors import TimingInvalid

FIRST_YEAR = 1970
_LEAP = 2028
_FIELDS = 6
_ANY = "?"
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_WEEK = len(_DAYS)
_WEEKDAY = CronField(
    WEEKDAY.name,
    WEEKDAY.position,
    range(1, _WEEK + 1),
    _DAYS,
    "from Sunday, 6L for the last Friday, MON#2 for the second Monday, ? for any",
)
_YEAR = CronField("year", _FIELDS, range(FIRST_YEAR, LAST_YEAR + 1))
_FIELD_NAMES = ", ".join(each.name for each in (*FIELDS, _YEAR))
_NEAR_WEEKDAY = re.compile(r"^([0-9]{1,2})W$")
_LAST_OF_MONTH = re.compile(r"^([A-Z]{3}|[1-7])L$")
_NTH_OF_MONTH = re.compile(r"^([A-Z]{3}|[1-7])#([1-5])$")
_YEARS = re.compile(r"^(?:(\*)|([0-9]{4})(?:-([0-9]{4}))?)(?:/([0-9]{1,3}))?$")


def parse_aws_cron(text: str) -> Cron:
    """Read what stands between the brackets of ``cron(...)``; TimingInvalid."""
    fields = text.upper().split()
    if len(fields) != _FIELDS:
        problem = f"cron() has {_FIELDS} fields ({_FIELD_NAMES}), not {len(fields)}"
        raise TimingInvalid(FIELD, problem)
    minute, hour, day, month, weekday, year = fields
    if (day == _ANY) == (weekday == _ANY):
        place = f"{DAY.name} and {WEEKDAY.name} (fields {DAY.position} and {WEEKDAY.position} of 6)"
        problem = f"{place}: {day!r} and {weekday!r}; of the two, one is ? in cron()"
        raise TimingInvalid(FIELD, problem)
    near = _near_weekdays(day)
    # Of a plain field and one that begins with *, both must hold.
    days = "*" if near or day == _ANY else day
    week = "*" if weekday == _ANY else ",".join(map(_weekday, weekday.split(",")))
    plain = checked(f"{minute} {hour} {days} {month} {week}", _FIELDS)
    cron = Cron(plain, near, _years(year))
    if near and not any(nearest_weekday(_LEAP, *each) for each in product(cron.months, near)):
        raise DAY.refusal(day, f"comes in no month of {month!r}", _FIELDS)
    return cron


def _near_weekdays(field: str) -> frozenset[int]:
    found = [_NEAR_WEEKDAY.match(item) for item in field.split(",")]
    if not any(found):
        return frozenset()
    days = frozenset(int(match[1]) for match in found if match)
    if not all(found) or not days <= set(range(1, 32)):
        raise DAY.refusal(field, "is wrong: W stands after days of month, and alone", _FIELDS)
    return days


def _weekday(item: str) -> str:
    """Write one item with 0 for Sunday, as cron has it, where AWS has 1; TimingInvalid."""
    written = _from_sunday(item)
    if problem := problem_of(WEEKDAY, written):
        raise _WEEKDAY.refusal(item, problem, _FIELDS)
    return written


def _from_sunday(item: str) -> str:
    if item == "*":
        return item
    if item == "L":
        return str(_WEEK - 1)
    if match := _LAST_OF_MONTH.match(item):
        return f"{_day_number(match[1])}L"
    if match := _NTH_OF_MONTH.match(item):
        return f"{_day_number(match[1])}#{match[2]}"
    return "-".join(str(_day_number(each)) for each in item.split("-"))


def _day_number(name: str) -> int:
    if name in _DAYS:
        return _DAYS.index(name)
    if name.isascii() and name.isdigit() and 1 <= int(name) <= _WEEK:
        return int(name) - 1
    raise _WEEKDAY.refusal(name, "is no day of week", _FIELDS)


def _years(field: str) -> frozenset[int] | None:
    if field == "*":
        return None
    return frozenset(year for item in field.split(",") for year in _year_item(item))


def _year_item(item: str) -> range:
    match = _YEARS.match(item)
    if match is None:
        raise _YEAR.refusal(item, "is no year", _FIELDS)
    star, first, last, step = match.groups()
    begin = FIRST_YEAR if star else int(first)
    end = int(last) if last else LAST_YEAR if star or step else begin
    if not FIRST_YEAR <= begin <= end <= LAST_YEAR or (step and not int(step)):
        raise _YEAR.refusal(item, "is out of range, or does not ascend", _FIELDS)
    return range(begin, end + 1, int(step or 1))
