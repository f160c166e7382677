"""What goes wrong in the store in memory, by chance that the caller gives."""

from dataclasses import dataclass
from random import Random

from services.tenancy.clock import MICROSECONDS
from services.tenancy.store.port import Conflict, StoreUnavailable, Throttled


@dataclass
class Faults:
    """Chances from 0 to 1 of each fault, in every call; a test may change them at any time."""

    random: Random
    throttled: float = 0.0
    conflicting: float = 0.0
    """Of transactions alone."""
    unsent: float = 0.0
    """Calls that never reach the store."""
    unanswered: float = 0.0
    """Calls that are done, but whose answer is lost."""
    index_lag: tuple[float, float] = (0.0, 0.0)
    """Least and most seconds after which an index learns of a write."""

    def before(self, *, transaction: bool) -> None:
        """Fail before anything is done: Throttled, Conflict, StoreUnavailable."""
        if self._happens(self.throttled):
            raise Throttled("as the test asks")
        if self._happens(self.unsent):
            raise StoreUnavailable("as the test asks: never sent")
        if transaction and self._happens(self.conflicting):
            raise Conflict("as the test asks")

    def after(self) -> None:
        """Fail after all is done: StoreUnavailable."""
        if self._happens(self.unanswered):
            raise StoreUnavailable("as the test asks: no answer")

    def lag(self) -> int:
        """Give the microseconds after which an index learns of the next write."""
        least, most = self.index_lag
        return round(self.random.uniform(least, most) * MICROSECONDS) if most else 0

    def _happens(self, chance: float) -> bool:
        return chance > 0 and self.random.random() < chance
