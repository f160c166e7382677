"""Writes made-up records through the path of streams: a batch at a time, memory flat."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from google.protobuf import message_factory

from mesh.contract.catalogue import Catalogue, Kind
from mesh.errors import Refusal
from mesh.records.ingest import ChunkWriter
from mesh.records.ingest_item import NEW, REJECTED, UNCHANGED, UPDATED, Item, identify
from mesh.records.ingest_keys import Keys
from mesh.records.moments import now
from mesh.records.writing import RecordWriter
from mesh.sql.store import Store
from mesh.sql.tenancy import acting_for
from services.security.findings.guard import FindingGuard
from services.security.findings.machine import finding_machines
from services.security.seeding.plan import load_order, shares
from services.security.seeding.records import Chance, RecordMaker
from services.security.seeding.relations import Relations

BATCH = 1000
"""Records made, checked and written at once."""
_FIRST = 5
"""Records of the first batch of a kind, to which later ones of the kind may refer."""
Told = Callable[[str, int], None]
"""Hears the collection and how many records of it were decided."""


@dataclass
class Report:
    """What became of all records."""

    outcomes: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    """Why records were refused, the first of each kind."""


class Seeder:
    """Fills a tenant's kinds with records."""

    def __init__(self, store: Store, catalogue: Catalogue, tenant: str, chance: Chance) -> None:
        self._store = store
        self._catalogue = catalogue
        self._tenant = tenant
        self._chance = chance
        self._kinds = load_order(catalogue)
        self._writer = RecordWriter(store, catalogue.record_kinds, now, FindingGuard(catalogue))
        self.shares = shares(catalogue, self._kinds, chance.records)
        """How many records each kind is to have."""

    async def run(self, told: Told) -> Report:
        """Write all records; DependencyUnavailable, SeedProblem."""
        report, relations = Report(), Relations(self._kinds)
        with acting_for(self._tenant):
            for kind in self._kinds:
                await self._fill(kind, relations, report, told)
        return report

    async def _fill(self, kind: Kind, relations: Relations, report: Report, told: Told) -> None:
        collection = kind.collection
        machine = finding_machines(self._catalogue).get(collection)
        envelope = message_factory.GetMessageClass(kind.message)
        maker = RecordMaker(kind, envelope, self._tenant, self._chance, relations, machine)
        target, keys = self._store.target(collection), Keys(kind, self._writer.hashed)
        stream = self._chance.stream_id(collection)
        chunks = ChunkWriter(self._store, self._writer, self._tenant, stream)
        count = min(self.shares[collection], maker.keys.capacity(relations.pools))
        for numbers in _batches(count):
            made = [maker.make(number) for number in numbers]
            items = []
            for number, (record, _) in zip(numbers, made, strict=True):
                item = Item(number, record, target)
                identify(item, keys, self._tenant)
                items.append(item)
            await chunks.write(items)
            for item, (_, parents) in zip(items, made, strict=True):
                if item.outcome is not REJECTED:
                    relations.add(collection, item.name, parents)
            _note(report, collection, items)
            told(collection, len(items))


def _batches(count: int) -> Iterator[range]:
    start = 1
    while start <= count:
        size = _FIRST if start == 1 else BATCH
        yield range(start, min(start + size, count + 1))
        start += size


def _note(report: Report, collection: str, items: Sequence[Item]) -> None:
    words = {NEW: "new", UPDATED: "updated", UNCHANGED: "unchanged", REJECTED: "rejected"}
    refused: Refusal | None = None
    for item in items:
        report.outcomes[words[item.outcome]] += 1
        refused = refused or item.error
    if refused is not None:
        report.problems.append(f"{collection}: {refused}")
