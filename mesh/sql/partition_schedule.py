"""Logs that are looked after by a timer: their next parts made, their old rows removed."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from opentelemetry import metrics

from mesh.errors import Refusal
from mesh.sql.partitions import PARTITION, Maintenance, maintain_partitions
from mesh.sql.recurring import Recurring
from mesh.sql.store import Store

EVERY = timedelta(hours=1)
"""Far less than the shortest interval, a day, of which two parts are made ahead."""
_FAILED = "the logs could not be looked after"
_LOG = logging.getLogger(__name__)
_METER = metrics.get_meter("mesh.sql")
_RUNS = _METER.create_counter(
    "secmesh.partitions.runs", description="times that logs were looked after, by outcome"
)
_PARTS = _METER.create_counter(
    "secmesh.partitions.parts", description="parts of logs that were made or dropped"
)
_ROWS = _METER.create_counter(
    "secmesh.partitions.rows_deleted", description="rows of logs deleted one by one for their age"
)


def _now() -> datetime:
    return datetime.now(UTC)


class PartitionSchedule(Recurring):
    """Maintains the logs of a store at once and then again and again.

    Several processes may do it: they take turns, and those that come later find little to do.
    It works as the owner of the tables; without one ``start`` raises OwnerMissing.
    """

    def __init__(
        self, store: Store, every: timedelta = EVERY, clock: Callable[[], datetime] = _now
    ) -> None:
        super().__init__(every, _FAILED)
        self.failure: str = ""
        """Why the last try failed; empty after a success."""
        self._store = store
        self._clock = clock

    def start(self) -> None:
        """Begin, where the contract has logs at all, until ``close``."""
        tables = self._store.tables.metadata.tables.values()
        if any(PARTITION in table.info for table in tables):
            database = self._store.owner.dialect.name
            _LOG.info("logs are looked after every %s on %s", self.every, database)
            super().start()

    async def look(self) -> Maintenance | None:
        """Maintain the logs once; a failure is logged and noted, and gives None."""
        try:
            done = await maintain_partitions(
                self._store.owner, self._store.tables.metadata, self._clock()
            )
        except (Refusal, sa.exc.DBAPIError) as problem:
            self.failure = str(problem)
            _RUNS.add(1, {"outcome": "failed"})
            _LOG.exception(_FAILED)
            return None
        self.failure = ""
        _RUNS.add(1, {"outcome": "done"})
        _PARTS.add(len(done.created), {"change": "made"})
        _PARTS.add(len(done.dropped), {"change": "dropped"})
        _ROWS.add(done.deleted)
        if done.created or done.dropped or done.deleted:
            _LOG.info(
                "logs: parts made %s, dropped %s; %d rows deleted",
                ", ".join(done.created) or "none",
                ", ".join(done.dropped) or "none",
                done.deleted,
            )
        return done
