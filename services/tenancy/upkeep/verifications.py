"""The accounts of all tenants verified again, those whose last time is long enough ago."""

import asyncio
import random
from collections.abc import AsyncIterator
from functools import partial

from services.tenancy.clock import Clock
from services.tenancy.credentials.accesses import Use
from services.tenancy.names import last_of
from services.tenancy.onboarding.verification import DAY_SECONDS, Verifier
from services.tenancy.store.port import Query, Store
from services.tenancy.upkeep.job import Run, Tally
from services.tenancy.upkeep.pages import each_text

_USE = Use(purpose="daily verification")
_AT_ONCE = 4


class Verifications:
    """Verifies what is due; twice at once, or again, it passes over what was done."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        chance: random.Random,
        verifier: Verifier,
        tenants: Query,
        older_than: float = DAY_SECONDS,
    ) -> None:
        """``tenants`` finds those whose accounts are meant; ``older_than`` in seconds."""
        self._store = store
        self._clock = clock
        self._chance = chance
        self._verifier = verifier
        self._tenants = tenants
        self._older_than = older_than

    async def run(self) -> Tally:
        """Verify them, some at a time; BrokenOff when nothing answers any more."""
        run = Run(self._clock, self._chance)
        batch: list[tuple[str, str]] = []
        async for tenant, name in self._due():
            batch.append((tenant, name))
            if len(batch) == _AT_ONCE:
                await self._verify(run, batch)
                batch = []
        await self._verify(run, batch)
        return run.tally

    async def _due(self) -> AsyncIterator[tuple[str, str]]:
        async for tenant in each_text(self._store, self._tenants, "tenant_id"):
            async for name in self._verifier.due(tenant, self._older_than):
                yield tenant, name

    async def _verify(self, run: Run, batch: list[tuple[str, str]]) -> None:
        work = [run.each(name, partial(self._one, tenant, name)) for tenant, name in batch]
        for problem in await asyncio.gather(*work, return_exceptions=True):
            if problem is not None:
                raise problem

    async def _one(self, tenant: str, name: str) -> bool:
        await self._verifier.verify(tenant, last_of(name), _USE)
        return True
