"""The access logs of all tenants without the entries whose time is over."""

import logging
import random
from functools import partial

from services.tenancy.clock import Clock
from services.tenancy.credentials.access_retention import AccessRetention, LogBroken
from services.tenancy.store.port import Query, Store
from services.tenancy.upkeep.job import Run, Tally
from services.tenancy.upkeep.pages import each_text

_LOG = logging.getLogger(__name__)


class Prunings:
    """Removes what is over; any number of processes may at a time."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        chance: random.Random,
        retention: AccessRetention,
        tenants: Query,
    ) -> None:
        """``tenants`` finds those whose logs are meant."""
        self._store = store
        self._clock = clock
        self._chance = chance
        self._retention = retention
        self._tenants = tenants
        self.entries = 0
        """Removed by this, in all."""

    async def run(self) -> Tally:
        """Remove it, one log after another; BrokenOff when nothing answers any more."""
        run = Run(self._clock, self._chance)
        async for tenant in each_text(self._store, self._tenants, "tenant_id"):
            await run.each(f"the access log of {tenant}", partial(self._one, tenant))
        return run.tally

    async def _one(self, tenant: str) -> bool:
        try:
            removed = await self._retention.remove_over(tenant)
        except LogBroken as broken:
            _LOG.error("%s; nothing is removed of it", broken)
            return False
        self.entries += removed.entries
        if removed.entries:
            _LOG.info("%d entries of the access log of %s are over", removed.entries, tenant)
        return True
