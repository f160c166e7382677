"""How long a failed attempt waits: exponential with full jitter (AWS Architecture Blog, 2015)."""

import random
from dataclasses import dataclass

MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class Backoff:
    """Bounds of the waiting time, in seconds."""

    first: float = 10
    most: float = 900

    def microseconds(self, failures: int, chance: random.Random) -> int:
        """Give a time between 0 and ``first`` times 2 to the failures before this one, at most
        ``most``.

        Args:
            failures: Attempts that failed, this one included.
        """
        # Past 2**32 the bound has long been reached, and floats stay small.
        bound = min(self.most, self.first * 2 ** min(failures - 1, 32))
        return int(chance.uniform(0, bound) * MICROSECONDS)
