"""A job: something done again and again, of which doing it twice changes nothing."""

import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from mesh.errors import DependencyUnavailable, Refusal
from services.tenancy.clock import MICROSECONDS, Clock
from services.tenancy.credentials.errors import SecretStoreThrottled
from services.tenancy.pace import Pace
from services.tenancy.scheduling.backoff import Backoff

_LOG = logging.getLogger(__name__)
PER_SECOND = 4.0
"""Most things that one run begins in a second; each takes up to a dozen calls of AWS."""
_PATIENCE = 5
"""Things in a row that fail because something does not answer, before a run breaks off."""
_BACKOFF = Backoff(first=1, most=30)


@dataclass
class Tally:
    """What came of the things that a run came by."""

    done: int = 0
    failed: int = 0


class BrokenOff(Exception):
    """A run that ended early since what it needs does not answer; the rest stays due."""

    def __init__(self, reason: str, tally: Tally) -> None:
        super().__init__(reason)
        self.reason = reason
        """As an ErrorInfo has it, such as ``DEPENDENCY_UNAVAILABLE``."""
        self.tally = tally


@dataclass(frozen=True)
class Job:
    """Something to be done once in each interval, by any one of the replicas."""

    name: str
    """In keys, metrics and logs; never another one."""
    interval: float
    """Seconds from the beginning of a run to that of the next."""
    run: Callable[[], Awaitable[Tally]]
    """Does what is due, and passes over what was done. BrokenOff, Refusal."""


@dataclass
class Run:
    """One run through many things: evenly, and slower the less is answered."""

    clock: Clock
    chance: random.Random
    tally: Tally = field(default_factory=Tally)
    _unanswered: int = 0
    _pace: Pace = field(init=False)

    def __post_init__(self) -> None:
        self._pace = Pace(self.clock, PER_SECOND)

    async def each(self, name: str, do: Callable[[], Awaitable[bool]]) -> None:
        """Do one thing, which says whether it was done; BrokenOff when nothing answers.

        ``name`` is all that is logged of it beside the reason why it failed.
        """
        await self._pace.take()
        try:
            done = await do()
        except Refusal as refusal:
            await self._refused(name, refusal)
        except Exception:  # noqa: BLE001 - one must not keep the others waiting
            self.tally.failed += 1
            _LOG.exception("%s failed", name)
        else:
            self._unanswered = 0
            self.tally.done += done
            self.tally.failed += not done

    async def _refused(self, name: str, refusal: Refusal) -> None:
        self.tally.failed += 1
        reason = refusal.reason.name
        _LOG.warning("%s failed: %s", name, reason)
        if not isinstance(refusal, DependencyUnavailable | SecretStoreThrottled):
            self._unanswered = 0
            return
        self._unanswered += 1
        if self._unanswered >= _PATIENCE:
            raise BrokenOff(reason, self.tally) from refusal
        wait = _BACKOFF.microseconds(self._unanswered, self.chance)
        await self.clock.sleep(wait / MICROSECONDS)
