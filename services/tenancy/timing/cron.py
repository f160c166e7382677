"""Five fields of cron, and the names for common ones."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from cronsim import CronSim, CronSimError

from services.tenancy.timing.cron_fields import DAY, FIELD, FIELDS, check
from services.tenancy.timing.errors import TimingInvalid

LAST_YEAR = 2199
"""Nothing is computed beyond; also the last year of AWS's expressions."""
_PLAIN = re.compile(r"^[0-9A-Za-z*/,#-]+$")
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - a time of day, without zone
_NAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


@dataclass(frozen=True)
class Cron:
    """Times of day, without zone, that repeat by the calendar."""

    text: str
    """Five fields."""
    near_weekdays: frozenset[int] = frozenset()
    """Days of month, in place of the third field: the weekday nearest to each, in its month."""
    years: frozenset[int] | None = None
    """None for every year."""

    @property
    def by_elapsed_time(self) -> bool:
        """Whether clocks that jump change nothing: a minute or hour that begins with ``*``."""
        minute, hour = self.text.split()[:2]
        return minute.startswith("*") or hour.startswith("*")

    @property
    def months(self) -> frozenset[int]:
        """The months in which it may fire, from 1."""
        return frozenset(CronSim(self.text, _EPOCH).months)

    @property
    def minutes_of_day(self) -> tuple[int, ...]:
        """The times of a day on which it fires, in minutes from midnight, ascending."""
        cron = CronSim(self.text, _EPOCH)
        return tuple(sorted(60 * hour + minute for hour in cron.hours for minute in cron.minutes))

    def after(self, moment: datetime) -> Iterator[datetime]:
        """Give the times of day after one without zone, ascending; none if 50 years have none."""
        start = moment
        while (found := self._next(start)) is not None:
            if not self._takes_year(found.year):
                start = _before(date(self._year_from(found.year + 1), 1, 1))
            elif not self._takes_day(found.date()):
                start = _before(found.date() + timedelta(days=1))
            else:
                yield found
                start = found

    def _next(self, moment: datetime) -> datetime | None:
        if moment.year > LAST_YEAR:
            return None
        found = next(CronSim(self.text, moment), None)
        return found if found is not None and found.year <= LAST_YEAR else None

    def _takes_year(self, year: int) -> bool:
        return self.years is None or year in self.years

    def _year_from(self, year: int) -> int:
        return min((each for each in self.years or () if each >= year), default=LAST_YEAR + 1)

    def _takes_day(self, day: date) -> bool:
        return not self.near_weekdays or any(
            nearest_weekday(day.year, day.month, each) == day for each in self.near_weekdays
        )


def nearest_weekday(year: int, month: int, day: int) -> date | None:
    """Give the weekday nearest to a day within its month; None if the month has no such day."""
    try:
        wanted = date(year, month, day)
    except ValueError:
        return None
    saturday, sunday = 5, 6
    steps = {saturday: (-1, 2), sunday: (1, -2)}.get(wanted.weekday(), (0,))
    near = (wanted + timedelta(days=step) for step in steps)
    return next(each for each in near if each.month == month)


def parse_cron(text: str) -> Cron:
    """Read five fields of cron, or a name such as ``@daily``; TimingInvalid."""
    if text.startswith("@"):
        if text.lower() not in _NAMES:
            raise TimingInvalid(FIELD, f"{text!r} is none of {', '.join(sorted(_NAMES))}")
        return Cron(_NAMES[text.lower()])
    return Cron(checked(text))


def checked(text: str, total: int = len(FIELDS)) -> str:
    """Give five fields back, single-spaced, that can be met at all; TimingInvalid.

    The error names the field, its position of so many in ``total``, what stands there and
    what may.
    """
    fields = text.split()
    if not fields:
        raise TimingInvalid(FIELD, "must be set")
    if len(fields) != len(FIELDS):
        names = ", ".join(each.name for each in FIELDS)
        aws = "; the six of AWS stand in cron(...)" if len(fields) == len(FIELDS) + 1 else ""
        problem = f"cron has {len(FIELDS)} fields ({names}), not {len(fields)}{aws}"
        raise TimingInvalid(FIELD, problem)
    for each, written in zip(FIELDS, fields, strict=True):
        if not _PLAIN.match(written):
            raise each.refusal(written, "has characters that cron does not know", total)
        check(each, written.upper(), total)
    try:
        CronSim(" ".join(fields), _EPOCH)
    except CronSimError as error:
        day, month = fields[2:4]
        raise DAY.refusal(day, f"comes in no month of {month!r}", total) from error
    return " ".join(fields)


def _before(day: date) -> datetime:
    return datetime.combine(day, time()) - timedelta(seconds=1)
