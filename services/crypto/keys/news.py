"""Tells every process when what it remembers of keys is out of date.

PostgreSQL announces it with the transaction that changed them, within milliseconds. Nothing stands
on it alone: a process that does not hear forgets by time.
"""

import asyncio
import logging
from collections.abc import Callable

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from mesh.server.log import failure
from mesh.sql.notifications import announce, notifications

CHANNEL = "secmesh_crypto_keys"
_AGAIN_SECONDS = 2.0
"""Pause before listening again after a connection failed."""
_LOG = logging.getLogger(__name__)


async def tell(connection: AsyncConnection, tenant: str) -> None:
    """Have all processes forget a tenant's keys once the transaction is committed."""
    await announce(connection, CHANNEL, tenant)


class KeyNews:
    """Listens for as long as the process serves."""

    def __init__(self, engine: AsyncEngine, forget: Callable[[str | None], None]) -> None:
        """Call ``forget`` with each tenant told of; with None where some may not have been told."""
        self._engine = engine
        self._forget = forget
        self._task: asyncio.Task[None] | None = None
        self.hears = asyncio.Event()
        """Set while announcements arrive."""

    def start(self) -> None:
        """Begin to listen."""
        self._task = asyncio.create_task(self._listen())

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _listen(self) -> None:
        while True:
            try:
                async for tenant in notifications(self._engine, CHANNEL):
                    self.hears.set()
                    self._forget(tenant)
            except Exception as error:  # noqa: BLE001 - keys are forgotten by time, whatever failed
                fields = {"error": failure(error)}
                _LOG.warning("changes of keys are not heard for a while", extra={"fields": fields})
            finally:
                self.hears.clear()
            await asyncio.sleep(_AGAIN_SECONDS)
