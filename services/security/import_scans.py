"""The scans that one report tells of, what they found, and what they found no more."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.catalogue import Kind
from mesh.sql.sighting_store import SightingStore
from mesh.sql.sightings import sightings_of
from secmesh.security.v1.record_pb2 import Record
from services.security.import_fill import fill
from services.security.import_known import Known
from services.security.import_moves import may_move
from services.security.import_projects import Projects
from services.security.import_seen import Seen, learn
from services.security.import_state import LIVES
from services.security.import_store import Draft, Fate, ReportStore

_SCOPES = {
    "sast_scans": ("project_id", "branch", "tool_name", "automation_id"),
    "dast_scans": ("project_id", "tool_name", "target_url"),
    "app_security_scans": ("project_id", "branch", "tool_name", "target"),
}
"""What scans have in common that look at the same thing."""
_TOLD = {
    Fate.CREATED: ("new_issues", "new_count"),
    Fate.CLOSED: ("fixed_issues", "fixed_count"),
    Fate.REOPENED: ("reopened_issues",),
    Fate.UNCHANGED: ("unchanged_issues",),
    Fate.UPDATED: ("unchanged_issues",),
    Fate.MOVED: ("unchanged_issues",),
}
"""Fields of scans in which the fates of findings are counted."""


@dataclass
class _Scan:
    collection: str
    name: str
    project: str
    record: Any
    seen: dict[str, Seen] = field(default_factory=dict)
    """What was seen again of its scope, by the collection of findings."""
    fates: Counter[Fate] = field(default_factory=Counter)
    severities: Counter[str] = field(default_factory=Counter)


@dataclass
class Scans:
    """The scans of one report, by the number of their run."""

    records: ReportStore
    projects: Projects
    _by_run: dict[int, _Scan] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The records of the scans, each once."""
        return list(dict.fromkeys(scan.name for scan in self._by_run.values()))

    def name(self, run: int) -> str:
        """The record of a run's scan, empty if there is none."""
        scan = self._by_run.get(run)
        return scan.name if scan else ""

    def count(self, run: int, fate: Fate, severity: str) -> None:
        """Count a finding of a run."""
        self.count_all(run, Counter([(fate, severity)]))

    def count_all(self, run: int, found: Mapping[tuple[Fate, str], int]) -> None:
        """Count findings of a run by what became of them and how severe they are."""
        if scan := self._by_run.get(run):
            for (fate, severity), number in found.items():
                scan.fates[fate] += number
                scan.severities[severity] += number

    async def have_project(self, connection: AsyncConnection, collection: str) -> bool:
        """Tell whether the project of scans of a collection is there already."""
        kind = self.records.store.target(collection).kind
        return await self.projects.is_known(connection, _project_of(kind))

    async def begin(
        self, connection: AsyncConnection, run: int, collection: str, values: dict[str, object]
    ) -> bool:
        """Store a scan; tell whether it was not there before this report."""
        kind = self.records.store.target(collection).kind
        project = await self.projects.name(connection, _project_of(kind))
        values = {"project_id": project, **values}
        record = _record(kind, values)
        same = await self.records.known(connection, collection, record)
        earlier = next((each for each in self._by_run.values() if each.name == same), None)
        if same and earlier is None:
            self._by_run[run] = _Scan(collection, same, str(values["project_id"]), record)
            return False
        if earlier is not None and _tool(earlier.record, kind) == _tool(record, kind):
            self._by_run[run] = earlier
            return True
        if earlier is not None and "automation_id" in kind.descriptor.fields_by_name:
            # Runs of several tools in one report: the tool tells their scans apart.
            values["automation_id"] = f"{values['tool_name']}/{values.get('automation_id', '')}"
            return await self.begin(connection, run, collection, values)
        draft = Draft(record)
        await self.records.write(connection, collection, [draft])
        if draft.error is not None:
            raise draft.error
        self._by_run[run] = _Scan(collection, draft.name, str(values["project_id"]), record)
        return True

    async def learn(self, connection: AsyncConnection) -> dict[int, Known]:
        """Read what is known of the results of each run."""
        found: dict[int, Known] = {}
        by_scope: dict[str, Known] = {}
        for run, scan in self._by_run.items():
            stores = list(self._sightings(scan).values())
            if len(stores) == 1:
                scope = stores[0].scope
                if scope not in by_scope:
                    by_scope[scope] = await learn(connection, stores[0])
                found[run] = by_scope[scope]
        return found

    async def see(self, connection: AsyncConnection, known: Mapping[int, Known]) -> None:
        """Take the groups that the scopes of the scans have. Raises KnownChanged."""
        by_scope: dict[tuple[str, str], Seen] = {}
        for run, scan in self._by_run.items():
            for collection, store in self._sightings(scan).items():
                seen = by_scope.get((collection, store.scope))
                if seen is None:
                    told = known.get(run) or await learn(connection, store)
                    group, records = scan.name.rpartition("/")[2], self.records
                    seen = Seen(store, told, group, records.etag, records.micros)
                    await seen.begin(connection)
                    by_scope[collection, store.scope] = seen
                    records.groups.setdefault(collection, []).append(seen)
                scan.seen[collection] = seen

    def seen(self, run: int, collection: str) -> Seen | None:
        """Give what was seen again of the scope of a run; None where findings keep that."""
        scan = self._by_run.get(run)
        return scan.seen.get(collection) if scan is not None else None

    def groups(self, run: int) -> list[str]:
        """Name the collections of findings that are told by what was known of a run."""
        return list(self._by_run[run].seen)

    def _sightings(self, scan: _Scan) -> dict[str, SightingStore]:
        """Give the sightings of the findings that a scan sees, by their collection."""
        records = self.records
        scope = records.scope(scan.collection, _SCOPES[scan.collection], scan.record)
        return {
            collection: SightingStore(records.store, collection, records.tenant, scope)
            for collection in self._findings(scan.collection)
            if sightings_of(records.store.target(collection).table)
        }

    async def problem(self, connection: AsyncConnection) -> str:
        """Give what was wrong with the report of the last of these scans, as it is stored."""
        scan = list(self._by_run.values())[-1]
        found: Any = await self.records.store.get(scan.collection, scan.name, connection=connection)
        body = getattr(found, found.WhichOneof("body"))
        return str(body.error_message)

    async def find_moved(self, connection: AsyncConnection, shown: frozenset[int]) -> None:
        """Find the findings that may be somewhere else now; ``shown`` is where they are not."""
        own = {name.rpartition("/")[2] for name in self.names}
        for scan in self._each():
            scopes = await self.records.scopes(
                connection, scan.collection, _SCOPES[scan.collection], scan.record
            )
            for collection in self._findings(scan.collection):
                if scopes - own and may_move(collection, self.records.store):
                    where = {
                        "project_id": scan.project.rpartition("/")[2],
                        "branch": self.projects.branch,
                    }
                    seen = scan.seen.get(collection)
                    self.records.find_moved(collection, where, seen, scopes - own, shown)

    async def close_absent(self, connection: AsyncConnection) -> bool:
        """Close what the scans of this report do not show; tell whether there is a scan."""
        own = {name.rpartition("/")[2] for name in self.names}
        for scan in self._each():
            scopes = await self.records.scopes(
                connection, scan.collection, _SCOPES[scan.collection], scan.record
            )
            for collection in self._findings(scan.collection):
                closed = await self.records.close_absent(
                    connection,
                    collection,
                    scan.project,
                    scan.seen.get(collection),
                    scopes - own,
                    scan.name,
                )
                scan.fates[Fate.CLOSED] += closed
        return bool(own)

    async def finish(self, connection: AsyncConnection) -> None:
        """Write into the scans what they found."""
        for seen in {
            id(each): each for scan in self._each() for each in scan.seen.values()
        }.values():
            await seen.finish(connection)
        for scan in self._each():
            told = {name: 0 for names in _TOLD.values() for name in names}
            for fate, names in _TOLD.items():
                for name in names:
                    told[name] += scan.fates[fate]
            for severity in ("critical", "high", "medium", "low", "info"):
                told[f"{severity}_count"] = scan.severities[severity.upper()]
            await self.records.tell(connection, scan.collection, {scan.name: told})

    def _each(self) -> list[_Scan]:
        return list({scan.name: scan for scan in self._by_run.values()}.values())

    def _findings(self, scans: str) -> list[str]:
        """The kinds of findings that say by which scan they were seen last."""
        found = []
        for collection in LIVES:
            pattern = self.records.store.target(collection).kind.references.get("scan_id")
            if pattern is not None and pattern.text.split("/")[2] == scans:
                found.append(collection)
        return found


def _record(kind: Kind, values: dict[str, object]) -> Any:
    record = Record()
    known = kind.descriptor.fields_by_name
    fill(kind, record, {name: value for name, value in values.items() if name in known})
    return record


def _project_of(kind: Kind) -> str:
    return kind.references["project_id"].text.split("/")[2]


def _tool(record: Any, kind: Kind) -> str:
    return str(getattr(record, kind.body_field or "").tool_name)
