"""Records of a stream written a chunk at a time: each by itself, all of them at once.

A chunk is one transaction, or a few where records of it are of the same row. The rules are
those of single writes (``mesh.records.writing``); only finding and writing rows is done for
the whole chunk. If the database refuses it, it is cut in halves until the culprit is alone.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.errors import (
    DependencyUnavailable,
    EtagMismatch,
    FieldInvalid,
    KindAppendOnly,
    ReferenceNotFound,
    Refusal,
)
from mesh.identifiers import derived_uuid
from mesh.records.etag import ETAG
from mesh.records.ingest_item import (
    NEW,
    REJECTED,
    UNCHANGED,
    UNDECIDED,
    UPDATED,
    Item,
    Prepared,
)
from mesh.records.ingest_order import first_of_each, groups
from mesh.records.writing import RECORD, RecordWriter
from mesh.sql.bulk import BulkRows, Key, Row
from mesh.sql.postgres import sqlstate
from mesh.sql.references import ID
from mesh.sql.rows import Rows
from mesh.sql.store import Store
from mesh.sql.tables import KindTable

_ATTEMPTS = 4
"""Times that a transaction is tried which others got in the way of."""
_IN_THE_WAY = ("40P01", "40001")
"""SQLSTATE of a deadlock, and of writers that cannot be put in an order."""
_BREATH = 200
"""Records prepared before other calls are served."""


class ChunkWriter:
    """Writes chunks of one tenant's records; ``stream`` is the UUID that names new ones."""

    def __init__(self, store: Store, writer: RecordWriter, tenant: str, stream: str) -> None:
        self._store = store
        self._writer = writer
        self._rows = Rows(store)
        self._bulk = BulkRows(store)
        self._tenant = tenant
        self._stream = stream
        self.expects_new = False
        """Whether records that were prepared as new are added without a look for them first."""

    async def write(self, items: Sequence[Item], *, keep: bool = True) -> None:
        """Decide items, in their order where they are of one record; with ``keep`` for good.

        What an item broke stands in it; it stands in nobody's way.
        """
        waiting = [item for item in items if item.outcome is not REJECTED]
        for item in waiting:
            if not item.fields:
                self._name(item)
        while waiting:
            wave, waiting = first_of_each(waiting)
            await self._transact(wave, keep=keep)
            for item in waiting:
                # The wave may have changed it.
                item.old = None
            if undecided := [item for item in wave if item.outcome == UNDECIDED]:
                waiting = sorted([*waiting, *undecided], key=lambda item: item.sequence)

    def _name(self, item: Item) -> None:
        """Name a record that has no key, the same whenever it is sent."""
        new_id = derived_uuid(self._stream, item.sequence)
        item.name = item.target.kind.pattern.format(self._tenant, new_id)
        if not self._bulk.tells_collisions:
            item.fields, item.key = (ID,), (new_id,)

    async def _transact(self, wave: Sequence[Item], *, keep: bool) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                await self._try(wave, keep=keep)
            except DependencyUnavailable as error:
                cause = error.__cause__
                blocked = isinstance(cause, sa.exc.DBAPIError) and sqlstate(cause) in _IN_THE_WAY
                if not blocked or attempt == _ATTEMPTS:
                    raise
                for item in wave:
                    item.begin()
            else:
                return

    async def _try(self, wave: Sequence[Item], *, keep: bool) -> None:
        async with self._store.transaction() as connection:
            savepoint = None if keep else await connection.begin_nested()
            for group in groups(wave):
                await self._write_group(connection, group)
            if savepoint is not None:
                await savepoint.rollback()

    async def _write_group(self, connection: AsyncConnection, items: Sequence[Item]) -> None:
        """Write records of one kind that are of different rows."""
        target = items[0].target
        untried, sought = self._untried(target, items)
        if not await self._add_at_once(connection, untried):
            # One was refused: all are looked at.
            sought = items
        fresh: list[Item] = []
        known: list[Item] = []
        found = await self._find(connection, target, sought)
        for number, item in enumerate(sought):
            if number % _BREATH == _BREATH - 1:
                await asyncio.sleep(0)
            at = found[item.fields].get(item.key) if item.fields in found else None
            if item.old is not None:
                item.name = item.old.name
                known.append(item)
            elif at is None:
                await self._be_new(item, fresh)
            else:
                item.name = target.kind.pattern.format(self._tenant, at[0])
                if not self._is_same(item, *at[1:]):
                    known.append(item)
        changed = await self._prepare_changed(connection, target, known)
        fresh = await self._with_references(connection, target, fresh, changed)
        changed = [item for item in changed if item.outcome is not REJECTED]
        await self._store_all(connection, changed, self._replace, UPDATED)
        await self._store_all(connection, fresh, self._add, NEW)

    def _untried(
        self, target: KindTable, items: Sequence[Item]
    ) -> tuple[Sequence[Item], Sequence[Item]]:
        """Split off what was prepared as new and is taken for new without a look for it."""
        if not (self.expects_new and self._bulk.tells_collisions) or target.kind.option.history:
            return [], items
        untried, others = [], []
        for item in items:
            made = item.as_new
            if isinstance(made, Prepared) and not item.collided and item.old is None:
                item.stored, item.name = made, made.name
                untried.append(item)
            else:
                others.append(item)
        return untried, others

    async def _find(
        self, connection: AsyncConnection, target: KindTable, items: Sequence[Item]
    ) -> dict[Sequence[str], Mapping[Key, Sequence[str]]]:
        """Give id and etag of the rows that items are known by, by fields and key."""
        by_fields: dict[Sequence[str], list[Key]] = {}
        for item in items:
            if item.fields and item.old is None:
                by_fields.setdefault(item.fields, []).append(item.key)
        columns = (ID, ETAG) if ETAG in target.codec.fields else (ID,)
        return {
            fields: await self._bulk.find(connection, target, self._tenant, fields, keys, columns)
            for fields, keys in by_fields.items()
        }

    def prepare(self, item: Item) -> Prepared | Refusal | None:
        """Make what is to be stored of a record if it is new; can be done ahead of its chunk.

        Records with values that are hashed slowly are left to the chunk: None.
        """
        if item.as_new is None and not self._writer.hashed.has_salted(item.target.kind, item.given):
            item.as_new = self._made(item)
        return item.as_new

    async def _be_new(self, item: Item, fresh: list[Item]) -> None:
        """Let a record that is not there be stored, or reject it."""
        self.prepare(item)
        if item.as_new is None:
            item.salted = await self._writer.hashed.salted(item.target.kind, item.given)
            item.as_new = self._made(item)
        if isinstance(item.as_new, Refusal):
            item.reject(item.as_new)
            return
        item.stored = item.as_new
        item.name = item.stored.name
        fresh.append(item)

    def _made(self, item: Item) -> Prepared | Refusal:
        kind = item.target.kind
        name = item.given.name
        if name:
            new_id = name.rpartition("/")[2]
        else:
            new_id = derived_uuid(self._stream, item.sequence)
            name = kind.pattern.format(self._tenant, new_id)
        try:
            if item.given.etag:
                raise EtagMismatch(item.given.name or kind.collection)
            if made := self._writer.fresh_row(
                item.target, item.given, name, (self._tenant, new_id)
            ):
                return Prepared(name, *made)
            record = _named(item.given, name)
            moment = self._writer.made(kind, record, item.salted)
            return Prepared(name, item.target.codec.row(record), moment, record)
        except Refusal as refused:
            return refused

    def _is_same(self, item: Item, etag: str = "") -> bool:
        """Tell whether a record is there already, by its etag; else it must be looked at."""
        if not etag or item.given.etag not in ("", etag):
            return False
        if self._writer.hashed.has_salted(item.target.kind, item.given):
            # Another hash would be made of the same value: it is held against the stored one.
            return False
        if not self._writer.is_alike(item.target, item.given, item.name, etag):
            return False
        item.outcome = UNCHANGED
        return True

    async def _prepare_changed(
        self, connection: AsyncConnection, target: KindTable, items: Sequence[Item]
    ) -> list[Item]:
        """Make what is to be stored of records that are there, where they change."""
        if not items:
            return []
        ids = [item.name.rpartition("/")[2] for item in items if item.old is None]
        loaded = await self._bulk.load(connection, target, self._tenant, ids) if ids else {}
        stored = {item: item.old or loaded[item.name.rpartition("/")[2]] for item in items}
        changed: list[Item] = []

        def prepare(item: Item) -> None:
            new = self._writer.replaced_row(
                target, stored[item], item.given, item.paths, item.salted
            )
            if new is None:
                item.outcome = UNCHANGED
                return
            if target.kind.option.append_only:
                raise KindAppendOnly(target.kind.collection)
            item.stored = Prepared(item.name, *new)

        for number, item in enumerate(items):
            if number % _BREATH == _BREATH - 1:
                await asyncio.sleep(0)
            item.salted = await self._writer.hashed.salted(target.kind, item.given, stored[item])
            _attempt(prepare, item, changed)
        return [item for item in changed if item.outcome is UNDECIDED]

    async def _with_references(
        self,
        connection: AsyncConnection,
        target: KindTable,
        fresh: Sequence[Item],
        changed: Sequence[Item],
    ) -> list[Item]:
        """Reject what refers to nothing; give the new records that are left.

        A record may refer to new ones of its kind that come before it.
        """
        rows = _rows((*fresh, *changed))
        missing: dict[str, set[str]] = {}
        for field, pattern in target.kind.references.items():
            collection = pattern.text.split("/")[2]
            if wanted := {row[field] for row in rows} - {None, ""}:
                there = await self._bulk.present(connection, collection, self._tenant, wanted)
                missing[field] = wanted - there
        if not any(missing.values()):
            return list(fresh)
        within = set(_own_references(target))
        made: set[str] = set()
        left = []
        new = set(fresh)
        for item in sorted((*fresh, *changed), key=lambda each: each.sequence):
            row = item.stored.row if item.stored is not None else {}
            for field, ids in missing.items():
                if row[field] in ids and not (field in within and row[field] in made):
                    name = target.kind.references[field].format(self._tenant, row[field])
                    item.reject(ReferenceNotFound(field, name))
                    break
            else:
                if item in new:
                    made.add(row[ID])
                    left.append(item)
        return left

    async def _add_at_once(self, connection: AsyncConnection, items: Sequence[Item]) -> bool:
        """Add records that were not looked for; nothing is done where the database refuses one.

        That is how it is told that one is there already, or refers to nothing.
        """
        if not items:
            return False
        target, rows = items[0].target, _rows(items)
        # It would let records refer to those of their kind that come after them.
        for field in _own_references(target):
            if any(row[field] is not None for row in rows):
                return False
        try:
            async with connection.begin_nested():
                await self._bulk.insert(connection, target, rows)
        except (sa.exc.IntegrityError, sa.exc.DataError):
            return False
        for item in items:
            item.outcome = NEW
        return True

    async def _store_all(
        self,
        connection: AsyncConnection,
        items: Sequence[Item],
        store: "Callable[[AsyncConnection, Sequence[Item]], Any]",
        outcome: Any,
    ) -> None:
        """Write prepared items; where the database refuses, each half by itself."""
        if not items:
            return
        alone = items[0].target.kind.option.history
        if alone or any(item.collided > 1 for item in items):
            for item in items:
                await self._store_one(connection, item, outcome)
            return
        try:
            async with connection.begin_nested():
                await store(connection, items)
        except (sa.exc.IntegrityError, sa.exc.DataError):
            if len(items) == 1:
                await self._store_one(connection, items[0], outcome)
                return
            middle = len(items) // 2
            await self._store_all(connection, items[:middle], store, outcome)
            await self._store_all(connection, items[middle:], store, outcome)

    async def _add(self, connection: AsyncConnection, items: Sequence[Item]) -> None:
        rows = _rows(items)
        added = await self._bulk.add(connection, items[0].target, rows)
        for item, row in zip(items, rows, strict=True):
            if row[ID] in added:
                item.outcome = NEW
            else:
                # Looked for once more, by its key; then whatever is in its way is named.
                item.collided += 1
                if not item.fields:
                    item.fields, item.key = (ID,), (row[ID],)

    async def _replace(self, connection: AsyncConnection, items: Sequence[Item]) -> None:
        await self._bulk.replace(connection, items[0].target, self._tenant, _rows(items))
        for item in items:
            item.outcome = UPDATED

    async def _store_one(self, connection: AsyncConnection, item: Item, outcome: Any) -> None:
        """Write one item alone, so that what it breaks can be told."""
        stored = item.stored
        if stored is None:
            return
        write = self._rows.add if outcome == NEW else self._rows.replace
        record = stored.record or item.target.codec.message(stored.row, secrets=True)
        try:
            await write(connection, item.target, record, stored.moment)
        except Refusal as refused:
            item.reject(refused)
        except sa.exc.DataError:
            item.reject(FieldInvalid.of(RECORD, "holds what the store cannot keep"))
        else:
            item.outcome = outcome


def _own_references(target: KindTable) -> list[str]:
    """Give the fields by which records refer to others of their kind."""
    own = target.kind.pattern
    return [field for field, pattern in target.kind.references.items() if pattern == own]


def _rows(items: Sequence[Item]) -> list[Row]:
    return [item.stored.row for item in items if item.stored is not None]


def _named(given: Any, name: str) -> Any:
    record = type(given)()
    record.CopyFrom(given)
    record.name = name
    return record


def _attempt(prepare: Callable[[Item], None], item: Item, prepared: list[Item]) -> None:
    try:
        prepare(item)
    except Refusal as refused:
        item.reject(refused)
    else:
        prepared.append(item)
