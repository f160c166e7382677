"""What stands in each field of cron: read only to say of a wrong one where and why it is."""

from dataclasses import dataclass

from services.tenancy.timing.errors import TimingInvalid

FIELD = "expression"
_SPECIAL = "*, and lists, ranges and steps of them such as 1,3 or 1-5 or */2"
_NTH = range(1, 6)


@dataclass(frozen=True)
class CronField:
    """One field; positions count from 1."""

    name: str
    position: int
    numbers: range
    words: tuple[str, ...] = ()
    """What can be said in place of numbers."""
    allowed: str = ""
    """What else there is, in words."""

    def refusal(self, value: str, problem: str, total: int = 5) -> TimingInvalid:
        """Give the error for a value of this field in an expression of so many fields."""
        place = f"{self.name} (field {self.position} of {total})"
        return TimingInvalid(FIELD, f"{place}: {value!r} {problem}; allowed: {self.bounds}")

    @property
    def bounds(self) -> str:
        """What is allowed, in words."""
        numbers = f"{self.numbers[0]}-{self.numbers[-1]}"
        parts = [numbers, f"{self.words[0]}-{self.words[-1]}" if self.words else "", self.allowed]
        return ", ".join([*filter(None, parts), _SPECIAL])


MINUTE = CronField("minute", 1, range(60))
HOUR = CronField("hour", 2, range(24))
DAY = CronField("day of month", 3, range(1, 32), allowed="L and LW for the last day and weekday")
MONTH = CronField(
    "month",
    4,
    range(1, 13),
    ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"),
)
WEEKDAY = CronField(
    "day of week",
    5,
    range(8),
    ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"),
    "5L for the last Friday, MON#2 for the second Monday",
)
FIELDS = (MINUTE, HOUR, DAY, MONTH, WEEKDAY)


def check(field: CronField, text: str, total: int = 5) -> None:
    """Refuse what does not stand in a field of cron, in upper case; TimingInvalid."""
    for item in text.split(","):
        if problem := problem_of(field, item):
            raise field.refusal(item, problem, total)


def problem_of(field: CronField, item: str) -> str:
    """Say what is wrong with one item of a list; "" if nothing is."""
    if item == "*" or (field is DAY and item in ("L", "LW")):
        return ""
    if field is WEEKDAY and "L" in item:
        number = item[:-1]
        known = number.isdecimal() and int(number) in field.numbers
        return "" if known and item.endswith("L") else "is no number of a weekday with L after it"
    if field is WEEKDAY and "#" in item:
        return _nth_problem(field, item)
    if "/" in item:
        return _step_problem(field, item)
    if "-" in item:
        return _range_problem(field, item)
    return _value_problem(field, item)


def _nth_problem(field: CronField, item: str) -> str:
    day, _, nth = item.partition("#")
    if not (nth.isdecimal() and int(nth) in _NTH):
        return "has no number of 1-5 after #"
    return _value_problem(field, day)


def _step_problem(field: CronField, item: str) -> str:
    term, _, step = item.partition("/")
    if not (step.isdecimal() and int(step)):
        return "has no step of 1 or more after /"
    return problem_of(field, term)


def _range_problem(field: CronField, item: str) -> str:
    first, _, last = item.partition("-")
    if problem := _value_problem(field, first) or _value_problem(field, last):
        return problem
    return "ends before it begins" if _number(field, last) < _number(field, first) else ""


def _value_problem(field: CronField, value: str) -> str:
    if value in field.words:
        return ""
    if not value:
        return "lacks a value"
    if not value.isdecimal():
        return f"is no {field.name}" if field.words else "is no number"
    return "" if int(value) in field.numbers else "is out of range"


def _number(field: CronField, value: str) -> int:
    return field.words.index(value) + field.numbers[0] if value in field.words else int(value)
