"""A clock that tests turn."""

from services.tenancy.clock import MICROSECONDS


class TurnedClock:
    """See ``services.tenancy.clock.Clock``: stands still, and who sleeps turns it."""

    def __init__(self, seconds: int = 1_800_000_000) -> None:
        self.moment = seconds * MICROSECONDS
        self.slept: list[float] = []

    def now(self) -> int:
        return self.moment

    def turn(self, seconds: float) -> None:
        self.moment += round(seconds * MICROSECONDS)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.turn(seconds)
