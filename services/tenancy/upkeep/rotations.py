"""The access keys of all tenants changed, those whose turn it is."""

import logging
import random
from collections import Counter
from functools import partial

from services.tenancy.clock import Clock
from services.tenancy.credentials.credential_store import CREDENTIAL
from services.tenancy.credentials.scheduled_rotation import Outcome, ScheduledRotation, is_due
from services.tenancy.store.items import text
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.port import Query, Store
from services.tenancy.upkeep.job import Run, Tally
from services.tenancy.upkeep.pages import each_item, each_text

_LOG = logging.getLogger(__name__)


class Rotations:
    """Changes what is due; any number of processes may at a time."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        chance: random.Random,
        scheduled: ScheduledRotation,
        tenants: Query,
    ) -> None:
        """``tenants`` finds those whose credentials are meant."""
        self._store = store
        self._clock = clock
        self._chance = chance
        self._scheduled = scheduled
        self._tenants = tenants

    async def run(self) -> Tally:
        """Change them, one after another; BrokenOff when nothing answers any more."""
        return (await self.counted())[0]

    async def counted(self) -> tuple[Tally, Counter[Outcome]]:
        """See ``run``; give what came of the credentials that were due, too."""
        run = Run(self._clock, self._chance)
        counts: Counter[Outcome] = Counter()
        async for tenant in each_text(self._store, self._tenants, "tenant_id"):
            async for item in each_item(self._store, TenantScope(tenant).credentials()):
                if is_due(CREDENTIAL.message(item), self._clock.now()):
                    account = text(item, "account_id")
                    one = partial(self._one, counts, tenant, account)
                    await run.each(f"the key of {tenant}/{account}", one)
        return run.tally, counts

    async def _one(self, counts: Counter[Outcome], tenant: str, account: str) -> bool:
        outcome = await self._scheduled.run(tenant, account)
        counts[outcome] += 1
        if outcome is not Outcome.NOTHING:
            _LOG.info("the key of %s/%s: %s", tenant, account, outcome.value)
        return outcome is not Outcome.FAILED
