"""What the units of one run hand each other before their rows are written."""

import asyncio
from collections.abc import Iterable

from mesh.aws.reader import ReadingCancelled, Unread
from services.inventory.collect.draft import Collected
from services.inventory.collect.source import Source
from services.inventory.collect.versions import Unit, draft_of
from services.inventory.store import InventoryStore


class SharedSources:
    """Collects what derivations look at: this run's reads, else what is stored."""

    def __init__(self, units: Iterable[Unit], store: InventoryStore) -> None:
        self._units = tuple(units)
        self._store = store
        wanted = {source for unit in self._units for source in unit.collector.sources}
        self._found = {collection: Source() for collection in wanted}
        self._pending: dict[str, set[Unit]] = {collection: set() for collection in wanted}
        self._complete = {collection: asyncio.Event() for collection in wanted}
        for unit in self._units:
            if unit.collector.collection in wanted:
                self._pending[unit.collector.collection].add(unit)
        self._loading = asyncio.Lock()

    def publish(self, unit: Unit, collected: Collected | Unread) -> None:
        """Hand over what a unit read, or why it read nothing; once for each unit."""
        collection = unit.collector.collection
        if collection not in self._found:
            return
        source = self._found[collection]
        gap = collected if isinstance(collected, Unread) else collected.unlisted
        if isinstance(collected, Collected):
            source.drafts.extend(collected.drafts)
        if gap is None:
            source.listed.add(unit.region)
        else:
            source.gaps[unit.region] = gap
        pending = self._pending[collection]
        pending.discard(unit)
        if not pending:
            self._found[collection] = source.in_order()
            self._complete[collection].set()

    async def restore(self, unit: Unit, gap: Unread | None, regions: tuple[str, ...]) -> None:
        """Hand over what a unit stored that ended before this process took the run over."""
        if unit.collector.collection not in self._found:
            return
        if gap is not None:
            self.publish(unit, gap)
            return
        records = await self._store.current(unit, regions)
        body_field = str(unit.kind.body_field)
        drafts = [draft_of(record, body_field) for record in records.values()]
        self.publish(unit, Collected(drafts))

    def abandon(self) -> None:
        """Let nobody wait any more for what will not be read."""
        for collection, pending in self._pending.items():
            if pending:
                self._complete[collection].set()

    async def of(self, unit: Unit) -> dict[str, Source]:
        """Wait for the sources of a unit's derivation and give them.

        Raises ReadingCancelled if one of them will not be read.
        """
        return {each: await self._source(unit, each) for each in unit.collector.sources}

    async def _source(self, unit: Unit, collection: str) -> Source:
        async with self._loading:
            if not self._pending[collection] and not self._complete[collection].is_set():
                self._found[collection] = await self._stored(unit, collection)
                self._complete[collection].set()
        await self._complete[collection].wait()
        if self._pending[collection]:
            raise ReadingCancelled
        return self._found[collection]

    async def _stored(self, unit: Unit, collection: str) -> Source:
        """Use what earlier runs left of a collection that this run does not read."""
        tenant, account = unit.tenant, unit.cloud_account_id
        body_field = str(self._store.store.target(collection).kind.body_field)
        records = await self._store.collected(tenant, account, collection)
        listed = await self._store.listed_regions(tenant, account, collection)
        drafts = [draft_of(record, body_field) for record in records]
        return Source(drafts, set(listed)).in_order()
