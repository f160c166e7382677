"""Failed attempts by client address, forgiven one by one."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable

MOST = 20
"""Failures of one address at once."""
FORGIVEN_SECONDS = 3.0
"""After so long one more is allowed."""
MAX_ADDRESSES = 100_000


class Attempts:
    """A leaky bucket of failures for each address.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._clear_at: OrderedDict[str, float] = OrderedDict()
        """When every failure of the address is forgiven."""

    def note(self, address: str) -> None:
        """Count a failure."""
        now = self._clock()
        start = max(now, self._clear_at.pop(address, now))
        self._clear_at[address] = start + FORGIVEN_SECONDS
        if len(self._clear_at) > MAX_ADDRESSES:
            self._clear_at.popitem(last=False)

    def wait_seconds(self, address: str) -> int:
        """Give how many whole seconds the address must wait for another attempt; 0 for none."""
        left = self._clear_at.get(address, 0.0) - self._clock()
        return max(0, math.ceil(left - (MOST - 1) * FORGIVEN_SECONDS))
