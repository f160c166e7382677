"""How fast AWS is asked: one rate for each account, region and service, found by its answers.

The rate falls when AWS asks to slow down and rises slowly while it does not
(additive increase, multiplicative decrease; Chiu and Jain, 1989). AWS counts the
calls of everybody in the account, so after a throttle a share of what was answered
is left to others, and for a while no more than that is asked. A rate that is not used is
no knowledge of what may be asked, and does not rise (RFC 7661, section 4.4).
"""

import threading
import time
from collections import deque
from collections.abc import Callable

START = 50.0
"""Calls a second before anything is known."""
SLOWEST = 0.5
FASTEST = 1000.0
STEP = 1.0
"""Calls a second that a rate gains in each second without a throttle."""
HOLD_SECONDS = 30.0
"""How long a rate rests after a throttle before it rises again."""
_USED = 0.5
"""Part of a rate that is answered if it is used."""
WINDOW_SECONDS = 1.0
"""Over which answers are counted; throttles within it count as one."""
SLICE_SECONDS = 0.25
"""Longest wait before the caller's patience is asked again."""


class Pace:
    """The calls of one service in one region of one account; threads may share it."""

    def __init__(self, share: float, clock: Callable[[], float] = time.monotonic) -> None:
        """``share`` of a rate found to be too fast is used afterwards, above 0 up to 1."""
        self._share = share
        self._clock = clock
        self._lock = threading.Lock()
        self._next = clock()
        self._answers: deque[float] = deque()
        self._grown = clock()
        self._cut: float | None = None
        self.rate = START

    def wait(self, check: Callable[[], None], sleep: Callable[[float], None]) -> None:
        """Wait for a turn. ``check`` is asked before each slice, and what it raises ends it.

        A turn that was taken is not given back.
        """
        check()
        with self._lock:
            now = self._clock()
            turn = max(self._next, now)
            self._next = turn + 1 / self.rate
        while (left := turn - self._clock()) > 0:
            sleep(min(left, SLICE_SECONDS))
            check()

    def answered(self) -> None:
        """Note an answer that was no throttle."""
        with self._lock:
            now = self._clock()
            self._answers.append(now)
            self._forget(now)
            used = len(self._answers) / WINDOW_SECONDS >= _USED * self.rate
            if used and self._cut is None:
                # Nothing is known yet: twice as fast each second.
                self.rate = min(FASTEST, self.rate + 1)
            elif used and self._cut is not None and now - self._cut > HOLD_SECONDS:
                since = max(self._grown, self._cut + HOLD_SECONDS)
                self.rate = min(FASTEST, self.rate + STEP * (now - since))
            self._grown = now

    def throttled(self) -> None:
        """Note that AWS asked to slow down."""
        with self._lock:
            now = self._clock()
            self._forget(now)
            if self._cut is not None and now - self._cut < WINDOW_SECONDS:
                return
            self._cut = self._grown = now
            answered = len(self._answers) / WINDOW_SECONDS
            # So few answers may be the doing of others: if not, there is a throttle at this too.
            halved = self._share * self.rate / 2
            found = self._share * min(self.rate, answered)
            self.rate = max(SLOWEST, halved if answered < halved else found)
            # Turns given out at the old rate are not used up by waiting for them.
            self._next = min(self._next, now + 1 / self.rate)

    def _forget(self, now: float) -> None:
        while self._answers and self._answers[0] <= now - WINDOW_SECONDS:
            self._answers.popleft()


class Paces:
    """The paces of one process, made when first asked for."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._lock = threading.Lock()
        self._paces: dict[tuple[str, str, str], Pace] = {}

    def of(self, cloud_account_id: str, region: str, service: str) -> Pace:
        """Give the one pace of a service."""
        with self._lock:
            return self._paces.setdefault((cloud_account_id, region, service), Pace(self._share))
