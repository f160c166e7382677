"""Accepted risks whose time is over are reopened."""

import contextlib
from datetime import timedelta

from mesh.errors import ResourceExists
from mesh.records.moments import Clock, now
from mesh.sql.recurring import Recurring
from mesh.sql.store import Store
from mesh.sql.tenancy import acting_for
from services.security.findings.life import FindingLife

EVERY = timedelta(minutes=1)
BATCH = 200
"""Findings looked up at once."""


class Acceptances(Recurring):
    """Looks again and again; processes may do so at once, and each finding is reopened once.

    It looks as the owner of the tables, and writes for the tenant of each finding alone.
    """

    def __init__(
        self, store: Store, life: FindingLife, every: timedelta = EVERY, clock: Clock = now
    ) -> None:
        super().__init__(
            every,
            "accepted findings could not be looked after",
            "%d findings were reopened: their acceptance is over",
        )
        self._store = store
        self._life = life
        self._clock = clock

    async def look(self) -> int:
        """Reopen what is over, of every tenant, and give how many findings."""
        reopened, moment = 0, self._clock()
        while found := await self._life.events.expired(moment, BATCH):
            for tenant, name in found:
                # Where there is no row to wait at, another process may note the same first.
                with acting_for(tenant), contextlib.suppress(ResourceExists):
                    async with self._store.transaction() as connection:
                        reopened += await self._life.end_acceptance(connection, name, moment)
        return reopened
