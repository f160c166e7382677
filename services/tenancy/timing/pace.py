"""How often an expression fires, at most."""

import math
from bisect import bisect_left
from itertools import pairwise

from services.tenancy.timing.cron import Cron
from services.tenancy.timing.cron_fields import FIELD
from services.tenancy.timing.errors import TimingInvalid
from services.tenancy.timing.expressions import At, Expression, Rate

SHORTEST_MINUTES = 5
"""Between two fires."""
HOURLY_FIRES_OF_ACCOUNT = 12
"""Of all schedules of one account."""
_HOUR = 60
_DAY = 24 * 60


def require_pace(expression: Expression) -> None:
    """Refuse an expression with times of day closer than five minutes: TimingInvalid.

    Midnight is no border: 23:58 and 00:01 are three minutes apart on whichever days they stand.
    """
    if isinstance(expression, Rate):
        shortest = expression.seconds // 60
    elif isinstance(expression, Cron):
        times = expression.minutes_of_day
        shortest = min(after - before for before, after in pairwise((*times, times[0] + _DAY)))
    else:
        return
    if shortest < SHORTEST_MINUTES:
        raise TimingInvalid(
            FIELD, f"fires every {shortest} minutes; {SHORTEST_MINUTES} are the least"
        )


def hourly_fires(expression: Expression) -> int:
    """Give how often it fires within an hour, at most; a single time counts for none."""
    if isinstance(expression, At):
        return 0
    if isinstance(expression, Rate):
        return math.ceil(_HOUR * 60 / expression.seconds)
    times = expression.minutes_of_day
    around = (*times, *(each + _DAY for each in times))
    # They ascend, and every five minutes of a day are 288 of them.
    return max(bisect_left(around, each + _HOUR) - place for place, each in enumerate(times))
