"""What time does to the store: parts of logs are made and dropped, old changes forgotten.

Risks whose acceptance ended are reopened, backups made when they are due, and
the sizes of tables told.
"""

import logging
from datetime import timedelta

from mesh.sql.backup.schedule import BackupSchedule
from mesh.sql.changes import ChangeFeed
from mesh.sql.forgetting import Forgetting
from mesh.sql.growth import Growth
from mesh.sql.partition_schedule import PartitionSchedule
from mesh.sql.store import Store
from services.security.findings.acceptances import Acceptances
from services.security.findings.life import FindingLife

_LOG = logging.getLogger(__name__)


class Upkeep:
    """Looks after the store of one process, as the owner of its tables."""

    def __init__(
        self, store: Store, keep_changes: timedelta, life: FindingLife, backups: BackupSchedule
    ) -> None:
        self._store = store
        self._parts = PartitionSchedule(store)
        self._forgetting = Forgetting(ChangeFeed(store), keep_changes)
        self._acceptances = Acceptances(store, life)
        self._backups = backups
        self._growth = Growth(store)

    def start(self) -> None:
        """Begin; a process that knows no owner leaves it to one that does, and says so."""
        if not self._store.has_owner:
            _LOG.warning(
                "DATABASE_MIGRATE_URL is not set: another process must look after logs and backups"
            )
            return
        self._parts.start()
        self._forgetting.start()
        self._acceptances.start()
        self._backups.start()
        self._growth.start()

    async def close(self) -> None:
        """Stop; what one transaction has not committed is not done."""
        await self._parts.close()
        await self._forgetting.close()
        await self._acceptances.close()
        await self._backups.close()
        await self._growth.close()
