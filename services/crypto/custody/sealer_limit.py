"""How much a caller may have sealed and opened in a second: a bound on what a thief reads."""

import time
from collections.abc import Callable


class ValuesLimit:
    """A token bucket that holds one second's worth."""

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_second
        self._clock = clock
        self._left = per_second
        self._filled = clock()

    def admit(self, values: int) -> float:
        """Take so many values out; give 0, or the seconds after which to ask again."""
        now = self._clock()
        self._left = min(self._rate, self._left + (now - self._filled) * self._rate)
        self._filled = now
        # A batch larger than the bucket passes when it is full, and leaves a debt.
        if self._left < min(values, self._rate):
            return (min(values, self._rate) - self._left) / self._rate
        self._left -= values
        return 0.0
