"""Accepted risks whose time is over are reopened."""

import asyncio
import contextlib
import logging
from datetime import timedelta

import sqlalchemy as sa

from mesh.errors import Refusal, ResourceExists
from mesh.records.moments import Clock, now
from mesh.sql.store import Store
from mesh.sql.tenancy import acting_for
from services.security.findings.life import FindingLife

EVERY = timedelta(minutes=1)
BATCH = 200
"""Findings looked up at once."""
_LOG = logging.getLogger(__name__)


class Acceptances:
    """Looks again and again; processes may do so at once, and each finding is reopened once.

    It looks as the owner of the tables, and writes for the tenant of each finding alone.
    """

    def __init__(
        self, store: Store, life: FindingLife, every: timedelta = EVERY, clock: Clock = now
    ) -> None:
        self._store = store
        self._life = life
        self._every = every
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look at once and then again and again, until ``close``."""
        self._task = asyncio.create_task(self._for_ever())

    async def close(self) -> None:
        """Stop; a finding that is being reopened stays as it was."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

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

    async def _for_ever(self) -> None:
        while True:
            try:
                if count := await self.look():
                    _LOG.info("%d findings were reopened: their acceptance is over", count)
            except (Refusal, sa.exc.DBAPIError):
                _LOG.exception("accepted findings could not be looked after")
            await asyncio.sleep(self._every.total_seconds())
