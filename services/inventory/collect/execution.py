"""The runs that this process executes, so many at a time; others may work on the same store."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextvars import Context
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from mesh.aws.reader import ReadingCancelled
from mesh.contract.names import tenant_of
from mesh.errors import DependencyUnavailable, TenantInactive
from mesh.sql.tenancy import acting_for
from secmesh.inventory.v1.sync_pb2 import Sync
from secmesh.inventory.v1.sync_unit_pb2 import SyncUnit
from services.inventory.access.account_access import AccountAccess
from services.inventory.access.ways import Way
from services.inventory.collect.credential_shapes import Fingerprint
from services.inventory.collect.draft import timestamp
from services.inventory.collect.places import RunPlaces
from services.inventory.collect.planning import Planner
from services.inventory.collect.run import Run, Stores, Written
from services.inventory.collect.versions import Unit
from services.inventory.collect.workers import Workers
from services.inventory.errors import SyncInterrupted, SyncRunning
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
    runs: int = 8
    """Runs executed at a time; a tenant alone leaves one of these places to others."""


class Execution:
    """Executes runs. Those that have to wait for a place are marked as running and unleased.

    Any process that has a place free may lease such a run, so none is lost with this one.
    """

    def __init__(
        self,
        planner: Planner,
        access: AccountAccess,
        stores: Stores,
        limits: Limits,
        fingerprints: Callable[[str], Fingerprint],
    ) -> None:
        self._planner = planner
        self._access = access
        self._stores = stores
        self._syncs = stores.syncs
        self._leases = stores.leases
        self._limits = limits
        self._fingerprints = fingerprints
        self._workers = Workers(limits.units, limits.reads)
        self.places = RunPlaces(limits.runs)
        self.live: dict[str, Run] = {}
        """Runs that are executed here, by name."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._watch: asyncio.Task[None] | None = None
        self._closing = False

    async def recover(self) -> None:
        """Go on with the runs that nobody executes, now and whenever a lease expires."""
        await self._adopt()
        self._watch = asyncio.create_task(self._adopt_for_ever())

    async def _adopt_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._leases.lease.total_seconds())
            try:
                await self._adopt()
            except DependencyUnavailable:
                _LOG.info("the store does not answer who left runs")
            except Exception:  # noqa: BLE001 - nobody would look again if this task ended
                _LOG.exception("runs that were left could not be looked for")

    async def _adopt(self) -> None:
        for tenant in await self._syncs.tenants_with_running():
            # Of one that is being removed nothing is gone on with.
            with acting_for(tenant), contextlib.suppress(TenantInactive):
                found = await self._syncs.running(tenant)
            for sync in sorted(found, key=lambda each: each.start_time.ToMicroseconds()):
                if sync.HasField("cancel_time"):
                    await self._claim(sync.name)
                elif sync.name not in self.live:
                    self.places.wait(sync.name)
        await self._fill()

    async def _fill(self) -> None:
        """Execute runs that wait, while there are places."""
        while not self._closing and (name := self.places.next()) is not None:
            await self._claim(name)

    async def _claim(self, name: str) -> None:
        """Execute a run, unless it ended, another process has it or the store does not answer."""
        try:
            with acting_for(tenant_of(name) or ""):
                async with self._syncs.starting():
                    await self.take_over(name)
        except (TenantInactive, SyncRunning):
            _LOG.info("a run is not gone on with", extra={"fields": {"sync": name}})
        except DependencyUnavailable:
            _LOG.warning("a run waits for its store", extra={"fields": {"sync": name}})
        except Exception:  # noqa: BLE001 - others wait behind it
            _LOG.exception("a run could not be gone on with", extra={"fields": {"sync": name}})
        finally:
            if name not in self.live:
                self.places.leave(name)

    async def take_over(self, name: str) -> bool:
        """Lease a run that is marked as running and execute it here; False if that cannot be.

        Only whoever lets runs start may call it.
        """
        sync = await self._syncs.find(name)
        if sync is None or sync.state != Sync.STATE_RUNNING or name in self.live:
            return False
        if not await self._syncs.claim(sync, self._leases):
            return False
        return await self.go_on(name)

    async def go_on(self, name: str) -> bool:
        """Execute the open units of a run whose leases are held here; False if it cannot be."""
        sync = await self._syncs.get(name)
        units = self._planner.stored(sync, await self._leases.of(name))
        if not units:
            sync.state = Sync.STATE_FAILED
            sync.end_time.CopyFrom(timestamp(datetime.now(UTC)))
            sync.error.CopyFrom(SyncInterrupted(name).status())
            await self._syncs.save(sync)
            await self._leases.release(name)
            _LOG.warning("a run cannot be resumed", extra={"fields": {"sync": name}})
            return False
        _LOG.info("goes on with a run", extra={"fields": {"sync": name}})
        self.execute(sync, units)
        return True

    def execute(
        self,
        sync: Sync,
        units: Mapping[Unit, SyncUnit],
        way: Way | None = None,
        written: Written | None = None,
    ) -> Run:
        """Execute a run whose leases are held here."""
        tenant = tenant_of(sync.name) or ""
        run = Run(
            sync,
            units,
            way=way or self._access.way(sync),
            stores=self._stores,
            workers=self._workers,
            unit_limit=self._limits.unit_time,
            fingerprint=self._fingerprints(tenant),
            written=written,
        )
        self.live[sync.name] = run
        self._spawn(self._follow(run, sync.name))
        return run

    def _spawn(self, work: Coroutine[Any, Any, None], context: Context | None = None) -> None:
        task = asyncio.create_task(work, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(self, run: Run, name: str) -> None:
        try:
            with acting_for(tenant_of(name) or ""):
                await run.execute()
        except TenantInactive:
            _LOG.info("ends a run of a tenant that left", extra={"fields": {"sync": name}})
        except (ReadingCancelled, LeaseLost):
            _LOG.info("leaves a run to the next process", extra={"fields": {"sync": name}})
        except DependencyUnavailable:
            _LOG.warning("leaves a run until its store answers", extra={"fields": {"sync": name}})
        finally:
            self.live.pop(name, None)
            self.leave(name)

    def leave(self, name: str) -> None:
        """Let a run have no place and wait for none; whoever is next takes its place."""
        self.places.leave(name)
        if not self._closing:
            # Of whichever tenant: the call that began this run is not about its runs.
            self._spawn(self._fill(), Context())

    @contextlib.asynccontextmanager
    async def placed(self, name: str) -> AsyncIterator[None]:
        """Take the place of a run back unless it is executed at the end of the block."""
        try:
            yield
        finally:
            if name not in self.live:
                self.leave(name)

    def end_all(self, tenant: str) -> None:
        """Let no further call be made for a tenant that is refused from now on."""
        for name, run in list(self.live.items()):
            if tenant_of(name) == tenant:
                run.interrupt()

    async def close(self) -> None:
        """Let no further call be made, and wait until every run is left to the next process."""
        self._closing = True
        if self._watch is not None:
            self._watch.cancel()
        for run in list(self.live.values()):
            run.interrupt()
        if self._tasks:
            # A call in flight may take minutes; nobody waits for its answer.
            _, slow = await asyncio.wait(self._tasks, timeout=CLOSE_SECONDS)
            for task in slow:
                task.cancel()
            await asyncio.gather(*slow, return_exceptions=True)
        self._workers.close()
