"""Changes get their entries by a timer, a moment after they were committed."""

import asyncio
import logging
from datetime import timedelta

import sqlalchemy as sa
from opentelemetry import metrics

from mesh.errors import Refusal
from mesh.records.moments import Clock, now
from services.security.audit.chain_store import Chain

EVERY = timedelta(seconds=1)
_SECOND = 1_000_000
_LOG = logging.getLogger(__name__)
_METER = metrics.get_meter("services.security")
_ENTRIES = _METER.create_counter(
    "secmesh.audit.entries", description="entries that this process chained"
)
_LAG = _METER.create_gauge(
    "secmesh.audit.lag",
    unit="s",
    description="age of the oldest change that has no entry in the audit log yet",
)


class ChainSchedule:
    """Looks again and again; processes may do so at once, and one of them chains."""

    def __init__(self, chain: Chain, every: timedelta = EVERY, clock: Clock = now) -> None:
        self._chain = chain
        self._every = every
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look at once and then again and again, until ``close``."""
        self._task = asyncio.create_task(self._for_ever())

    async def close(self) -> None:
        """Stop; what one transaction has not committed is done by whoever looks next."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def look(self) -> int:
        """Chain what was committed, a batch of each tenant in turn, and give how many entries."""
        total = 0
        while True:
            waiting = await self._chain.waiting()
            moment = self._clock()
            _LAG.set((moment - min(waiting.values(), default=moment)) / _SECOND)
            done = [await self._chain.advance(tenant) for tenant in waiting]
            count = sum(entries for entries, _ in done)
            _ENTRIES.add(count)
            total += count
            if not any(more for _, more in done):
                return total

    async def _for_ever(self) -> None:
        while True:
            try:
                await self.look()
            except (Refusal, sa.exc.DBAPIError):
                _LOG.exception("changes are not entered into the audit log for a while")
            await asyncio.sleep(self._every.total_seconds())
