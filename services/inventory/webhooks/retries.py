"""When a message that was not taken is sent again: pure."""

import secrets
from datetime import timedelta

from services.inventory.webhooks.sending import GONE, Answer

GIVEN_UP_AFTER = timedelta(days=3)
"""How old a message may become."""
_STEPS = tuple(timedelta(seconds=each) for each in (5, 30, 120, 600, 1800, 3600, 10_800, 21_600))
_LONGEST_WISH = 21_600
"""Seconds that a receiver may ask to be left alone."""
_JITTER = 1000


def pause(attempts: int, answer: Answer, age: timedelta) -> timedelta | None:
    """Give how long to wait after so many attempts; None if the message is given up.

    Up to a fifth is added by chance, so that what failed together does not come together again.
    """
    if answer.code == GONE:
        return None
    step = _STEPS[min(attempts, len(_STEPS)) - 1]
    wait = max(step, timedelta(seconds=min(answer.retry_after, _LONGEST_WISH)))
    wait += wait / 5 * secrets.randbelow(_JITTER) / _JITTER
    return None if age + wait > GIVEN_UP_AFTER else wait
