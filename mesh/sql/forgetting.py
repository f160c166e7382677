"""Removes changes that are older than they are kept for, and notes up to where."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

from mesh.errors import TenantInactive
from mesh.sql.changes import ChangeFeed, Revision
from mesh.sql.recurring import Recurring

_LOOKS, _LONGEST, _SHORTEST = 50, 3600.0, 1.0
"""Looks in the time that changes are kept for, and the seconds between them."""
_PAUSE = 0.05
"""Seconds between batches, in which others write."""


Read = Callable[[str], Awaitable[Revision]]
"""Gives the last change of a tenant that nobody needs any more."""


def _now() -> int:
    """Give the microseconds since 1970 UTC."""
    return time.time_ns() // 1000


class Forgetting(Recurring):
    """Looks again and again; processes may do so at once."""

    def __init__(
        self,
        feed: ChangeFeed,
        keep: timedelta,
        clock: Callable[[], int] = _now,
        read: Read | None = None,
    ) -> None:
        """Keep changes for a time, and those that are still to be ``read`` beyond it."""
        pause = min(max(keep.total_seconds() / _LOOKS, _SHORTEST), _LONGEST)
        super().__init__(timedelta(seconds=pause), "old changes were not removed")
        self._feed = feed
        self._read = read
        self._keep = keep
        self._clock = clock

    async def look(self) -> int:
        """Remove what is too old, of every tenant, and give how many changes."""
        oldest = self._clock() - self._keep // timedelta(microseconds=1)
        removed = 0
        for tenant in await self._feed.tenants():
            last = await self._read(tenant) if self._read is not None else None
            # Of a tenant that is being removed nothing is noted any more.
            with contextlib.suppress(TenantInactive):
                while count := await self._feed.forget(tenant, oldest, last=last):
                    removed += count
                    await asyncio.sleep(_PAUSE)
        return removed
