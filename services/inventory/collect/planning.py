"""What a run is to read: its collections and regions, and the units that it consists of."""

import contextlib
from collections.abc import Iterable, Mapping

from mesh.contract.catalogue import Catalogue
from mesh.contract.names import tenant_of
from mesh.errors import FieldInvalid, ResourceNotFound
from secmesh.inventory.v1.sync_pb2 import Sync
from secmesh.inventory.v1.sync_unit_pb2 import SyncUnit
from services.inventory.access.account_access import AccountAccess
from services.inventory.collect import checkpoint
from services.inventory.collect.event_map import event_map
from services.inventory.collect.focus import Focus
from services.inventory.collect.registry import Registry
from services.inventory.collect.versions import Unit
from services.inventory.errors import AccountNotGranted, CollectionUnknown


class Planner:
    """Knows what can be collected where."""

    def __init__(self, catalogue: Catalogue, registry: Registry, access: AccountAccess) -> None:
        """Raises CatalogueError if the collectors do not fit the contract."""
        registry.check(catalogue)
        self._catalogue = catalogue
        self.registry = registry
        self._access = access

    def collections(self, wanted: Iterable[str]) -> list[str]:
        """Give the collections that are wanted, all without any. Raises CollectionUnknown."""
        asked = sorted(set(wanted)) or sorted(self.registry.collectors)
        for collection in asked:
            if collection not in self.registry.collectors:
                raise CollectionUnknown(collection)
        return asked

    def regions(self, wanted: Iterable[str]) -> list[str]:
        """Give the regions that are wanted, that of the settings without any. FieldInvalid."""
        asked = list(wanted)
        for place, region in enumerate(asked):
            if not self.knows_region(region):
                raise FieldInvalid.of(f"sync.regions[{place}]", f"{region} is no AWS region")
        return sorted(set(asked)) or [self._access.accounts.region]

    def knows_region(self, region: str) -> bool:
        """Tell whether AWS has a region of this name."""
        return self._access.accounts.knows_region(region)

    def units(self, sync: Sync) -> dict[Unit, SyncUnit]:
        """Plan a run over its collections and regions."""
        units = (
            self._unit(sync, collection, region)
            for collection in sync.collections
            for region in self.registry.collectors[collection].regions(tuple(sync.regions))
        )
        return {unit: checkpoint.planned(sync.name, unit) for unit in units}

    def focused(
        self, sync: Sync, parts: Mapping[tuple[str, str], Focus | None]
    ) -> dict[Unit, SyncUnit]:
        """Plan a run over parts of an account, by collection and region; all of each if None."""
        units = (self._unit(sync, *place, focus) for place, focus in parts.items())
        return {unit: checkpoint.planned(sync.name, unit) for unit in units}

    def stored(self, sync: Sync, checkpoints: Iterable[SyncUnit]) -> dict[Unit, SyncUnit]:
        """Give the units of a stored run; none if it cannot be resumed."""
        with contextlib.suppress(CollectionUnknown, AccountNotGranted, ResourceNotFound):
            self._access.require(sync)
            return {self._unit_of(sync, each): each for each in checkpoints}
        return {}

    def _unit(self, sync: Sync, collection: str, region: str, focus: Focus | None = None) -> Unit:
        collector = self.registry.collectors.get(collection)
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
