"""Starts runs, keeps those of this process, and tells how they stand."""

import asyncio
import logging
import secrets
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from google.protobuf.message import Message

from mesh.aws.accounts import Accounts
from mesh.contract.catalogue import Catalogue
from mesh.contract.names import tenant_of
from mesh.errors import FieldInvalid, ResourceExists
from secmesh.inventory.v1.sync_pb2 import Sync
from services.inventory.account_grants import AccountGrants
from services.inventory.collect.draft import timestamp
from services.inventory.collect.registry import Registry
from services.inventory.collect.run import Run, Workers
from services.inventory.collect.versions import Unit
from services.inventory.errors import (
    AccountNotGranted,
    CollectionUnknown,
    SyncInterrupted,
    SyncRunning,
)
from services.inventory.store import InventoryStore, SyncStore

CLOSE_SECONDS = 2.0
"""Time that calls in flight have when the process ends."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """How much is read at once, and how long."""

    units: int = 4
    """Units read at a time, over all runs."""
    reads: int = 16
    """Calls made at a time beside those."""
    unit_time: timedelta = timedelta(minutes=15)


class SyncRunner:
    """The runs of one process; the store must have no other writer of runs."""

    def __init__(
        self,
        catalogue: Catalogue,
        registry: Registry,
        accounts: Accounts,
        grants: AccountGrants,
        records: InventoryStore,
        syncs: SyncStore,
        limits: Limits,
    ) -> None:
        """Raises CatalogueError if the collectors do not fit the contract."""
        registry.check(catalogue)
        self._catalogue = catalogue
        self._registry = registry
        self._accounts = accounts
        self._grants = grants
        self._records = records
        self._syncs = syncs
        self._limits = limits
        self._workers = Workers(
            ThreadPoolExecutor(limits.units, thread_name_prefix="unit"),
            ThreadPoolExecutor(limits.reads, thread_name_prefix="read"),
        )
        self._live: dict[str, Run] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def recover(self) -> None:
        """Mark the runs that a process left behind as failed; call it before serving."""
        for tenant in await self._syncs.tenants_with_running():
            for sync in await self._syncs.running(tenant):
                sync.state = Sync.STATE_FAILED
                sync.end_time.CopyFrom(timestamp(datetime.now(UTC)))
                sync.error.CopyFrom(SyncInterrupted(sync.name).status())
                await self._syncs.put(sync)
                _LOG.warning("found an interrupted run", extra={"fields": {"sync": sync.name}})

    async def start(self, parent: str, wanted: Sync, sync_id: str) -> Sync:
        """Start a run and give it; the run that has this id already, if one has.

        Raises AccountNotGranted, CollectionUnknown, FieldInvalid for an unknown region,
        SyncRunning, and ResourceExists if the id belongs to a run of another account.
        """
        if not self._grants.allow(tenant_of(f"{parent}/") or "", wanted.cloud_account_id):
            raise AccountNotGranted(wanted.cloud_account_id)
        collections = self._collections(wanted.collections)
        regions = self._regions(wanted.regions)
        name = f"{parent}/syncs/{sync_id or _new_id()}"
        async with self._syncs.starting():
            existing = await self.find(name)
            if existing is not None:
                if existing.cloud_account_id != wanted.cloud_account_id:
                    raise ResourceExists(name)
                return existing
            for other in await self._syncs.running(tenant_of(name) or "", wanted.cloud_account_id):
                raise SyncRunning(other.name)
            sync = Sync(
                name=name,
                cloud_account_id=wanted.cloud_account_id,
                regions=regions,
                collections=collections,
                state=Sync.STATE_RUNNING,
                start_time=timestamp(datetime.now(UTC)),
            )
            run = self._run(sync)
            await self._syncs.put(run.sync)
            self._live[name] = run
        task = asyncio.create_task(self._follow(run, name), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return run.sync

    async def _follow(self, run: Run, name: str) -> None:
        try:
            await run.execute()
        finally:
            self._live.pop(name, None)

    def _run(self, sync: Sync) -> Run:
        tenant = tenant_of(sync.name) or ""
        units = [
            Unit(
                tenant,
                sync.cloud_account_id,
                region,
                self._registry.collectors[collection],
                self._catalogue.record_kinds[collection],
            )
            for collection in sync.collections
            for region in self._registry.collectors[collection].regions(tuple(sync.regions))
        ]
        return Run(
            sync,
            units,
            accounts=self._accounts,
            records=self._records,
            syncs=self._syncs,
            workers=self._workers,
            unit_limit=self._limits.unit_time,
        )

    def _collections(self, wanted: Iterable[str]) -> list[str]:
        asked = sorted(set(wanted)) or sorted(self._registry.collectors)
        for collection in asked:
            if collection not in self._registry.collectors:
                raise CollectionUnknown(collection)
        return asked

    def _regions(self, wanted: Iterable[str]) -> list[str]:
        asked = list(wanted)
        for place, region in enumerate(asked):
            if not self._accounts.knows_region(region):
                raise FieldInvalid.of(f"sync.regions[{place}]", f"{region} is no AWS region")
        return sorted(set(asked)) or [self._accounts.region]

    async def find(self, name: str) -> Sync | None:
        """Give a run as it stands now, or None."""
        live = self._live.get(name)
        return live.sync if live is not None else await self._syncs.find(name)

    async def get(self, name: str) -> Sync:
        """Give a run as it stands now; ResourceNotFound if there is none."""
        live = self._live.get(name)
        return live.sync if live is not None else await self._syncs.get(name)

    def refreshed(self, stored: Message) -> Sync:
        """Give a stored run with the counters of this moment, if it is running here."""
        if not isinstance(stored, Sync):
            raise TypeError(f"{type(stored).__name__} is no run")
        live = self._live.get(stored.name)
        return stored if live is None else live.sync

    async def changed(self, name: str, seconds: float) -> None:
        """Wait until a run ends, but no longer than this."""
        live = self._live.get(name)
        ended = live.ended.wait() if live is not None else asyncio.Event().wait()
        try:
            async with asyncio.timeout(seconds):
                await ended
        except TimeoutError:
            return

    async def close(self) -> None:
        """Let no further call be made, and wait until every run is marked as interrupted."""
        for run in list(self._live.values()):
            run.cancel()
        if self._tasks:
            # A call in flight may take minutes; nobody waits for its answer.
            _, slow = await asyncio.wait(self._tasks, timeout=CLOSE_SECONDS)
            for task in slow:
                task.cancel()
            await asyncio.gather(*slow, return_exceptions=True)
        self._workers.units.shutdown(wait=False, cancel_futures=True)
        self._workers.reads.shutdown(wait=False, cancel_futures=True)


def _new_id() -> str:
    """Make an id that sorts by time."""
    return f"{datetime.now(UTC):%Y%m%dt%H%M%S}-{secrets.token_hex(4)}"
