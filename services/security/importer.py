"""Imports one report: two readings, and one transaction for all that it says."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from google.api.field_behavior_pb2 import REQUIRED
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.catalogue import Catalogue, Kind
from mesh.errors import Refusal
from mesh.records.fields import behaves
from mesh.records.moments import Clock
from mesh.sql.store import Store
from secmesh.security.v1.record_pb2 import Record
from services.security.findings.life import FindingLife
from services.security.import_bulk import BulkFindings
from services.security.import_fill import fill
from services.security.import_projects import Projects
from services.security.import_result import Result, Wanted
from services.security.import_scans import Scans
from services.security.import_seen import KnownChanged
from services.security.import_store import Draft, Fate, ReportStore
from services.security.import_survey import Seen, Survey, begin, finish, survey
from services.security.importing.limits import MIB
from services.security.importing.mapping import DESTINATIONS, Mapper
from services.security.importing.mapping_code import invented_rule, rule_key
from services.security.importing.model import (
    Finding,
    Item,
    Problem,
    Rejected,
    Rule,
    Same,
    Tool,
)
from services.security.importing.rows import SHARED, Context, Row, in_order
from services.security.importing.rows import time as report_time
from services.security.importing.spool import Spool

_BATCH, _BATCH_BYTES = 3000, 4 * MIB
"""Items of a report that are read and written at once, and bytes of it that they come from."""
DEFAULT_BRANCH = "main"


class _Undone(Exception):
    """Ends the transaction of what is not to be kept."""


class Importer:
    """Imports reports into the records of a catalogue."""

    def __init__(self, catalogue: Catalogue, store: Store, life: FindingLife, clock: Clock) -> None:
        self._catalogue = catalogue
        self._store = store
        self._life = life
        self._clock = clock

    async def run(self, wanted: Wanted, spool: Spool) -> Result:
        """Import a report; all of it that can be stored, or on a refusal nothing.

        Raises ReportFormatUnknown, ReportFormatUnsupported, FieldInvalid and ResourceNotFound.
        """
        seen, items = await asyncio.to_thread(begin, spool, wanted.format_name)
        if seen.knows_tools and (result := await self._known(wanted, spool, seen)):
            return result
        await asyncio.to_thread(finish, seen, items)
        try:
            return await self._stored(wanted, spool, seen)
        except KnownChanged:
            seen = await asyncio.to_thread(survey, spool, wanted.format_name)
            return await self._stored(wanted, spool, seen)

    async def _stored(self, wanted: Wanted, spool: Spool, seen: Survey) -> Result:
        """Store a report that was read once. Raises KnownChanged."""
        result = Result(seen.format_name, spool.sha256, seen.problem)
        report = self._report(wanted, spool, seen, result)
        try:
            async with self._store.shared_transaction(wanted.tenant) as connection:
                await report.store(connection)
        except _Undone:
            pass
        return result

    def _report(self, wanted: Wanted, spool: Spool, seen: Survey, result: Result) -> "_Report":
        result.records = ReportStore(
            self._store, self._catalogue, self._life, wanted.tenant, self._clock(), spool.sha256
        )
        return _Report(wanted, seen, result.records, result, spool)

    async def _known(self, wanted: Wanted, spool: Spool, seen: Survey) -> Result | None:
        """Look whether a report was imported before, without reading its results."""
        result = Result(seen.format_name, spool.sha256, seen.problem)
        report = self._report(wanted, spool, seen, result)
        try:
            async with self._store.shared_transaction(wanted.tenant) as connection:
                await report.know(connection)
        except _Undone:
            pass
        return result if result.unchanged else None


@dataclass
class _Report:
    """One report on its way into the store."""

    wanted: Wanted
    seen: Survey
    records: ReportStore
    result: Result
    spool: Spool
    _names: dict[tuple[str, str], str] = field(default_factory=dict)
    _invented: set[tuple[str, str]] = field(default_factory=set)
    _last_context: tuple[tuple[int, str], Context | None] = ((0, ""), None)
    _said: dict[tuple[str, int], Mapping[str, object]] = field(default_factory=dict)
    """What the records of a collection have in common, by collection and run."""
    _same: Counter[tuple[int, str]] = field(default_factory=Counter)
    """Results that were not read, by run and severity."""

    def __post_init__(self) -> None:
        said = next((tool.branch for tool in self.seen.tools.values() if tool.branch), "")
        self._branch = self.wanted.branch or said or DEFAULT_BRANCH
        moment = datetime.fromtimestamp(self.records.micros / 1_000_000, UTC).isoformat()
        self._time = moment.replace("+00:00", "Z")
        self._projects = Projects(self.records, self.wanted.project, self._branch, self.seen.target)
        self._has_scans = bool(DESTINATIONS[self.seen.format_name].scans)
        self._mapper = Mapper(
            self.seen.format_name, self._context(0), self.result.sha256, self.seen.graph
        )
        self._scans = Scans(self.records, self._projects)
        self._bulk = BulkFindings(self.records)

    async def know(self, connection: AsyncConnection) -> None:
        """Begin the scans; if one was there, this report was imported before. Raises _Undone.

        Otherwise read what is known of results, so that these need not be read. Of a project that
        is not there nothing is.
        """
        scans = DESTINATIONS[self.seen.format_name].scans
        if scans and not await self._scans.have_project(connection, scans):
            raise _Undone
        if not await self._begin_scans(connection):
            self.result.unchanged = True
            self.result.problem = await self._scans.problem(connection)
        else:
            self.seen.known = await self._scans.learn(connection)
        raise _Undone

    async def store(self, connection: AsyncConnection) -> None:
        """Store everything, then close what is absent. Raises _Undone if nothing is to be kept."""
        if not await self._begin_scans(connection):
            self.result.unchanged = True
            raise _Undone
        await self._scans.see(connection, self.seen.known)
        if self.seen.moves:
            await self._scans.find_moved(connection, frozenset(self.seen.shown))
        items = self.seen.items(self.spool)
        while batch := await asyncio.to_thread(self._rows, items):
            await self._write(connection, batch)
        self._count_same()
        if self.wanted.close_absent and not self.result.problem and not self.result.rejected:
            self.result.absent_closed = await self._scans.close_absent(connection)
        await self._scans.finish(connection)
        if not self.wanted.keep:
            raise _Undone

    def _count_same(self) -> None:
        """Count the results that were not read: findings as they were."""
        for (run, severity), number in self._same.items():
            self._scans.count_all(run, {(Fate.UNCHANGED, severity): number})
            for collection in self._scans.groups(run):
                self.records.count_unchanged(collection, number)

    async def _begin_scans(self, connection: AsyncConnection) -> bool:
        """Store the scans; tell whether this report was not imported before."""
        for run, tool in self.seen.tools.items():
            self._mapper.context = self._context(run)
            for row in self._mapper.rows(tool):
                if isinstance(row, Row):
                    values = {**row.values, "branch": self._branch}
                    if values.get("target_url") == "unknown":
                        values["target_url"] = self.seen.target
                    if self.seen.problem:
                        values |= {"status": "FAILED", "error_message": self.seen.problem}
                    if not await self._scans.begin(connection, run, row.collection, values):
                        self.result.scans = self._scans.names
                        return False
        self.result.scans = self._scans.names
        return True

    def _context(self, run: int, seen_time: str = "") -> Context:
        last, context = self._last_context
        if context is None or last != (run, seen_time):
            tool = self.seen.tools.get(run)
            context = Context(
                (tool.name if tool else "") or self.seen.format_name,
                seen_time or self._time,
                DESTINATIONS[self.seen.format_name].security_tool,
            )
            self._last_context = (run, seen_time), context
        return context

    def _rows(self, items: Iterator[Seen]) -> list[tuple[Item, Row | Rejected]]:
        """Map the next items; none at the end of the report."""
        mapped: list[tuple[Item, Row | Rejected]] = []
        began = self.spool.position
        for taken, (item, known) in enumerate(items, 1):
            if isinstance(item, Tool):
                continue
            if isinstance(item, Same):
                self._same[item.run, item.severity] += 1
                continue
            if isinstance(item, Finding | Rule):
                self._mapper.context = self._context(item.run, self._seen_time(item))
            rows = self._mapper.rows(item, known)
            mapped += [(item, row) for row in rows if not isinstance(row, Problem)]
            whole = taken >= _BATCH or self.spool.position - began >= _BATCH_BYTES
            if mapped and whole:
                break
        return mapped

    def _seen_time(self, item: Finding | Rule) -> str:
        """When a tool without scans saw a finding: sent again, the report then changes nothing."""
        if self._has_scans or isinstance(item, Rule):
            return ""
        return report_time(item.seen_time) or ""

    async def _write(
        self, connection: AsyncConnection, batch: Sequence[tuple[Item, Row | Rejected]]
    ) -> None:
        waiting: dict[str, list[tuple[Item, Row]]] = {}
        named: set[tuple[int, str]] = set()
        for item, row in batch:
            if isinstance(row, Rejected):
                self.result.reject(row)
            else:
                waiting.setdefault(row.collection, []).append((item, row))
                self._invent_rule(item, row, waiting, named)
        for collection in in_order(waiting):
            await self._write_rows(connection, collection, waiting[collection])

    def _invent_rule(
        self,
        item: Item,
        row: Row,
        waiting: dict[str, list[tuple[Item, Row]]],
        named: set[tuple[int, str]],
    ) -> None:
        """Make the rule of an issue that the report does not describe, or not yet; each once."""
        if row.collection != "sast_issues" or not isinstance(item, Finding):
            return
        if (item.run, item.rule_key) in named:
            return
        named.add((item.run, item.rule_key))
        context = self._context(item.run)
        key = rule_key(context, item.rule_key)
        if ("sast_rules", key) in self._names:
            return
        # Behind the rules that the report describes: the first of a key is taken.
        invented = invented_rule(key, item, row, context)
        waiting.setdefault("sast_rules", []).append((item, invented))

    async def _write_rows(
        self, connection: AsyncConnection, collection: str, rows: Sequence[tuple[Item, Row]]
    ) -> None:
        drafts: list[tuple[Draft, Item, Row]] = []
        if self._bulk.concerns(collection):
            rows = await self._write_bulk(connection, collection, rows)
        for item, row in self._first_of_each(collection, rows):
            draft = Draft(Record(), getattr(item, "index", -1), getattr(item, "pointer", ""))
            try:
                await self._fill(connection, draft, item, row)
            except Refusal as refused:
                self.records.count(collection, Fate.REJECTED)
                self.result.reject(Rejected(draft.index, draft.pointer, refused.message))
                continue
            if self._is_invented(item, row):
                # What is known is left as it was described elsewhere.
                draft.name = await self.records.known(connection, collection, draft.record)
            if draft.name:
                self._names[(collection, row.key)] = draft.name
            else:
                drafts.append((draft, item, row))
        await self.records.write(connection, collection, [draft for draft, _, _ in drafts])
        for draft, item, row in drafts:
            self._done(draft, item, row)

    async def _write_bulk(
        self, connection: AsyncConnection, collection: str, rows: Sequence[tuple[Item, Row]]
    ) -> Sequence[tuple[Item, Row]]:
        """Write the findings of which no record need be read; give the others."""
        runs: dict[int, list[tuple[Finding, Row]]] = {}
        others: list[tuple[Item, Row]] = []
        for item, row in rows:
            if isinstance(item, Finding):
                runs.setdefault(item.run, []).append((item, row))
            else:
                others.append((item, row))
        for run, shown in runs.items():
            try:
                common = await self._shared(connection, collection, run)
            except Refusal:
                # Each of them is rejected for it.
                others += shown
                continue
            seen = self._scans.seen(run, collection)
            fates = await self._bulk.write(
                connection, (collection, run), common, shown, self._names, seen
            )
            others += [each for each, fate in zip(shown, fates, strict=True) if fate is None]
            self._scans.count_all(
                run,
                Counter(
                    (fate, item.severity)
                    for (item, _), fate in zip(shown, fates, strict=True)
                    if fate is not None
                ),
            )
        return others

    def _first_of_each(
        self, collection: str, rows: Sequence[tuple[Item, Row]]
    ) -> Iterator[tuple[Item, Row]]:
        """Pass over what was written before; a rule that is described replaces an invented one."""
        if collection not in SHARED:
            yield from rows
            return
        fresh: set[str] = set()
        # By key, so that imports side by side lock shared records in one order.
        for item, row in sorted(rows, key=lambda each: (self._is_invented(*each), each[1].key)):
            key = (collection, row.key)
            replaces = key in self._invented and not self._is_invented(item, row)
            if row.key not in fresh and (replaces or key not in self._names):
                fresh.add(row.key)
                yield item, row

    @staticmethod
    def _is_invented(item: Item, row: Row) -> bool:
        """Tell whether a record stands in for what the report only names."""
        if row.collection == "sast_rules":
            return not isinstance(item, Rule)
        return row.collection == "compliance_frameworks"

    def _done(self, draft: Draft, item: Item, row: Row) -> None:
        key = (row.collection, row.key)
        if draft.error is not None:
            self.result.reject(Rejected(draft.index, draft.pointer, draft.error.message))
        elif row.collection in SHARED:
            self._names[key] = draft.name
            (self._invented.add if self._is_invented(item, row) else self._invented.discard)(key)
        elif isinstance(item, Finding):
            self._scans.count(item.run, draft.fate, item.severity.value)

    async def _fill(self, connection: AsyncConnection, draft: Draft, item: Item, row: Row) -> None:
        kind = self.records.store.target(row.collection).kind
        shared = await self._shared(connection, row.collection, getattr(item, "run", 0))
        values = {**row.values, **shared}
        for name, refers in row.refers.items():
            values[name] = self._names.get(refers, "")
        if row.record_id:
            draft.record.name = kind.pattern.format(self.wanted.tenant, row.record_id)
        fill(kind, draft.record, {name: value for name, value in values.items() if value != ""})

    async def _shared(
        self, connection: AsyncConnection, collection: str, run: int
    ) -> Mapping[str, object]:
        shared = self._said.get((collection, run))
        if shared is None:
            kind = self.records.store.target(collection).kind
            shared = self._said[(collection, run)] = await self._of_all(connection, kind, run)
        return shared

    async def _of_all(
        self, connection: AsyncConnection, kind: Kind, run: int
    ) -> Mapping[str, object]:
        """Give what all records of a kind have in common that come from one run."""
        fields: Any = kind.descriptor.fields_by_name
        shared: dict[str, object] = {}
        project = fields.get("project_id")
        if project is not None and (self.wanted.project or behaves(project, REQUIRED)):
            shared["project_id"] = await self._projects.name(
                connection, kind.references["project_id"].text.split("/")[2]
            )
        if "scope_ref" in fields and self.wanted.project:
            shared["scope_ref"] = await self._projects.key(connection)
        if "branch" in fields:
            shared["branch"] = self._branch
        if scan := self._scans.name(run):
            shared |= {name: scan for name in ("scan_id", "first_scan_id") if name in fields}
        return shared
