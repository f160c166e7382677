"""AWS's six fields of cron, as EventBridge Scheduler documents them, brought to five."""

import re
from itertools import product

from services.tenancy.timing.cron import FIELD, LAST_YEAR, Cron, checked, nearest_weekday
from services.tenancy.timing.errors import TimingInvalid

FIRST_YEAR = 1970
_LEAP = 2028
_FIELDS = 6
_ANY = "?"
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_WEEK = len(_DAYS)
_NEAR_WEEKDAY = re.compile(r"^([0-9]{1,2})W$")
_LAST_OF_MONTH = re.compile(r"^([A-Z]{3}|[1-7])L$")
_NTH_OF_MONTH = re.compile(r"^([A-Z]{3}|[1-7])#([1-5])$")
_YEARS = re.compile(r"^(?:(\*)|([0-9]{4})(?:-([0-9]{4}))?)(?:/([0-9]{1,3}))?$")


def parse_aws_cron(text: str) -> Cron:
    """Read what stands between the brackets of ``cron(...)``; TimingInvalid."""
    fields = text.upper().split()
    if len(fields) != _FIELDS:
        raise TimingInvalid(FIELD, f"cron() has {_FIELDS} fields, not {len(fields)}")
    minute, hour, day, month, weekday, year = fields
    if (day == _ANY) == (weekday == _ANY):
        raise TimingInvalid(FIELD, "of day of month and day of week one is ? in cron()")
    near = _near_weekdays(day)
    # Of a plain field and one that begins with *, both must hold.
    days = "*" if near or day == _ANY else day
    week = "*" if weekday == _ANY else ",".join(map(_weekday, weekday.split(",")))
    cron = Cron(checked(f"{minute} {hour} {days} {month} {week}"), near, _years(year))
    if near and not any(nearest_weekday(_LEAP, *each) for each in product(cron.months, near)):
        raise TimingInvalid(FIELD, f"{day}: no month of {month} has such a day")
    return cron


def _near_weekdays(field: str) -> frozenset[int]:
    found = [_NEAR_WEEKDAY.match(item) for item in field.split(",")]
    if not any(found):
        return frozenset()
    days = frozenset(int(match[1]) for match in found if match)
    if not all(found) or not days <= set(range(1, 32)):
        raise TimingInvalid(FIELD, f"{field!r}: W stands after days of month, and alone")
    return days


def _weekday(item: str) -> str:
    """Write one item with 0 for Sunday, as cron has it, where AWS has 1."""
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
    raise TimingInvalid(FIELD, f"{name!r} is no day of week: 1-7 from Sunday, or SUN-SAT")


def _years(field: str) -> frozenset[int] | None:
    if field == "*":
        return None
    return frozenset(year for item in field.split(",") for year in _year_item(item))


def _year_item(item: str) -> range:
    match = _YEARS.match(item)
    if match is None:
        raise TimingInvalid(FIELD, f"{item!r} is no year of cron()")
    star, first, last, step = match.groups()
    begin = FIRST_YEAR if star else int(first)
    end = int(last) if last else LAST_YEAR if star or step else begin
    if not FIRST_YEAR <= begin <= end <= LAST_YEAR or (step and not int(step)):
        raise TimingInvalid(FIELD, f"{item!r}: years are {FIRST_YEAR}-{LAST_YEAR}, ascending")
    return range(begin, end + 1, int(step or 1))
