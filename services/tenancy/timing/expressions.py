"""The expressions of a schedule: cron, AWS's cron(), rate() and at()."""

import re
from dataclasses import dataclass
from datetime import datetime

from services.tenancy.timing.aws_cron import parse_aws_cron
from services.tenancy.timing.cron import Cron, parse_cron
from services.tenancy.timing.cron_fields import FIELD
from services.tenancy.timing.errors import TimingInvalid

_CALL = re.compile(r"^(cron|rate|at)\((.*)\)$", re.IGNORECASE)
_RATE = re.compile(r"^([0-9]{1,6}) (minute|hour|day)(s?)$")
_AT = re.compile(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}$")
_SECONDS = {"minute": 60, "hour": 3600, "day": 86400}
LONGEST_RATE = 366 * 86400


@dataclass(frozen=True)
class Rate:
    """Fires each so many seconds, by time elapsed."""

    seconds: int


@dataclass(frozen=True)
class At:
    """Fires once."""

    local: datetime
    """Time of day, without zone."""


Expression = Cron | Rate | At


def parse_expression(text: str) -> Expression:
    """Read an expression in one of the forms that the contract lists; TimingInvalid."""
    text = text.strip()
    call = _CALL.match(text)
    if call is None:
        return parse_cron(text)
    inner = call[2].strip()
    match call[1].lower():
        case "rate":
            return _rate(inner)
        case "at":
            return _at(inner)
        case _:
            return parse_aws_cron(inner)


def _rate(text: str) -> Rate:
    match = _RATE.match(text)
    if match is None:
        raise TimingInvalid(
            FIELD, f"rate({text}): a rate is such as rate(12 hours): minutes, hours or days"
        )
    number, unit, plural = int(match[1]), match[2], match[3]
    if (number == 1) == bool(plural):
        raise TimingInvalid(FIELD, f"rate({text}): one unit of a rate has no s, more have")
    seconds = number * _SECONDS[unit]
    if not 0 < seconds <= LONGEST_RATE:
        raise TimingInvalid(
            FIELD, f"rate({text}): a rate is at least a minute and at most 366 days"
        )
    return Rate(seconds)


def _at(text: str) -> At:
    if not _AT.match(text):
        raise TimingInvalid(FIELD, f"at({text}): a single time is such as at(2027-01-31T02:30:00)")
    try:
        return At(datetime.fromisoformat(text))
    except ValueError as error:
        raise TimingInvalid(FIELD, f"at({text}): there is no such time") from error
