"""Wakes those who wait for changes: PostgreSQL says when some were committed, SQLite is asked."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from sqlalchemy.ext.asyncio import AsyncEngine

from mesh.server.log import failure
from mesh.sql.change_triggers import CHANNEL
from mesh.sql.engine import POSTGRESQL
from mesh.sql.notifications import notifications

_LOG = logging.getLogger(__name__)
POLL_SQLITE, POLL_POSTGRES = 0.25, 1.0
"""Seconds after which a feed is read without being woken."""
_AGAIN_SECONDS = 5.0
"""Pause before listening again after a connection failed; feeds are read by time meanwhile."""


class Wake:
    """Lets watchers sleep until something may have changed; one connection for all of them."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._event = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._sleepers = 0
        postgres = engine.dialect.name == POSTGRESQL
        self.seconds = POLL_POSTGRES if postgres else POLL_SQLITE
        """Longest sleep."""
        self._listens = postgres

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Listen as long as someone watches."""
        self._sleepers += 1
        if self._listens and self._task is None:
            self._task = asyncio.create_task(self._listen())
        try:
            yield
        finally:
            self._sleepers -= 1
            if self._sleepers == 0:
                await self.close()

    def next(self) -> asyncio.Event:
        """Give what will be set by the next news; take it before the feed is read."""
        return self._event

    async def sleep(self, event: asyncio.Event, seconds: float) -> None:
        """Wait for news, at most so long, and no longer than ``seconds`` of this object."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, min(seconds, self.seconds))):
                await event.wait()

    async def close(self) -> None:
        """Stop listening."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    async def _listen(self) -> None:
        while True:
            try:
                await self._notified()
            except Exception as error:  # noqa: BLE001 - watchers go on by time, whatever failed
                fields = {"error": failure(error)}
                _LOG.warning("changes are not announced for a while", extra={"fields": fields})
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _notified(self) -> None:
        async for _ in notifications(self._engine, CHANNEL):
            # Whoever waits has the old event; who comes later waits for the next.
            event, self._event = self._event, asyncio.Event()
            event.set()
