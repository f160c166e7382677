"""Takes the findings of a report that are surely new, or only seen again, past single records."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from operator import itemgetter
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.errors import Refusal
from mesh.sql import engine as dialect
from secmesh.security.v1.record_pb2 import Record
from services.security.findings import due
from services.security.findings.machine import STATUS
from services.security.import_fill import fill
from services.security.import_known import trace
from services.security.import_moves import FINGERPRINTS
from services.security.import_plain import PlainRows, Unsure
from services.security.import_seen import Seen
from services.security.import_set_store import FindingSets
from services.security.import_state import LIVES
from services.security.import_store import Fate, ReportStore
from services.security.importing.model import Finding
from services.security.importing.rows import Row

_RULE, _SCAN, _PROJECT = "rule_id", "scan_id", "project_id"
_DATED_BY = (STATUS, due.SEVERITY, due.FIRST_SEEN)
"""What the time follows from by which a finding is to be closed, and whether it can begin so."""
Names = Mapping[tuple[str, str], str]
"""Records that others refer to, by collection and natural key."""


@dataclass
class _Group:
    """Findings of one kind that have some values in common."""

    plain: PlainRows
    sets: FindingSets
    common: Mapping[str, object]
    seen: Seen | None = None
    """What was seen again of their scope, where the kind keeps sightings apart."""
    are_first: bool = False
    """Whether nothing was known before that one of them could be."""
    dated: dict[tuple[object, ...], str] = field(default_factory=dict)
    """When findings are to be closed, by what that follows from; empty if never."""

    def in_order(self, rows: Sequence[Sequence[Any]]) -> Sequence[Sequence[Any]]:
        """Sort rows as all writers do: by what they are known by; what is absent comes last."""
        places = self.plain.key_places
        if len(places) == 1 and all(row[places[0]] is not None for row in rows):
            return sorted(rows, key=itemgetter(places[0]))
        return sorted(rows, key=lambda row: [(row[place] is None, row[place]) for place in places])


@dataclass
class _Known:
    """Findings that were seen, by the ids of their staged rows."""

    stayed: Mapping[str, str]
    """In their groups."""
    joined: dict[str, str] = field(default_factory=dict)
    """The report's own group."""


@dataclass
class BulkFindings:
    """Writes the findings of one report by the batch, of PostgreSQL alone."""

    records: ReportStore
    _groups: dict[tuple[str, int], _Group | None] = field(default_factory=dict)
    _numbers: "count[int]" = field(default_factory=count)

    def concerns(self, collection: str) -> bool:
        """Tell whether records of a collection can be written so."""
        return collection in LIVES and self.records.store.database == dialect.POSTGRESQL

    async def write(
        self,
        connection: AsyncConnection,
        place: tuple[str, int],
        common: Mapping[str, object],
        rows: Sequence[tuple[Finding, Row]],
        names: Names,
        seen: Seen | None,
    ) -> list[Fate | None]:
        """Write findings of a collection and a run, with values that all of these have.

        ``seen`` is what was seen again of their scope. Gives what became of each; None for those
        that nothing was done about.
        """
        group = await self._group(connection, place, common, seen)
        if group is None:
            return [None] * len(rows)
        made = await asyncio.to_thread(self._made, group, place[0], rows, names)
        traces = {
            row[0]: trace(finding, shown.key)
            for row, (finding, shown) in zip(made, rows, strict=True)
            if row is not None
        }
        staged = [row for row in made if row is not None]
        if not staged:
            return [None] * len(rows)
        try:
            async with connection.begin_nested():
                fates, known = await self._store(connection, group, place[0], staged)
        except (sa.exc.IntegrityError, sa.exc.DataError):
            # Which of them it was is found out one by one.
            return [None] * len(rows)
        if seen is not None:
            seen.stayed((traces[row], found) for row, found in known.stayed.items())
            seen.joined((traces[row], found) for row, found in known.joined.items())
        told = [None if row is None else fates.get(row[0]) for row in made]
        self.records.count(place[0], *filter(None, told))
        return told

    async def _group(
        self,
        connection: AsyncConnection,
        place: tuple[str, int],
        common: Mapping[str, object],
        seen: Seen | None,
    ) -> _Group | None:
        if place not in self._groups:
            self._groups[place] = group = self._new_group(place[0], common, seen)
            if group is not None:
                await group.sets.staging.make(connection)
                group.are_first = not await group.sets.knows_any(connection)
        return self._groups[place]

    def _new_group(
        self, collection: str, common: Mapping[str, object], seen: Seen | None
    ) -> _Group | None:
        records = self.records
        target = records.store.target(collection)
        plain = PlainRows(target, records.tenant, tuple(common))
        try:
            stored = {name: plain.value(name, value) for name, value in common.items()}
        except (Unsure, Refusal):
            return None
        if not plain.applies:
            return None
        stamp, number = (records.etag, records.micros), next(self._numbers)
        own = seen.group if seen is not None else ""
        sets = FindingSets(
            records.store, target, records.tenant, stored, plain.columns, stamp, number, own
        )
        return _Group(plain, sets, common, seen)

    def _made(
        self, group: _Group, collection: str, rows: Sequence[tuple[Finding, Row]], names: Names
    ) -> list[list[Any] | None]:
        return [self._row(group, collection, row, names) for _, row in rows]

    def _row(self, group: _Group, collection: str, row: Row, names: Names) -> list[Any] | None:
        if row.record_id:
            return None
        values = row.values
        for name, refers in row.refers.items():
            values[name] = names.get(refers, "")
        try:
            dated = self._dated(group, collection, values)
        except Refusal:
            return None
        if dated:
            values = {**values, due.DUE_TIME: dated}
        return group.plain.row(self.records.next_id(), values)

    def _dated(self, group: _Group, collection: str, values: Mapping[str, object]) -> str:
        """Ask the guard of findings what it would say of a new one; empty if there is no time."""
        key = tuple(map(values.get, _DATED_BY))
        known = group.dated.get(key)
        if known is None:
            kind = self.records.store.target(collection).kind
            asked = {name: values[name] for name in _DATED_BY if name in values}
            asked |= {name: value for name, value in group.common.items() if name == _PROJECT}
            record = Record()
            fill(kind, record, asked)
            self.records.guard.settle(kind, None, record)
            body: Any = getattr(record, kind.body_field or "")
            has_time = due.has_due_time(body) and body.HasField(due.DUE_TIME)
            known = body.due_time.ToJsonString() if has_time else ""
            group.dated[key] = known
        return known

    async def _store(
        self,
        connection: AsyncConnection,
        group: _Group,
        collection: str,
        staged: Sequence[Sequence[Any]],
    ) -> tuple[dict[str, Fate], "_Known"]:
        """Write staged rows; give what became of those that were written, by their ids."""
        sets, seen = group.sets, group.seen
        if seen is not None:
            await seen.open(connection)
        groups = seen.groups if seen is not None else []
        await sets.staging.fill(connection, group.in_order(staged))
        known = _Known({})
        if not group.are_first:
            known = _Known(await sets.seen_in(connection, groups))
            known.joined = await sets.see_again(connection, groups)
        fates = dict.fromkeys((*known.stayed, *known.joined), Fate.UNCHANGED)
        if len(fates) == len(staged):
            return fates, known
        others = {*fates, *await self._moved(connection, group, collection, staged)}
        added = await sets.add(connection, [row[0] for row in staged], sorted(others))
        at, prefix = group.plain.places[STATUS], f"tenants/{self.records.tenant}/{collection}/"
        begun = [(prefix + row[0], row[at]) for row in staged if row[0] in added]
        scan = str(group.common.get(_SCAN, ""))
        await self.records.steps.begin(connection, begun, scan)
        known.joined |= {each: each for each in added}
        return fates | dict.fromkeys(added, Fate.CREATED), known

    async def _moved(
        self,
        connection: AsyncConnection,
        group: _Group,
        collection: str,
        staged: Sequence[Sequence[Any]],
    ) -> set[str]:
        """Give the ids of rows that are known findings which were somewhere else."""
        moves = None if group.are_first else await self.records.moves(connection, collection)
        if moves is None:
            return set()
        unknown = await group.sets.unknown(connection)
        target, places = self.records.store.target(collection), group.plain.places
        pattern = target.kind.references[_RULE]
        moved = set()
        for row in staged:
            told = row[places[FINGERPRINTS]]
            if row[0] in unknown and told is not None:
                rule = pattern.format(self.records.tenant, row[places[_RULE]])
                # Behind the mark of its binary form.
                if moves.find(rule, orjson.loads(told[1:])):
                    moved.add(row[0])
        return moved
