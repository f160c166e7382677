"""One unit of a run, read with credentials that are good now."""

import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from mesh.aws.accounts import Account
from mesh.aws.reader import Ledger, Patience, Reader, ReadingCancelled
from secmesh.inventory.v1.sync_pb2 import Sync
from services.inventory.access.ways import Way
from services.inventory.collect.credential_shapes import Fingerprint
from services.inventory.collect.draft import Collected
from services.inventory.collect.progress import UnitProgress
from services.inventory.collect.versions import Unit
from services.inventory.collect.workers import Workers
from services.inventory.store import InventoryStore


@dataclass
class Attempt:
    """A unit that is being read."""

    unit: Unit
    counters: UnitProgress
    reader: Reader | None = None
    """None until credentials were found good."""

    @property
    def ledger(self) -> Ledger:
        """How its calls were answered so far."""
        return Ledger() if self.reader is None else self.reader.ledger


@dataclass(frozen=True)
class Reading:
    """What a unit's reads gave."""

    collected: Collected
    read_time: datetime


class UnitReading:
    """Reads the units of a run."""

    def __init__(
        self,
        sync: Sync,
        way: Way,
        records: InventoryStore,
        workers: Workers,
        stopped: threading.Event,
        limit: timedelta,
        fingerprint: Fingerprint,
    ) -> None:
        """``stopped`` lets no further call be made; ``limit`` is the patience with one unit."""
        self._sync = sync
        self._way = way
        self._records = records
        self._workers = workers
        self._stopped = stopped
        self._unit_limit = limit
        self._fingerprint = fingerprint

    def read(self, attempt: Attempt) -> Reading:
        """Read a unit with credentials that are good now."""
        if self._stopped.is_set():
            raise ReadingCancelled
        unit = attempt.unit
        if unit.focus is not None and not unit.focus.keys:
            return Reading(Collected([]), datetime.now(UTC))
        account = self._way.current()
        attempt.reader = self._reader(account, unit, attempt.counters)
        return Reading(unit.collector.collect(attempt.reader), datetime.now(UTC))

    async def completed(self, unit: Unit, reading: Reading) -> Reading:
        """Add to single resources the others of their unit as they are stored."""
        if unit.focus is None:
            return reading
        stored = await self._records.current(unit, tuple(self._sync.regions))
        whole = unit.focus.completed(
            reading.collected, stored, str(unit.kind.body_field), unit.collector.fields
        )
        return Reading(whole, reading.read_time)

    def _reader(self, account: Account, unit: Unit, counters: UnitProgress) -> Reader:
        made = Reader if unit.focus is None else unit.focus.reader
        return made(
            account,
            unit.region if unit.region in self._sync.regions else account.region,
            patience=Patience(self._unit_limit.total_seconds(), self._stopped),
            pool=self._workers.reads,
            listener=counters.answered,
            operations=unit.collector.operations,
            regions=tuple(self._sync.regions),
            fingerprint=self._fingerprint,
        )
