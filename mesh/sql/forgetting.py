"""Removes changes that are older than they are kept for, and notes up to where."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

from mesh.errors import DependencyUnavailable
from mesh.sql.changes import ChangeFeed, Revision

_LOG = logging.getLogger(__name__)
_LOOKS, _LONGEST, _SHORTEST = 50, 3600.0, 1.0
"""Looks in the time that changes are kept for, and the seconds between them."""
_PAUSE = 0.05
"""Seconds between batches, in which others write."""


Read = Callable[[str], Awaitable[Revision]]
"""Gives the last change of a tenant that nobody needs any more."""


def _now() -> int:
    """Give the microseconds since 1970 UTC."""
    return time.time_ns() // 1000


class Forgetting:
    """Looks again and again; processes may do so at once."""

    def __init__(
        self,
        feed: ChangeFeed,
        keep: timedelta,
        clock: Callable[[], int] = _now,
        read: Read | None = None,
    ) -> None:
        """Keep changes for a time, and those that are still to be ``read`` beyond it."""
        self._feed = feed
        self._read = read
        self._keep = keep
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look at once and then again and again, until ``close``."""
        self._task = asyncio.create_task(self._for_ever())

    async def close(self) -> None:
        """Stop; a batch that is being removed stays."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def look(self) -> int:
        """Remove what is too old, of every tenant, and give how many changes."""
        oldest = self._clock() - self._keep // timedelta(microseconds=1)
        removed = 0
        for tenant in await self._feed.tenants():
            last = await self._read(tenant) if self._read is not None else None
            while count := await self._feed.forget(tenant, oldest, last=last):
                removed += count
                await asyncio.sleep(_PAUSE)
        return removed

    async def _for_ever(self) -> None:
        pause = min(max(self._keep.total_seconds() / _LOOKS, _SHORTEST), _LONGEST)
        while True:
            try:
                await self.look()
            except DependencyUnavailable:
                _LOG.exception("old changes were not removed")
            await asyncio.sleep(pause)
