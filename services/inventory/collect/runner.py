"""Starts runs, keeps those of this process, and tells how they stand."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from google.protobuf.message import Message

from mesh.aws.reader import ReadingCancelled
from mesh.contract.catalogue import Catalogue
from mesh.contract.names import tenant_of
from mesh.errors import (
    DependencyUnavailable,
    FieldInvalid,
    ResourceExists,
    ResourceNotFound,
    TenantInactive,
)
from mesh.sealing.keyring import KeyRing
from mesh.sql.tenancy import acting_for
from secmesh.inventory.v1.policy_pb2 import SuggestPolicyResponse
from secmesh.inventory.v1.sync_pb2 import Sync
from secmesh.inventory.v1.sync_unit_pb2 import SyncUnit
from services.inventory.access.account_access import AccountAccess
from services.inventory.access.ways import Way
from services.inventory.collect import checkpoint
from services.inventory.collect.draft import timestamp
from services.inventory.collect.event_map import event_map
from services.inventory.collect.fingerprints import fingerprints
from services.inventory.collect.focus import Focus
from services.inventory.collect.policy import suggestion
from services.inventory.collect.registry import Registry
from services.inventory.collect.run import Run, Stores, Workers, Written
from services.inventory.collect.versions import Unit
from services.inventory.errors import (
    AccountNotGranted,
    CollectionUnknown,
    SyncEnded,
    SyncInterrupted,
)
from services.inventory.unit_store import LeaseLost

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
    """The runs that this process executes; others may work on the same store."""

    def __init__(
        self,
        catalogue: Catalogue,
        registry: Registry,
        access: AccountAccess,
        stores: Stores,
        limits: Limits,
        keys: KeyRing | None = None,
    ) -> None:
        """``keys`` hash credentials that are found in configurations; without, no hash is kept.

        Raises CatalogueError if the collectors do not fit the contract."""
        registry.check(catalogue)
        self._catalogue = catalogue
        self._registry = registry
        self._access = access
        self.stores = stores
        self._syncs = stores.syncs
        self.leases = stores.leases
        self._limits = limits
        self._fingerprints = fingerprints(keys)
        self._workers = Workers(
            ThreadPoolExecutor(limits.units, thread_name_prefix="unit"),
            ThreadPoolExecutor(limits.reads, thread_name_prefix="read"),
        )
        self._live: dict[str, Run] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._watch: asyncio.Task[None] | None = None

    async def recover(self) -> None:
        """Go on with the runs that other processes left, now and whenever a lease expires."""
        await self._adopt()
        self._watch = asyncio.create_task(self._adopt_for_ever())

    async def _adopt_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self.leases.lease.total_seconds())
            with contextlib.suppress(DependencyUnavailable):
                await self._adopt()

    async def _adopt(self) -> None:
        for tenant in await self._syncs.tenants_with_running():
            # Of one that is being removed nothing is gone on with.
            with acting_for(tenant), contextlib.suppress(TenantInactive):
                await self._adopt_of(tenant)

    async def _adopt_of(self, tenant: str) -> None:
        for sync in await self._syncs.running(tenant):
            async with self._syncs.starting():
                if sync.name not in self._live and await self._syncs.claim(sync, self.leases):
                    await self._go_on(sync.name)

    async def _go_on(self, name: str) -> None:
        """Execute the open units of a run whose leases are held here."""
        sync = await self._syncs.get(name)
        units = self._resumable(sync, await self.leases.of(name))
        if not units:
            sync.state = Sync.STATE_FAILED
            sync.end_time.CopyFrom(timestamp(datetime.now(UTC)))
            sync.error.CopyFrom(SyncInterrupted(name).status())
            await self._syncs.save(sync)
            await self.leases.release(name)
            _LOG.warning("a run cannot be resumed", extra={"fields": {"sync": name}})
            return
        _LOG.info("goes on with a run", extra={"fields": {"sync": name}})
        self._execute(sync, units)

    def _resumable(self, sync: Sync, checkpoints: list[SyncUnit]) -> dict[Unit, SyncUnit]:
        """Give the units of a stored run; none if it cannot be resumed."""
        with contextlib.suppress(CollectionUnknown, AccountNotGranted, ResourceNotFound):
            self._access.require(sync)
            return {self._unit_of(sync, each): each for each in checkpoints}
        return {}

    async def start(self, parent: str, wanted: Sync, sync_id: str) -> Sync:
        """Start a run and give it; the run that has this id already, if one has.

        Raises AccountNotGranted, CollectionUnknown, FieldInvalid for an unknown region,
        SyncRunning, ResourceExists if the id belongs to a run of another account, and what
        the tenancy service refuses of an account that it is asked for.
        """
        sync = Sync(
            name=f"{parent}/syncs/{sync_id or new_sync_id()}",
            account=wanted.account,
            cloud_account_id=wanted.cloud_account_id,
            state=Sync.STATE_RUNNING,
        )
        self._access.require(sync)
        sync.collections.extend(self._collections(wanted.collections))
        sync.regions.extend(self._regions(wanted.regions))
        existing = await self._existing(sync)
        if existing is not None:
            return existing
        # Whoever else wants to start a run does not wait for the tenancy service.
        way = await self._access.try_way(sync)
        async with self._syncs.starting():
            existing = await self._existing(sync)
            if existing is not None:
                return existing
            sync.start_time.CopyFrom(timestamp(datetime.now(UTC)))
            units = self._planned(sync)
            sync.progress.units = len(units)
            await self._syncs.begin(sync, units.values(), self.leases)
            return self._execute(sync, units, way).sync

    async def start_focused(
        self, sync: Sync, parts: Mapping[tuple[str, str], Focus | None], written: Written
    ) -> Run:
        """Start a run over parts of an account, by collection and region; all of each if None.

        ``written`` is told what each unit changed. Raises SyncRunning, AccountNotGranted, and
        what the tenancy service refuses of an account that it is asked for.
        """
        self._access.require(sync)
        way = await self._access.try_way(sync)
        async with self._syncs.starting():
            sync.state = Sync.STATE_RUNNING
            sync.start_time.CopyFrom(timestamp(datetime.now(UTC)))
            planned = [self._unit(sync, *place, focus) for place, focus in parts.items()]
            units = {unit: checkpoint.planned(sync.name, unit) for unit in planned}
            sync.progress.units = len(units)
            await self._syncs.begin(sync, units.values(), self.leases)
            return self._execute(sync, units, way, written)

    async def _existing(self, wanted: Sync) -> Sync | None:
        """Give the run that has the id already; ResourceExists if it is of another account."""
        found = await self.find(wanted.name)
        if found is not None and (found.account, found.cloud_account_id) != (
            wanted.account,
            wanted.cloud_account_id,
        ):
            raise ResourceExists(wanted.name)
        return found

    def _planned(self, sync: Sync) -> dict[Unit, SyncUnit]:
        units = (
            self._unit(sync, collection, region)
            for collection in sync.collections
            for region in self._registry.collectors[collection].regions(tuple(sync.regions))
        )
        return {unit: checkpoint.planned(sync.name, unit) for unit in units}

    def _unit(self, sync: Sync, collection: str, region: str, focus: Focus | None = None) -> Unit:
        collector = self._registry.collectors.get(collection)
        if collector is None:
            raise CollectionUnknown(collection)
        kind = self._catalogue.record_kinds[collection]
        tenant = tenant_of(sync.name) or ""
        return Unit(tenant, sync.cloud_account_id, region, collector, kind, focus)

    def _unit_of(self, sync: Sync, stored: SyncUnit) -> Unit:
        focus = None
        if stored.reading == SyncUnit.READING_RESOURCES:
            focus = event_map().focus(stored.collection, stored.resource_keys)
        elif stored.reading == SyncUnit.READING_DERIVED:
            focus = Focus()
        return self._unit(sync, stored.collection, stored.region, focus)

    def _execute(
        self,
        sync: Sync,
        units: Mapping[Unit, SyncUnit],
        way: Way | None = None,
        written: Written | None = None,
    ) -> Run:
        run = Run(
            sync,
            units,
            way=way or self._access.way(sync),
            stores=self.stores,
            workers=self._workers,
            unit_limit=self._limits.unit_time,
            fingerprint=self._fingerprints(tenant_of(sync.name) or ""),
            written=written,
        )
        self._live[sync.name] = run
        task = asyncio.create_task(self._follow(run, sync.name), name=sync.name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return run

    async def _follow(self, run: Run, name: str) -> None:
        try:
            with acting_for(tenant_of(name) or ""):
                await run.execute()
        except TenantInactive:
            _LOG.info("ends a run of a tenant that left", extra={"fields": {"sync": name}})
        except (ReadingCancelled, LeaseLost):
            _LOG.info("leaves a run to the next process", extra={"fields": {"sync": name}})
        except DependencyUnavailable:
            _LOG.exception("a run's end could not be written", extra={"fields": {"sync": name}})
        finally:
            self._live.pop(name, None)

    async def resume(self, name: str) -> Sync:
        """Go on with a run that broke off, failed or was cancelled; what ended is not read again.

        A run that a process executes is given as it stands. Raises ResourceNotFound,
        SyncEnded if no unit is left, SyncRunning if the account is being read by
        another run, and AccountNotGranted.
        """
        async with self._syncs.starting():
            sync = await self.get(name)
            if name in self._live:
                return sync
            self._access.require(sync)
            units = await self.leases.of(name)
            left = any(unit.state == SyncUnit.STATE_PENDING for unit in units)
            if sync.state != Sync.STATE_RUNNING and not left:
                raise SyncEnded(name, Sync.State.Name(sync.state))
            if await self._syncs.claim(sync, self.leases):
                await self._go_on(name)
        return await self.get(name)

    def _collections(self, wanted: Iterable[str]) -> list[str]:
        asked = sorted(set(wanted)) or sorted(self._registry.collectors)
        for collection in asked:
            if collection not in self._registry.collectors:
                raise CollectionUnknown(collection)
        return asked

    def _regions(self, wanted: Iterable[str]) -> list[str]:
        asked = list(wanted)
        for place, region in enumerate(asked):
            if not self.knows_region(region):
                raise FieldInvalid.of(f"sync.regions[{place}]", f"{region} is no AWS region")
        return sorted(set(asked)) or [self._access.accounts.region]

    def knows_region(self, region: str) -> bool:
        """Tell whether AWS has a region of this name."""
        return self._access.accounts.knows_region(region)

    async def suggest_policy(
        self, parent: str, name: str, wanted: Iterable[str]
    ) -> SuggestPolicyResponse:
        """Give the least IAM policy for collections, or what a run lacked of it.

        Raises CollectionUnknown, and ResourceNotFound if the run is not the tenant's.
        """
        asked = list(wanted)
        if not name:
            chosen = self._collections(asked)
            return suggestion(self._registry.collectors[each] for each in chosen)
        if not name.startswith(f"{parent}/"):
            raise ResourceNotFound(name)
        sync = await self.get(name)
        # Collections of an older run may not be collected any more.
        read = [each for each in sync.collections if each in self._registry.collectors]
        chosen = self._collections(asked) if asked else read
        entries = await self._syncs.manifest(name)
        return suggestion((self._registry.collectors[each] for each in chosen), entries)

    async def cancel(self, name: str) -> Sync:
        """End a run and give it as it stands; it may take a moment to end.

        Raises ResourceNotFound, and SyncEnded if it ended by itself.
        """
        sync = await self.get(name)
        if sync.state == Sync.STATE_CANCELLED:
            return sync
        if sync.state != Sync.STATE_RUNNING:
            raise SyncEnded(name, Sync.State.Name(sync.state))
        live = self._live.get(name)
        now = datetime.now(UTC)
        if not sync.HasField("cancel_time"):
            await self._syncs.ask_cancel(name, now)
        if live is not None:
            live.cancel(now)
        return await self.get(name)

    async def end_all(self, tenant: str) -> None:
        """Let no further call be made for a tenant that is refused from now on."""
        for name, run in list(self._live.items()):
            if tenant_of(name) == tenant:
                run.interrupt()

    async def units(self, name: str) -> list[SyncUnit]:
        """Give the units of a run with their leases and checkpoints."""
        return await self.leases.of(name)

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
        """Let no further call be made, and wait until every run is left to the next process."""
        if self._watch is not None:
            self._watch.cancel()
        for run in list(self._live.values()):
            run.interrupt()
        if self._tasks:
            # A call in flight may take minutes; nobody waits for its answer.
            _, slow = await asyncio.wait(self._tasks, timeout=CLOSE_SECONDS)
            for task in slow:
                task.cancel()
            await asyncio.gather(*slow, return_exceptions=True)
        self._access.close()
        self._workers.units.shutdown(wait=False, cancel_futures=True)
        self._workers.reads.shutdown(wait=False, cancel_futures=True)


def new_sync_id() -> str:
    """Make an id that sorts by time."""
    return f"{datetime.now(UTC):%Y%m%dt%H%M%S}-{secrets.token_hex(4)}"
