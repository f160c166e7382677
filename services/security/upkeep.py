"""What the service does by itself, without being called."""

import logging
from collections.abc import Sequence
from typing import Protocol

from mesh.sql.store import Store

_LOG = logging.getLogger(__name__)


class Work(Protocol):
    """Something done again and again until it is closed."""

    def start(self) -> None:
        """Begin."""

    async def close(self) -> None:
        """Stop; what one transaction has not committed is not done."""


class Upkeep:
    """Looks after the store of one process, as the owner of its tables."""

    def __init__(self, store: Store, works: Sequence[Work]) -> None:
        self._store = store
        self._works = tuple(works)

    def start(self) -> None:
        """Begin; a process that knows no owner leaves it to one that does, and says so."""
        if not self._store.has_owner:
            _LOG.warning(
                "DATABASE_MIGRATE_URL is not set: another process must look after logs and backups"
            )
            return
        for work in self._works:
            work.start()

    async def close(self) -> None:
        """Stop all; what one transaction has not committed is not done."""
        if self._store.has_owner:
            for work in self._works:
                await work.close()
