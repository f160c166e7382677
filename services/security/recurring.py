"""Work that a process does again and again."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta

import sqlalchemy as sa

from mesh.errors import Refusal

_LOG = logging.getLogger(__name__)


class Recurring:
    """Runs one piece of work at once and then at intervals, until it is closed."""

    def __init__(self, name: str, work: Callable[[], Awaitable[int]], every: timedelta) -> None:
        """Take work that gives how many things it did; ``name`` says which in logs."""
        self._name = name
        self._work = work
        self._every = every
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._for_ever())

    async def close(self) -> None:
        """Stop; what one transaction has not committed is not done."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _for_ever(self) -> None:
        while True:
            try:
                if count := await self._work():
                    _LOG.info("%s: %d", self._name, count)
            except (Refusal, sa.exc.DBAPIError):
                _LOG.exception("%s: failed, and is tried again", self._name)
            await asyncio.sleep(self._every.total_seconds())
