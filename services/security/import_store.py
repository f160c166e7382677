"""Writes the records of one report within its transaction, and closes what it no longer shows."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.catalogue import Catalogue
from mesh.errors import Refusal
from mesh.identifiers import derived_uuid, new_uuid
from mesh.records.ingest import ChunkWriter
from mesh.records.ingest_item import NEW, REJECTED, Item, identify
from mesh.records.ingest_keys import Keys
from mesh.records.writing import RecordWriter
from mesh.sql.bulk import BulkRows
from mesh.sql.references import ID
from mesh.sql.store import Store
from mesh.sql.tables import KindTable
from services.security.findings.guard import FindingGuard
from services.security.findings.life import FindingLife
from services.security.findings.project_days import Days
from services.security.import_fill import plain
from services.security.import_moves import Moves, Place, last_seen
from services.security.import_seen import Seen
from services.security.import_state import LIVES, SEEN, Change, Move, Way, settle
from services.security.import_steps import ImportSteps
from services.security.importing.model import Word

_BATCH = 500
"""Findings closed by one statement."""


class Fate(Word):
    """What became of a record of a report; the names of its counts."""

    CREATED = "created"
    UPDATED = "updated"
    MOVED = "moved"
    UNCHANGED = "unchanged"
    CLOSED = "closed"
    REOPENED = "reopened"
    REJECTED = "rejected"


_FATES = {
    Way.CLOSED: Fate.CLOSED,
    Way.REOPENED: Fate.REOPENED,
    Way.SILENCED: Fate.UPDATED,
}


@dataclass(slots=True, eq=False)
class Draft:
    """A record to be written, and the result of the report that it comes from."""

    record: Any
    index: int = -1
    pointer: str = ""
    fate: Fate = Fate.REJECTED
    error: Refusal | None = None
    name: str = ""


@dataclass
class ReportStore:
    """The records of one tenant, for one report; `micros` is when it was imported."""

    store: Store
    catalogue: Catalogue
    life: FindingLife
    tenant: str
    micros: int
    report_sha256: str
    counts: dict[str, Counter[Fate]] = field(default_factory=dict)
    groups: dict[str, list[Seen]] = field(default_factory=dict)
    """What was seen again of each collection, by scope."""
    etag: str = field(default_factory=new_uuid)
    """Of all that is written as sets: a report writes no record twice so."""

    def __post_init__(self) -> None:
        kinds = self.catalogue.record_kinds
        self._own_days: dict[str, Days | None] = {}
        self.guard = FindingGuard(self.catalogue, self._own_days)
        self._writer = RecordWriter(self.store, kinds, lambda: self.micros, self.guard)
        self.steps = ImportSteps(self.life, kinds, self.report_sha256)
        self._stream = new_uuid()
        self._chunks = ChunkWriter(self.store, self._writer, self.tenant, self._stream)
        self._bulk = BulkRows(self.store)
        self._keys: dict[str, Keys] = {}
        self._moved: dict[str, Moves] = {}
        self._sequence = 0

    async def known(self, connection: AsyncConnection, collection: str, record: Any) -> str:
        """Give the name of the record with the key of this one, empty if there is none.

        It is ours until the transaction ends: others that import into it wait.
        """
        target = self.store.target(collection)
        found = await self._find(connection, target, [self._item(target, record)])
        return next((old.name for old in found.values()), "")

    async def write(
        self, connection: AsyncConnection, collection: str, drafts: Sequence[Draft]
    ) -> None:
        """Write records of one collection; what became of each stands in it."""
        target = self.store.target(collection)
        items: dict[Item, Draft] = {}
        for draft in drafts:
            try:
                items[self._item(target, draft.record)] = draft
            except Refusal as refused:
                draft.error = refused
        changes = await self._settle(connection, target, list(items))
        await self._chunks.write(list(items))
        self._written(collection, (each.old.name for each in changes if not each.error))
        fates = {item: fate for item, (fate, _) in changes.items()}
        moves = {item.name: move for item, (_, move) in changes.items() if move and not item.error}
        await self.steps.take(connection, moves)
        counted = self.counts.setdefault(collection, Counter())
        for item, draft in items.items():
            draft.name, draft.error = item.name, item.error
            if item.outcome != REJECTED:
                known = fates.get(item, Fate.UPDATED)
                draft.fate = Fate.CREATED if item.outcome == NEW else known
        counted.update(draft.fate for draft in drafts)
        if collection in LIVES:
            new = {item.name: item.given for item in items if item.outcome == NEW}
            await self.steps.found(connection, new)

    def find_moved(
        self,
        collection: str,
        where: Mapping[str, object],
        seen: Seen | None,
        scans: set[str],
        shown: frozenset[int],
    ) -> None:
        """Look for what may be somewhere else now; see `Moves.look_among`."""
        moves = self._moved.setdefault(collection, Moves(self.store))
        moves.look_among(Place(collection, self.tenant, where), seen, scans, shown)

    def _written(self, collection: str, names: Iterable[str]) -> None:
        """Note known findings that were written whole: they are in no group any more."""
        groups = self.groups.get(collection, ())
        for name in names if groups else ():
            for seen in groups:
                seen.absent.pop(name.rpartition("/")[2], None)

    async def learn_days(self, connection: AsyncConnection, project: str) -> None:
        """Learn within how many days a project wants its findings closed, by its name."""
        self._own_days[project] = await self.life.days.of(connection, project)

    async def moves(self, connection: AsyncConnection, collection: str) -> Moves | None:
        """Give what of a collection may be somewhere else now; None if nothing can be."""
        moves = self._moved.get(collection)
        if moves is not None:
            await moves.learn(connection)
        return moves

    def next_id(self) -> str:
        """Give the id of a new record."""
        self._sequence += 1
        return derived_uuid(self._stream, self._sequence)

    def count_unchanged(self, collection: str, number: int) -> None:
        """Count findings that were not even read."""
        self.counts.setdefault(collection, Counter())[Fate.UNCHANGED] += number

    def count(self, collection: str, *fates: Fate) -> None:
        """Count records that ``write`` was not asked about."""
        self.counts.setdefault(collection, Counter()).update(fates)

    def _item(self, target: KindTable, record: Any) -> Item:
        keys = self._keys.get(target.kind.collection)
        if keys is None:
            keys = self._keys[target.kind.collection] = Keys(target.kind, self._writer.hashed)
        self._sequence += 1
        item = Item(self._sequence, record, target)
        identify(item, keys, self.tenant)
        return item

    async def _find(
        self, connection: AsyncConnection, target: KindTable, items: Iterable[Item]
    ) -> dict[Item, Any]:
        by_fields: dict[tuple[str, ...], list[Item]] = {}
        for item in items:
            if item.fields:
                by_fields.setdefault(tuple(item.fields), []).append(item)
        found: dict[Item, Any] = {}
        for fields, keyed in by_fields.items():
            keys = {item.key for item in keyed}
            old = await self._bulk.load_by(connection, target, self.tenant, fields, keys)
            found |= {item: old[item.key] for item in keyed if item.key in old}
        return found

    async def _follow(
        self, connection: AsyncConnection, target: KindTable, items: Iterable[Item]
    ) -> list[Item]:
        """Lead findings that are not where they were to their records; give those."""
        moves = await self.moves(connection, target.kind.collection)
        followed: list[Item] = []
        if moves is None:
            return followed
        for item in items:
            found = moves.take(getattr(item.given, target.kind.body_field or ""))
            if found:
                item.fields, item.key = (ID,), (found,)
                followed.append(item)
        return followed

    async def _settle(
        self, connection: AsyncConnection, target: KindTable, items: Sequence[Item]
    ) -> dict[Item, tuple[Fate, Move | None]]:
        """Keep what is known of records as it must stay; tell what the others become."""
        fates = {}
        body, life = target.kind.body_field or "", LIVES.get(target.kind.collection)
        found = await self._find(connection, target, items)
        unknown = [item for item in items if item not in found]
        moved = await self._follow(connection, target, unknown) if unknown else []
        found |= await self._find(connection, target, moved)
        for item, old in found.items():
            before, given = getattr(old, body), getattr(item.given, body)
            change = settle(life, before, given)
            envelope = (each.name for each, _ in item.given.ListFields() if each.name != body)
            differing = _differing(change, before, given)
            # No path at all would stand for every field.
            fields = differing or target.kind.option.natural_key
            item.paths = [*(f"{body}.{name}" for name in sorted(fields)), *envelope]
            fate = Fate.MOVED if item in moved else _fate(change, differing)
            fates[item] = fate, change.move
            item.old = old
        return fates

    async def scopes(
        self, connection: AsyncConnection, collection: str, fields: Sequence[str], scan: Any
    ) -> set[str]:
        """Give the ids of the scans of a collection that looked at what this one did.

        Of `automation_id` the category counts, what stands before the last `/` (SARIF 2.1.0,
        3.17.3): the rest names the run.
        """
        target = self.store.target(collection)
        project, *others = fields
        wanted = plain(target.kind, scan, others)
        table = target.table
        statement = self.store.select(collection, self.tenant, [ID, *others]).where(
            table.c[project] == plain(target.kind, scan, [project])[0].rpartition("/")[2]
        )
        rows = await self.store.fetch(statement, connection)
        same = [_category(*pair) for pair in zip(others, wanted, strict=True)]
        found = set()
        for row in rows:
            values: list[Any] = list(row)
            if [_category(*pair) for pair in zip(others, values[1:], strict=True)] == same:
                found.add(str(values[0]))
        return found

    def scope(self, collection: str, fields: Sequence[str], scan: Any) -> str:
        """Name what the scans have in common that ``scopes`` gives."""
        values = plain(self.store.target(collection).kind, scan, fields)
        same = [_category(*pair) for pair in zip(fields, values, strict=True)]
        return sha256(repr([collection, *same]).encode()).hexdigest()

    async def close_absent(
        self,
        connection: AsyncConnection,
        collection: str,
        project: str,
        seen: Seen | None,
        scans: set[str],
        scan: str,
    ) -> int:
        """Close a project's open findings that were last seen by these scans; give how many.

        ``seen`` are the groups that these saw. ``scan`` does not show them any more.
        """
        target, life = self.store.target(collection), LIVES[collection]
        table = target.table
        statement = self.store.select(collection, self.tenant, [ID]).where(
            table.c["project_id"] == project.rpartition("/")[2],
            table.c["status"].in_(sorted(life.open)),
            last_seen(target, "scan_id", scans, seen),
        )
        rows = await self.store.fetch(statement, connection)
        ids = sorted(str(row[0]) for row in rows)
        closed = 0
        for start in range(0, len(ids), _BATCH):
            names = (target.kind.pattern.format(self.tenant, each) for each in ids[start:][:_BATCH])
            moves = dict.fromkeys(names, life.closing())
            taken = await self.steps.take(connection, moves, scan)
            self._written(collection, taken)
            closed += len(taken)
        self.counts.setdefault(collection, Counter())[Fate.CLOSED] += closed
        return closed

    async def tell(
        self, connection: AsyncConnection, name: str, told: dict[str, dict[str, int]]
    ) -> None:
        """Write what only the service says of records of one collection, by their names."""
        target = self.store.target(name)
        ids = [each.rpartition("/")[2] for each in told]
        found = await self._bulk.load(connection, target, self.tenant, ids)
        records = []
        for record_name, values in told.items():
            record: Any = found[record_name.rpartition("/")[2]]
            body = getattr(record, target.kind.body_field or "")
            for each, value in values.items():
                if each in body.DESCRIPTOR.fields_by_name:
                    setattr(body, each, value)
            records.append(record)
        await self._replace(connection, target, records)

    async def _replace(
        self, connection: AsyncConnection, target: KindTable, records: Sequence[Any]
    ) -> None:
        for record in records:
            self._writer.stamp(target.kind, record)
        if records:
            rows = [target.codec.row(record) for record in records]
            await self._bulk.replace(connection, target, self.tenant, rows)


def _category(name: str, value: Any) -> Any:
    return (value or "").rpartition("/")[0] if name == "automation_id" else value


def _differing(change: Change, old: Any, given: Any) -> frozenset[str]:
    """Give the fields of a known record's body that a report changes."""
    fields = given.DESCRIPTOR.fields_by_name
    return frozenset(
        name
        for name in change.fields
        if (fields[name].has_presence and not old.HasField(name))
        or getattr(old, name) != getattr(given, name)
    )


def _fate(change: Change, differing: frozenset[str]) -> Fate:
    if change.move is not None:
        return _FATES[change.move.way]
    return Fate.UPDATED if differing.difference(SEEN) else Fate.UNCHANGED
