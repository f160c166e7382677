"""Work that a process does on its store again and again."""

import asyncio
import logging
from abc import ABC, abstractmethod
from datetime import timedelta


class Recurring(ABC):
    """Looks at once and then at intervals, until it is closed; what fails is tried again."""

    def __init__(self, every: timedelta, failed: str, done: str = "") -> None:
        """Log ``failed`` with what went wrong, and ``done`` with a number that is not 0."""
        self.every = every
        self._failed = failed
        self._done = done
        self._log = logging.getLogger(type(self).__module__)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look at once and then again and again, until ``close``."""
        self._task = asyncio.create_task(self._for_ever())

    async def close(self) -> None:
        """Stop; what one transaction has not committed is not done."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    @abstractmethod
    async def look(self) -> object:
        """Do what there is to do now; a number says how much it was."""

    async def _for_ever(self) -> None:
        while True:
            try:
                count = await self.look()
                if self._done and count:
                    self._log.info(self._done, count)
            except Exception:  # noqa: BLE001 - nobody would do it again if this task ended
                self._log.exception(self._failed)
            await asyncio.sleep(self.every.total_seconds())
