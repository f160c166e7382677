"""A circuit breaker: after failures in a row nobody asks for a while, then one does."""

import random
import time
from collections.abc import Callable


class BreakerOpen(Exception):
    """Nobody asks at the moment."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"not asked again for {seconds:.1f} s")
        self.seconds = seconds
        """Until one call is let through."""


class Breaker:
    """Counts failures of one dependency."""

    def __init__(
        self,
        *,
        failures: int = 5,
        open_seconds: float = 5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open after so many failures in a row, for so long, give or take a fifth."""
        self._most = failures
        self._seconds = open_seconds
        self._clock = clock
        self._failures = 0
        self._opens_until = 0.0
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether failures keep calls away."""
        return self._failures >= self._most

    def admit(self) -> None:
        """Let a call through, or raise BreakerOpen. Each one ends in ``succeeded`` or ``failed``.

        When the time is over one call is let through; the others wait for what becomes of it.
        """
        if not self.is_open:
            return
        left = self._opens_until - self._clock()
        if left > 0 or self._probing:
            raise BreakerOpen(max(left, 0.1))
        self._probing = True

    def succeeded(self) -> None:
        """Note an answer, of whatever content."""
        self._failures = 0
        self._probing = False

    def failed(self) -> None:
        """Note a call without an answer."""
        self._failures += 1
        self._probing = False
        if self.is_open:
            # Jitter: processes that lost the dependency together do not come back together.
            spread = random.uniform(0.8, 1.2)  # noqa: S311 - spreads load
            self._opens_until = self._clock() + self._seconds * spread

    def abandoned(self) -> None:
        """Note a call that was given up before anybody knew."""
        self._probing = False
