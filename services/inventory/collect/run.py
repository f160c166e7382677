"""One run over one account: its units read at once, each written as it is complete."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from google.rpc import status_pb2
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh import errors as shared
from mesh.aws.accounts import AccountUnreachable as NoWay
from mesh.aws.outcomes import SessionUnavailable
from mesh.aws.reader import ReadingCancelled
from mesh.contract.names import tenant_of
from secmesh.inventory.v1.check_turn_pb2 import CheckTurn
from secmesh.inventory.v1.record_pb2 import Record
from secmesh.inventory.v1.sync_pb2 import ManifestEntry, Sync
from secmesh.inventory.v1.sync_unit_pb2 import SyncUnit
from services.inventory.access.account_access import status_of
from services.inventory.access.ways import Way
from services.inventory.collect import checkpoint
from services.inventory.collect.credential_shapes import Fingerprint
from services.inventory.collect.draft import timestamp
from services.inventory.collect.manifest import broken, failed_unit, is_whole, manifest_entries
from services.inventory.collect.progress import Progress, written
from services.inventory.collect.sources import SharedSources
from services.inventory.collect.telemetry import unit_ended
from services.inventory.collect.turning import Turning
from services.inventory.collect.unit_reading import Attempt, Reading, UnitReading
from services.inventory.collect.versions import Changes, Unit, settle
from services.inventory.collect.workers import Workers
from services.inventory.store import InventoryStore
from services.inventory.sync_store import SyncStore
from services.inventory.unit_store import LeaseLost, UnitStore

RENEWALS = 3
"""Renewals in the time of one lease."""

_LOG = logging.getLogger(__name__)
Written = Callable[[Unit, Mapping[str, Record], Changes], None]
"""Hears of a unit, the records that stood there before by name, and what became of them."""


@dataclass(frozen=True)
class Stores:
    """Where runs are kept with what they find."""

    records: InventoryStore
    syncs: SyncStore
    leases: UnitStore
    turning: Turning | None = None
    """Keeps which checks turn by what events tell of."""


class Run:
    """A run that this process has leased, to its last row."""

    def __init__(
        self,
        sync: Sync,
        units: Mapping[Unit, SyncUnit],
        *,
        way: Way,
        stores: Stores,
        workers: Workers,
        unit_limit: timedelta,
        fingerprint: Fingerprint,
        written: Written | None = None,
    ) -> None:
        """Units come with their checkpoints; those that ended are not read again.

        ``written`` is told what each unit changed once that is stored.
        """
        self._sync = sync
        self._ended = {unit: each for unit, each in units.items() if not _is_pending(each)}
        # A dict keeps the order in which they are to be read.
        self._open = dict.fromkeys(unit for unit in units if unit not in self._ended)
        self._way = way
        self._records = stores.records
        self._syncs = stores.syncs
        self._leases = stores.leases
        self._turning = stores.turning if sync.source == Sync.SOURCE_EVENTS else None
        self._touched = {
            each.collection for each in self._ended.values() if checkpoint.changed(each)
        }
        self._workers = workers
        self._told = written
        tenant = tenant_of(sync.name) or ""
        # Who waits for a reading that an event asked for does not wait for whole accounts.
        self._lane = f"{tenant}/events" if sync.source == Sync.SOURCE_EVENTS else tenant
        self._progress = Progress(len(units), (each.progress for each in self._ended.values()))
        self._stopped = threading.Event()
        self._reading = UnitReading(
            sync, way, stores.records, workers, self._stopped, unit_limit, fingerprint
        )
        self._lost = False
        self._sources = SharedSources(units, stores.records)
        self._whole = all(each.whole for each in self._ended.values())
        self.ended = asyncio.Event()
        if sync.HasField("cancel_time"):
            self._stop()

    @property
    def sync(self) -> Sync:
        """The run as it stands now."""
        copy = Sync()
        copy.CopyFrom(self._sync)
        copy.progress.CopyFrom(self._progress.snapshot())
        return copy

    def cancel(self, when: datetime) -> None:
        """Let no further call be made, because a caller asked for it."""
        if not self._sync.HasField("cancel_time"):
            self._sync.cancel_time.CopyFrom(timestamp(when))
        self._stop()

    def interrupt(self) -> None:
        """Let no further call be made, because the process ends; the run can be resumed."""
        self._stop()

    def _stop(self) -> None:
        self._stopped.set()
        self._way.stop()
        self._sources.abandon()

    async def execute(self) -> None:
        """Do all units that are open and write how the run ended, unless it is to be resumed."""
        renewing = asyncio.create_task(self._renew())
        try:
            state, error = await self._outcome()
        except (
            ReadingCancelled,
            LeaseLost,
            shared.TenantInactive,
            shared.DependencyUnavailable,
            asyncio.CancelledError,
        ):
            await self._leave()
            raise
        else:
            await self._end(state, error)
        finally:
            renewing.cancel()
            self.ended.set()

    async def _outcome(self) -> tuple[Sync.State.ValueType, status_pb2.Status | None]:
        try:
            await self._all_units()
        except (NoWay, SessionUnavailable) as problem:
            return Sync.STATE_FAILED, status_of(problem, self._sync.cloud_account_id)
        except ReadingCancelled:
            if self._lost or not self._sync.HasField("cancel_time"):
                raise
            return Sync.STATE_CANCELLED, None
        except (LeaseLost, shared.TenantInactive, shared.DependencyUnavailable):
            # A store that does not answer says nothing of the account: the run can be resumed.
            raise
        except shared.Refusal as refusal:
            return Sync.STATE_FAILED, refusal.status()
        except Exception:  # noqa: BLE001  # the run must end marked, whatever happened
            _LOG.exception("a run failed", extra={"fields": {"sync": self._sync.name}})
            return Sync.STATE_FAILED, shared.InternalError().status()
        return (Sync.STATE_SUCCEEDED if self._whole else Sync.STATE_PARTIAL), None

    async def _end(self, state: Sync.State.ValueType, error: status_pb2.Status | None) -> None:
        self._sync.state = state
        self._sync.end_time.CopyFrom(timestamp(datetime.now(UTC)))
        if error is not None:
            self._sync.error.CopyFrom(error)
        if self._turning is None:
            await self._syncs.save(self.sync)
        else:
            turns = await self._turning.of_run(self.sync, self._touched)
            await self._syncs.save(self.sync, partial(self._turning.add, turns=turns))
        await self._leases.release(self._sync.name)

    async def _leave(self) -> None:
        """Leave the run to the next process."""
        with contextlib.suppress(shared.DependencyUnavailable, shared.TenantInactive):
            await self._leases.release(self._sync.name)

    async def _renew(self) -> None:
        """Keep the leases alive, and see what other processes were asked."""
        while self._open:
            await asyncio.sleep(self._leases.lease.total_seconds() / RENEWALS)
            with contextlib.suppress(shared.DependencyUnavailable):
                held = await self._renewed()
                if not held and self._open:
                    # Taken over, or deleted by a reset or a restore.
                    self._lost = True
                    self._stop()
                    return
                stored = await self._syncs.get(self._sync.name)
                if stored.HasField("cancel_time"):
                    self.cancel(stored.cancel_time.ToDatetime(tzinfo=UTC))

    async def _renewed(self) -> int:
        """Tell how many leases are still held; none of a tenant that left."""
        with contextlib.suppress(shared.TenantInactive):
            return await self._leases.renew(self._sync.name)
        return 0

    async def _all_units(self) -> None:
        if not self._open:
            return
        if self._stopped.is_set():
            raise ReadingCancelled
        await self._workers.lead(self._lane, self._way.open)
        for unit, each in self._ended.items():
            gap = checkpoint.gap_of(each)
            await self._sources.restore(unit, gap, tuple(self._sync.regions))
        try:
            async with asyncio.TaskGroup() as group:
                for unit in list(self._open):
                    group.create_task(self._unit(unit))
        except ExceptionGroup as problems:
            # One of them speaks for the run.
            self._stopped.set()
            raise problems.exceptions[0] from None
        if self._open:
            raise ReadingCancelled

    async def _unit(self, unit: Unit) -> None:
        attempt = Attempt(unit, self._progress.unit())
        published = False
        try:
            reading = await self._workers.lead(self._lane, self._reading.read, attempt)
            reading = await self._reading.completed(unit, reading)
            self._sources.publish(unit, reading.collected)
            published = True
            await self._write(attempt, reading)
        except ReadingCancelled:
            # The others are not cut short: what they have read is written.
            return
        except (NoWay, LeaseLost, shared.DependencyUnavailable, shared.TenantInactive):
            raise
        except Exception as problem:  # noqa: BLE001  # one unit must not take the others down
            _LOG.exception("a unit failed", extra={"fields": _fields(unit)})
            if not published:
                self._sources.publish(unit, broken(unit, problem))
            await self._give_up(attempt, problem)

    async def _give_up(self, attempt: Attempt, problem: Exception) -> None:
        """Leave the unit's rows as they are and write what became of its reads."""
        unit = attempt.unit
        gap = broken(unit, problem)
        failed = failed_unit(self._sync.name, unit, gap, datetime.now(UTC))
        entries = [*manifest_entries(self._sync.name, unit, attempt.ledger), failed]
        ended = checkpoint.ended(
            self._sync.name,
            unit,
            SyncUnit.STATE_BROKEN,
            attempt.counters.ended(Changes()),
            whole=False,
            unlisted=gap,
        )
        await self._store(unit, Changes(), entries, ended)

    async def _write(self, attempt: Attempt, reading: Reading) -> None:
        unit, collected = attempt.unit, reading.collected
        if unit.collector.derive is not None:
            unit.collector.derive(collected.drafts, await self._sources.of(unit))
        # Not while it waits for other units, which write as well.
        async with self._workers.writing(self._lane):
            stored, changes = await self._settled(attempt, reading)
        if self._told is not None:
            self._told(unit, stored, changes)

    async def _settled(
        self, attempt: Attempt, reading: Reading
    ) -> tuple[dict[str, Record], Changes]:
        """Write what differs from the records that are stored; give those and the changes."""
        unit, collected = attempt.unit, reading.collected
        stored = await self._records.current(unit, tuple(self._sync.regions))
        gaps = any(draft.unread for draft in collected.drafts)
        changes = await asyncio.to_thread(
            settle,
            unit,
            collected,
            stored,
            read_time=reading.read_time,
            sync=self._sync.name,
            last_reads=await self._records.last_reads(unit) if gaps else {},
        )
        ledger = attempt.ledger
        ended = checkpoint.ended(
            self._sync.name,
            unit,
            SyncUnit.STATE_DONE,
            attempt.counters.ended(changes),
            whole=is_whole(ledger),
            unlisted=collected.unlisted,
        )
        turns: Sequence[CheckTurn] = ()
        if self._turning is not None:
            turns = await self._turning.of_unit(self._sync, unit, stored, changes)
        entries = manifest_entries(self._sync.name, unit, ledger)
        await self._store(unit, changes, entries, ended, turns)
        return stored, changes

    async def _store(
        self,
        unit: Unit,
        changes: Changes,
        entries: Iterable[ManifestEntry],
        ended: SyncUnit,
        turns: Sequence[CheckTurn] = (),
    ) -> None:
        """Write a unit with its checkpoint, then count it."""
        if unit.focus is not None:
            # The manifest tells of whole units: one resource says nothing of all the others.
            entries = ()

        async def end(connection: AsyncConnection) -> None:
            await self._leases.end(connection, ended)
            if self._turning is not None:
                await self._turning.add(connection, turns)

        await self._records.write_unit(unit, changes, entries, datetime.now(UTC), end)
        self._open.pop(unit, None)
        self._touched |= {ended.collection} if checkpoint.changed(ended) else set()
        self._whole &= ended.whole
        unit_ended(ended)
        # Its calls were counted as they were answered.
        self._progress.add(written(changes))
        await self._syncs.save(self.sync)


def _is_pending(unit: SyncUnit) -> bool:
    return unit.state == SyncUnit.STATE_PENDING


def _fields(unit: Unit) -> dict[str, str]:
    return {
        "account": unit.cloud_account_id,
        "region": unit.region,
        "collection": unit.collector.collection,
    }
