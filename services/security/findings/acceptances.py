"""Accepted risks whose time is over are reopened."""

import contextlib
import logging
from datetime import timedelta

from mesh.errors import ResourceExists
from mesh.records.moments import Clock, now
from mesh.sql.alone import alone
from mesh.sql.recurring import Recurring
from mesh.sql.store import Store
from mesh.sql.tenancy import acting_for
from services.security.findings.life import FindingLife

EVERY = timedelta(minutes=1)
BATCH = 200
"""Findings looked up at once."""
_LOG = logging.getLogger(__name__)


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
        reopened, moment, last = 0, self._clock(), ("", "")
        # Each once: one that cannot be reopened is tried again at the next look.
        while found := await self._life.events.expired(moment, BATCH, last):
            for tenant, name in found:
                with acting_for(tenant), alone(_LOG, "an acceptance could not be ended", name):
                    reopened += await self._end(name, moment)
            last = found[-1]
        return reopened

    async def _end(self, name: str, moment: int) -> bool:
        # Where there is no row to wait at, another process may note the same first.
        with contextlib.suppress(ResourceExists):
            async with self._store.transaction() as connection:
                return await self._life.end_acceptance(connection, name, moment)
        return False
