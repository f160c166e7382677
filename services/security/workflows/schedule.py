"""Schedules in the five fields of cron, in a time zone of their own."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import croniter

_FIELDS = 5
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ScheduleInvalid(ValueError):
    """A text that is no schedule, or a zone that is not known."""


class Schedule:
    """When something is due."""

    def __init__(self, cron: str, timezone: str = "") -> None:
        """Read a schedule; ScheduleInvalid."""
        if len(cron.split()) != _FIELDS or not croniter.is_valid(cron):
            raise ScheduleInvalid(f"cron {cron!r} is no schedule of five fields")
        try:
            self._zone = ZoneInfo(timezone or "UTC")
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ScheduleInvalid(f"timezone {timezone!r} is not known") from None
        self._cron = cron
        if self.after(int(datetime.now(UTC).timestamp() * 1_000_000)) is None:
            raise ScheduleInvalid(f"cron {cron!r} is never due")

    def after(self, moment: int) -> int | None:
        """Give the first due time after a moment, in microseconds since 1970; None if none."""
        start = (_EPOCH + timedelta(microseconds=moment)).astimezone(self._zone)
        try:
            found: datetime = croniter(self._cron, start).get_next(datetime)
        except ValueError:
            return None
        return int(found.timestamp()) * 1_000_000

    def last(self, moment: int) -> int:
        """Give the last due time up to a moment."""
        start = (_EPOCH + timedelta(microseconds=moment + 1)).astimezone(self._zone)
        found: datetime = croniter(self._cron, start).get_prev(datetime)
        return int(found.timestamp()) * 1_000_000
