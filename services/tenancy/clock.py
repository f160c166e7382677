"""What time it is: the only door to a clock, so that a simulation can turn it."""

import asyncio
import time
from typing import Protocol

MICROSECONDS = 1_000_000
"""In a second."""


class Clock(Protocol):
    """Tells the time and waits."""

    def now(self) -> int:
        """Give the microseconds since 1970-01-01T00:00Z, as Unix time counts them."""

    async def sleep(self, seconds: float) -> None:
        """Wait so long on this clock."""


class SystemClock:
    """See ``Clock``: the clock of this machine."""

    def now(self) -> int:
        """Give the microseconds since 1970."""
        return time.time_ns() // 1000

    async def sleep(self, seconds: float) -> None:
        """Wait in the event loop."""
        await asyncio.sleep(seconds)
