"""Changes get their entries by a timer, a moment after they were committed."""

from datetime import timedelta

from opentelemetry import metrics

from mesh.records.moments import Clock, now
from mesh.sql.recurring import Recurring
from services.security.audit.chain_store import Chain

EVERY = timedelta(seconds=1)
_SECOND = 1_000_000
_METER = metrics.get_meter("services.security")
_ENTRIES = _METER.create_counter(
    "secmesh.audit.entries", description="entries that this process chained"
)
_LAG = _METER.create_gauge(
    "secmesh.audit.lag",
    unit="s",
    description="age of the oldest change that has no entry in the audit log yet",
)


class ChainSchedule(Recurring):
    """Looks again and again; processes may do so at once, and one of them chains."""

    def __init__(self, chain: Chain, every: timedelta = EVERY, clock: Clock = now) -> None:
        super().__init__(every, "changes are not entered into the audit log for a while")
        self._chain = chain
        self._clock = clock

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
