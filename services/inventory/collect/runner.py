"""Starts runs, resumes and cancels them, and tells how they stand."""

import asyncio
import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from google.protobuf.message import Message

from mesh.contract.catalogue import Catalogue
from mesh.errors import ResourceExists, ResourceNotFound
from mesh.sealing.keyring import KeyRing
from secmesh.inventory.v1.policy_pb2 import SuggestPolicyResponse
from secmesh.inventory.v1.sync_pb2 import Sync
from secmesh.inventory.v1.sync_unit_pb2 import SyncUnit
from services.inventory.access.account_access import AccountAccess
from services.inventory.collect.draft import timestamp
from services.inventory.collect.execution import Execution, Limits
from services.inventory.collect.fingerprints import fingerprints
from services.inventory.collect.focus import Focus
from services.inventory.collect.planning import Planner
from services.inventory.collect.policy import suggestion
from services.inventory.collect.registry import Registry
from services.inventory.collect.run import Run, Stores, Written
from services.inventory.errors import SyncEnded


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
        self._planner = Planner(catalogue, registry, access)
        self.access = access
        self.stores = stores
        self._syncs = stores.syncs
        self.leases = stores.leases
        self._execution = Execution(self._planner, access, stores, limits, fingerprints(keys))
        self._live = self._execution.live
        self._places = self._execution.places

    async def recover(self) -> None:
        """Go on with the runs that nobody executes, now and whenever a lease expires."""
        await self._execution.recover()

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
        self.access.require(sync)
        sync.collections.extend(self._planner.collections(wanted.collections))
        sync.regions.extend(self._planner.regions(wanted.regions))
        existing = await self._existing(sync)
        if existing is not None:
            return existing
        # Whoever else wants to start a run does not wait for the tenancy service.
        way = await self.access.try_way(sync)
        async with self._syncs.starting():
            existing = await self._existing(sync)
            if existing is not None:
                return existing
            sync.start_time.CopyFrom(timestamp(datetime.now(UTC)))
            units = self._planner.units(sync)
            sync.progress.units = len(units)
            if not self._places.take(sync.name):
                await self._syncs.begin(sync, units.values(), self.leases, leased=False)
                self._places.wait(sync.name)
                return sync
            async with self._execution.placed(sync.name):
                await self._syncs.begin(sync, units.values(), self.leases)
                return self._execution.execute(sync, units, way).sync

    async def start_focused(
        self, sync: Sync, parts: Mapping[tuple[str, str], Focus | None], written: Written
    ) -> Run:
        """Start a run over parts of an account, by collection and region; all of each if None.

        It is small and somebody waits for it, so that it needs no place. ``written`` is told
        what each unit changed. Raises SyncRunning, AccountNotGranted, and what the tenancy
        service refuses of an account that it is asked for.
        """
        self.access.require(sync)
        way = await self.access.try_way(sync)
        async with self._syncs.starting():
            sync.state = Sync.STATE_RUNNING
            sync.start_time.CopyFrom(timestamp(datetime.now(UTC)))
            units = self._planner.focused(sync, parts)
            sync.progress.units = len(units)
            await self._syncs.begin(sync, units.values(), self.leases)
            return self._execution.execute(sync, units, way, written)

    async def _existing(self, wanted: Sync) -> Sync | None:
        """Give the run that has the id already; ResourceExists if it is of another account."""
        found = await self.find(wanted.name)
        if found is not None and (found.account, found.cloud_account_id) != (
            wanted.account,
            wanted.cloud_account_id,
        ):
            raise ResourceExists(wanted.name)
        return found

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
            self.access.require(sync)
            units = await self.leases.of(name)
            left = any(unit.state == SyncUnit.STATE_PENDING for unit in units)
            if sync.state != Sync.STATE_RUNNING and not left:
                raise SyncEnded(name, Sync.State.Name(sync.state))
            if not self._places.take(name):
                # Marked as running, and free for whoever has a place first.
                if sync.state != Sync.STATE_RUNNING and await self._syncs.claim(sync, self.leases):
                    await self.leases.release(name)
                self._places.wait(name)
                return await self.get(name)
            async with self._execution.placed(name):
                if await self._syncs.claim(sync, self.leases):
                    await self._execution.go_on(name)
        return await self.get(name)

    def knows_region(self, region: str) -> bool:
        """Tell whether AWS has a region of this name."""
        return self._planner.knows_region(region)

    async def suggest_policy(
        self, parent: str, name: str, wanted: Iterable[str]
    ) -> SuggestPolicyResponse:
        """Give the least IAM policy for collections, or what a run lacked of it.

        Raises CollectionUnknown, and ResourceNotFound if the run is not the tenant's.
        """
        asked = list(wanted)
        if not name:
            chosen = self._planner.collections(asked)
            return suggestion(self._planner.registry.collectors[each] for each in chosen)
        if not name.startswith(f"{parent}/"):
            raise ResourceNotFound(name)
        sync = await self.get(name)
        # Collections of an older run may not be collected any more.
        read = [each for each in sync.collections if each in self._planner.registry.collectors]
        chosen = self._planner.collections(asked) if asked else read
        entries = await self._syncs.manifest(name)
        return suggestion((self._planner.registry.collectors[each] for each in chosen), entries)

    async def cancel(self, name: str) -> Sync:
        """End a run and give it as it stands; it may take a moment to end.

        Raises ResourceNotFound, and SyncEnded if it ended by itself.
        """
        sync = await self.get(name)
        if sync.state == Sync.STATE_CANCELLED:
            return sync
        if sync.state != Sync.STATE_RUNNING:
            raise SyncEnded(name, Sync.State.Name(sync.state))
        now = datetime.now(UTC)
        if not sync.HasField("cancel_time"):
            await self._syncs.ask_cancel(name, now)
        if name not in self._live:
            async with self._syncs.starting():
                # One that waits for its turn is leased to be ended at once.
                await self._execution.take_over(name)
        live = self._live.get(name)
        if live is not None:
            live.cancel(now)
        return await self.get(name)

    async def end_all(self, tenant: str) -> None:
        """Let no further call be made for a tenant that is refused from now on."""
        self._execution.end_all(tenant)

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
        await self._execution.close()
        self.access.close()


def new_sync_id() -> str:
    """Make an id that sorts by time."""
    return f"{datetime.now(UTC):%Y%m%dt%H%M%S}-{secrets.token_hex(4)}"
