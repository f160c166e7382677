"""So many at a time, and no more: what is done in bulk leaves room for what callers wait for."""

from services.tenancy.clock import MICROSECONDS, Clock


class Pace:
    """Lets so many through in each second, evenly."""

    def __init__(self, clock: Clock, per_second: float) -> None:
        self._clock = clock
        self._apart = int(MICROSECONDS / per_second) + 1
        self._next = 0

    async def take(self) -> None:
        """Wait for the next place."""
        now = self._clock.now()
        place = max(self._next, now)
        self._next = place + self._apart
        if place > now:
            await self._clock.sleep((place - now) / MICROSECONDS)
