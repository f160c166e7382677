"""One run over one account: its units read at once, each written as it is complete."""

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import ParamSpec, TypeVar

from google.rpc import status_pb2

from mesh import errors as shared
from mesh.aws.accounts import Account, Accounts
from mesh.aws.accounts import AccountUnreachable as NoWay
from mesh.aws.reader import Patience, Reader, ReadingCancelled
from secmesh.inventory.v1.sync_pb2 import Sync
from services.inventory.collect.draft import Collected, timestamp
from services.inventory.collect.manifest import broken, failed_unit, is_whole, manifest_entries
from services.inventory.collect.progress import Progress
from services.inventory.collect.sources import SharedSources
from services.inventory.collect.versions import Changes, Unit, settle
from services.inventory.errors import AccountUnreachable, SyncInterrupted
from services.inventory.store import InventoryStore, SyncStore

_LOG = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Workers:
    """Threads that make blocking calls, shared by all runs."""

    units: Executor
    """Each thread leads one unit."""
    reads: Executor
    """Each thread makes one call of some unit; none of them waits for another."""


@dataclass(frozen=True)
class Reading:
    """A unit that was read: its resources and its ledger."""

    collected: Collected
    reader: Reader
    read_time: datetime


class Run:
    """A run from its first call to its last row."""

    def __init__(
        self,
        sync: Sync,
        units: list[Unit],
        *,
        accounts: Accounts,
        records: InventoryStore,
        syncs: SyncStore,
        workers: Workers,
        unit_limit: timedelta,
    ) -> None:
        self._sync = sync
        self._units = units
        self._accounts = accounts
        self._records = records
        self._syncs = syncs
        self._workers = workers
        self._unit_limit = unit_limit
        self._progress = Progress(len(units))
        self._cancelled = threading.Event()
        self._sources = SharedSources(units, records)
        self._whole = True
        self.ended = asyncio.Event()

    @property
    def sync(self) -> Sync:
        """The run as it stands now."""
        copy = Sync()
        copy.CopyFrom(self._sync)
        copy.progress.CopyFrom(self._progress.snapshot())
        return copy

    def cancel(self) -> None:
        """Let no further call be made; the run then fails as interrupted."""
        self._cancelled.set()

    async def execute(self) -> None:
        """Do all units and write how the run ended."""
        state, error = Sync.STATE_FAILED, None
        cancelled: asyncio.CancelledError | None = None
        try:
            await self._all_units()
            state = Sync.STATE_SUCCEEDED if self._whole else Sync.STATE_PARTIAL
        except NoWay as problem:
            account = problem.cloud_account_id
            error = AccountUnreachable(account, str(problem)).status()
        except ReadingCancelled:
            error = SyncInterrupted(self._sync.name).status()
        except asyncio.CancelledError as ending:
            cancelled, error = ending, SyncInterrupted(self._sync.name).status()
        except shared.Refusal as refusal:
            error = refusal.status()
        except Exception:  # noqa: BLE001  # the run must end marked, whatever happened
            _LOG.exception("a run failed", extra={"fields": {"sync": self._sync.name}})
            error = shared.InternalError().status()
        await self._end(state, error)
        if cancelled is not None:
            raise cancelled

    async def _end(self, state: Sync.State.ValueType, error: status_pb2.Status | None) -> None:
        self._sync.state = state
        self._sync.end_time.CopyFrom(timestamp(datetime.now(UTC)))
        if error is not None:
            self._sync.error.CopyFrom(error)
        try:
            await self._syncs.put(self.sync)
        finally:
            self.ended.set()

    async def _all_units(self) -> None:
        account = await _in_thread(
            self._workers.units, self._accounts.open, self._sync.cloud_account_id
        )
        try:
            async with asyncio.TaskGroup() as group:
                for unit in self._units:
                    group.create_task(self._unit(account, unit))
        except ExceptionGroup as problems:
            # One of them speaks for the run.
            self._cancelled.set()
            raise problems.exceptions[0] from None

    async def _unit(self, account: Account, unit: Unit) -> None:
        reader = self._reader(account, unit)
        published = False
        try:
            reading = await _in_thread(self._workers.units, _read, unit, reader)
            self._sources.publish(unit, reading.collected)
            published = True
            changes = await self._write(unit, reading)
        except (ReadingCancelled, shared.DependencyUnavailable):
            raise
        except Exception as problem:  # noqa: BLE001  # one unit must not take the others down
            _LOG.exception("a unit failed", extra={"fields": _fields(unit)})
            if not published:
                self._sources.publish(unit, broken(unit, problem))
            await self._give_up(unit, reader, problem)
        else:
            self._progress.unit_ended(changes)
            await self._syncs.put(self.sync)

    async def _give_up(self, unit: Unit, reader: Reader, problem: Exception) -> None:
        """Leave the unit's rows as they are and write what became of its reads."""
        self._whole = False
        now = datetime.now(UTC)
        entries = [
            *manifest_entries(self._sync.name, unit, reader.ledger),
            failed_unit(self._sync.name, unit, broken(unit, problem), now),
        ]
        await self._records.write_unit(unit, Changes(), entries, now)
        self._progress.unit_ended(None)

    def _reader(self, account: Account, unit: Unit) -> Reader:
        return Reader(
            account,
            unit.region if unit.region in self._sync.regions else account.region,
            patience=Patience(self._unit_limit.total_seconds(), self._cancelled),
            pool=self._workers.reads,
            listener=self._progress.answered,
            regions=tuple(self._sync.regions),
        )

    async def _write(self, unit: Unit, reading: Reading) -> Changes:
        collected = reading.collected
        if unit.collector.derive is not None:
            unit.collector.derive(collected.drafts, await self._sources.of(unit))
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
        ledger = reading.reader.ledger
        self._whole &= is_whole(ledger)
        entries = manifest_entries(self._sync.name, unit, ledger)
        await self._records.write_unit(unit, changes, entries, datetime.now(UTC))
        return changes


def _read(unit: Unit, reader: Reader) -> Reading:
    return Reading(unit.collector.collect(reader), reader, datetime.now(UTC))


async def _in_thread(
    pool: Executor, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(pool, partial(function, *args, **kwargs))


def _fields(unit: Unit) -> dict[str, str]:
    return {
        "account": unit.cloud_account_id,
        "region": unit.region,
        "collection": unit.collector.collection,
    }
