"""Removes what live sync leaves behind, once it is older than it is kept for."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from datetime import timedelta

from mesh.errors import TenantInactive
from mesh.sql.recurring import Recurring
from services.inventory.live.check_turn_store import CheckTurnStore
from services.inventory.live.old_run_store import OldRunStore

EVERY = timedelta(hours=1)
_PAUSE = 0.05
"""Seconds between batches, in which others write."""


def _now() -> int:
    """Give the microseconds since 1970 UTC."""
    return time.time_ns() // 1000


class OldRuns(Recurring):
    """Looks again and again; processes may do so at once."""

    def __init__(
        self,
        runs: OldRunStore,
        turns: CheckTurnStore,
        keep: timedelta,
        clock: Callable[[], int] = _now,
        every: timedelta = EVERY,
    ) -> None:
        """Keep runs that events led to for a time after their end, and turns as long."""
        super().__init__(every, "old runs of events were not removed")
        self._runs = runs
        self._turns = turns
        self._keep = keep
        self._clock = clock

    async def look(self) -> int:
        """Remove what is too old, of every tenant, and give how much that was."""
        oldest = self._clock() - self._keep // timedelta(microseconds=1)
        removed = 0
        for tenant in await self._runs.tenants():
            # Of a tenant that is being removed nothing is left to remove.
            with contextlib.suppress(TenantInactive):
                # A run stays as long as a turn names it.
                for forget in (self._turns.forget, self._runs.forget):
                    while count := await forget(tenant, oldest):
                        removed += count
                        await asyncio.sleep(_PAUSE)
        return removed
