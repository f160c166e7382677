"""Off-boardings that somebody began, gone on with until every place is left."""

import logging
import random
from functools import partial

from services.tenancy.clock import Clock
from services.tenancy.offboarding import Offboarding
from services.tenancy.store.port import Query, Store
from services.tenancy.upkeep.job import Run, Tally
from services.tenancy.upkeep.pages import each_text

_LOG = logging.getLogger(__name__)


class Leavings:
    """Goes on with tenants that are being off-boarded; none is begun by itself."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        chance: random.Random,
        offboarding: Offboarding,
        leaving: Query,
        rest: float,
    ) -> None:
        """``leaving`` finds them; after each call one rests for ``rest`` seconds at least."""
        self._store = store
        self._clock = clock
        self._chance = chance
        self._offboarding = offboarding
        self._leaving = leaving
        self._rest = rest

    async def run(self) -> Tally:
        """Go on with each, one after another; BrokenOff when nothing answers any more."""
        run = Run(self._clock, self._chance)
        async for tenant in each_text(self._store, self._leaving, "tenant_id"):
            if await self._offboarding.rests(tenant, self._rest):
                continue
            await run.each(f"the off-boarding of {tenant}", partial(self._one, tenant))
        return run.tally

    async def _one(self, tenant: str) -> bool:
        told = await self._offboarding.offboard(tenant, tenant)
        over = told.HasField("complete_time")
        _LOG.info("the off-boarding of %s %s", tenant, "is over" if over else "goes on")
        return over
