"""Adds up the records of a project; each kind in one statement, whatever their number."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.sql.references import ID
from mesh.sql.store import Store
from secmesh.security.v1.vocabulary_pb2 import HotspotStatus, ScanStatus
from services.security.findings.machine import Machine
from services.security.gates.metrics import NEW, Coverage, Facts, Found, Hotspots, Tally
from services.security.gates.new_code import Period
from services.security.gates.subject_store import Scan, Subject, Subjects

_REPORTS = "sast_maintainability_reports"
_NO_SCAN = "no scan of it is complete"
_NO_PREVIOUS = "no complete scan came before the last one"
_COMPLETED = ScanStatus.SCAN_STATUS_COMPLETED


class Measures:
    """Reads the facts of projects."""

    def __init__(self, store: Store, machines: Mapping[str, Machine]) -> None:
        """Count findings by their declared lives: closed ones do not."""
        self._store = store
        self._machines = machines
        self._subjects = Subjects(store)

    async def facts(
        self,
        connection: AsyncConnection,
        subject: Subject,
        branch: str,
        scans: Sequence[Scan],
        period: Period,
    ) -> Facts:
        """Add up a project: its code as of the branch's scans, all else as it is now."""
        tenant, whole = subject.tenant, [subject.whole] if subject.whole else []
        app = await self._subjects.scans(connection, "app_security_scans", tenant, whole)
        dast = await self._subjects.scans(connection, "dast_scans", tenant, subject.running)
        code = [subject.code] if subject.code else []
        known: dict[str, Any] = {}
        if code:
            known["coverage"] = await self._coverage(connection, subject, branch)
            known["duplicated_lines"] = await self._duplicated(connection, subject, branch)
            known["measures"] = await self._brought(connection, subject, branch)
            known["hotspots"] = await self._hotspots(connection, subject, branch, scans, period)
            known["lines"] = await self._lines(connection, subject, branch, known["measures"])
        return Facts(
            code=await self._found(
                connection, "sast_issues", (tenant, code), scans, period, branch
            ),
            dependencies=await self._found(
                connection, "app_security_issues", (tenant, whole), app, period
            ),
            running=await self._found(
                connection, "dast_vulnerabilities", (tenant, subject.running), dast, period
            ),
            **known,
        )

    async def _found(
        self,
        connection: AsyncConnection,
        collection: str,
        projects: tuple[str, Sequence[str]],
        scans: Sequence[Scan],
        period: Period,
        branch: str = "",
    ) -> Found:
        """Count the open findings of projects; those alike are one row."""
        if not scans:
            return Found(unknown=_NO_SCAN)
        columns = self._store.target(collection).table.c
        tenant, ids = projects
        states = self._machines[collection].states.values()
        is_open = columns.status.in_([each.number for each in states if not each.closed])
        statement = self._store.select(collection, tenant, [ID]).where(
            columns.project_id.in_(ids), is_open
        )
        if branch:
            statement = statement.where(columns.branch == branch)
        keys = _alike(columns, self._is_new(columns, scans, period))
        tallies = await self._tallies(connection, statement, columns, keys)
        return Found(tallies, new_unknown=_new_unknown(scans, period))

    async def _tallies(
        self,
        connection: AsyncConnection,
        statement: sa.Select[Any],
        columns: Any,
        keys: Mapping[str, Any],
    ) -> list[Tally]:
        """Count rows by what they have in common."""
        effort = columns.effort_minutes if "effort_minutes" in columns else sa.literal(0)
        inner = statement.with_only_columns(
            *(column.label(name) for name, column in keys.items()), effort.label("effort")
        ).subquery()
        named = [inner.c[name] for name in keys]
        rows: Sequence[Any] = await self._store.fetch(
            sa.select(*named, sa.func.count(), sa.func.coalesce(sa.func.sum(inner.c.effort), 0))
            .group_by(*named)
            .execution_options(**statement.get_execution_options()),
            connection,
        )
        return [
            Tally(**dict(zip(keys, row, strict=False)), count=row[-2], effort=int(row[-1]))
            for row in rows
        ]

    @staticmethod
    def _is_new(columns: Any, scans: Sequence[Scan], period: Period) -> sa.ColumnElement[bool]:
        """Condition that a finding is of new code."""
        if period.since is not None:
            found: Any = columns.first_seen_time >= period.since
        elif "first_scan_id" in columns:
            found = columns.first_scan_id.in_([scan.id for scan in scans])
        else:
            # Findings and their scan are written at one moment.
            found = sa.or_(
                sa.false(),
                *(
                    sa.and_(columns.scan_id == scan.id, columns.create_time >= scan.create_time)
                    for scan in scans
                ),
            )
        return sa.func.coalesce(found, sa.false())

    async def _hotspots(
        self,
        connection: AsyncConnection,
        subject: Subject,
        branch: str,
        scans: Sequence[Scan],
        period: Period,
    ) -> Mapping[bool, Hotspots]:
        collection = "sast_security_hotspots"
        columns = self._store.target(collection).table.c
        base = self._of_branch(collection, subject, branch)
        is_reviewed = columns.status == HotspotStatus.HOTSPOT_STATUS_REVIEWED
        is_new = self._is_new(columns, scans, period)
        counts: list[Any] = [
            sa.func.count().filter(sa.and_(reviewed, new))
            for new in (sa.true(), is_new)
            for reviewed in (is_reviewed, sa.not_(is_reviewed))
        ]
        found: Sequence[Any] = await self._store.fetch(base.with_only_columns(*counts), connection)
        (row,) = found
        return {False: Hotspots(row[0], row[1]), True: Hotspots(row[2], row[3])}

    async def _coverage(
        self, connection: AsyncConnection, subject: Subject, branch: str
    ) -> Coverage | None:
        columns = self._store.target("sast_code_coverage").table.c
        whole = sa.func.coalesce(columns.conditions_to_cover, 0)
        covered = sa.func.coalesce(
            columns.covered_lines, columns.lines_to_cover - columns.uncovered_lines, 0
        )
        sums = [
            sa.func.sum(sa.func.coalesce(columns.lines_to_cover, 0)),
            sa.func.sum(covered),
            sa.func.sum(whole),
            sa.func.sum(whole - sa.func.coalesce(columns.uncovered_conditions, 0)),
        ]
        statement = self._last_scanned("sast_code_coverage", subject, branch)
        (row,) = await self._store.fetch(statement.with_only_columns(*sums), connection)
        return None if row[0] is None else Coverage(*(int(each) for each in row))

    async def _duplicated(
        self, connection: AsyncConnection, subject: Subject, branch: str
    ) -> int | None:
        """Count lines that stand elsewhere too, each once, however many copies overlap."""
        columns = self._store.target("sast_duplications").table.c
        lines = sa.func.int8range(columns.start_line, columns.end_line, "[]")
        ranges = sa.func.range_agg(lines, type_=postgresql.INT8MULTIRANGE())
        part = sa.func.unnest(ranges, type_=postgresql.INT8RANGE())
        statement = self._last_scanned("sast_duplications", subject, branch)
        inner = statement.with_only_columns(part.label("part")).group_by(columns.file_path)
        parts = inner.subquery()
        total = sa.func.sum(sa.func.upper(parts.c.part) - sa.func.lower(parts.c.part))
        options = statement.get_execution_options()
        (row,) = await self._store.fetch(sa.select(total).execution_options(**options), connection)
        return None if row[0] is None else int(row[0])

    async def _lines(
        self,
        connection: AsyncConnection,
        subject: Subject,
        branch: str,
        brought: Mapping[tuple[str, bool], float],
    ) -> int | None:
        """Give the lines of code: as measured, as last reported, or as the project has them."""
        if ("ncloc", False) in brought:
            return int(brought["ncloc", False])
        columns = self._store.target(_REPORTS).table.c
        reports = self._store.select(_REPORTS, subject.tenant, ["lines_of_code"]).where(
            columns.lines_of_code.is_not(None),
            columns.scan_id.in_(self._scan_ids(subject, branch)),
        )
        latest = reports.order_by(columns.generate_time.desc(), columns[ID].desc()).limit(1)
        rows = await self._store.fetch(latest, connection)
        lines: int | None = rows[0][0] if rows else subject.row["lines_of_code"]
        return lines

    async def _brought(
        self, connection: AsyncConnection, subject: Subject, branch: str
    ) -> Mapping[tuple[str, bool], float]:
        """Give the last measure of each metric that a scan of the branch brought."""
        collection = "sast_project_metrics"
        columns = self._store.target(collection).table.c
        is_new = sa.func.coalesce(columns.on_new_code, sa.false())
        key = (columns.metric_key, is_new)
        names = ["metric_key", "value"]
        statement = (
            self._store.select(collection, subject.tenant, names)
            .add_columns(is_new)
            .where(
                columns.project_id == subject.code,
                columns.component_path.is_(None),
                columns.value.is_not(None),
                columns.scan_id.in_(self._scan_ids(subject, branch)),
            )
            .distinct(*key)
            .order_by(*key, columns.measure_time.desc(), columns[ID].desc())
        )
        rows: Sequence[Any] = await self._store.fetch(statement, connection)
        return {
            (str(metric).removeprefix(NEW), new or str(metric).startswith(NEW)): value
            for metric, value, new in rows
        }

    def _last_scanned(self, collection: str, subject: Subject, branch: str) -> sa.Select[Any]:
        """Select the rows of the last complete scan of a branch that has any."""
        table = self._store.target(collection).table
        scans = self._store.target("sast_scans").table
        # The scan's own row first: it is found by its index, newest first.
        last = (
            self._scan_ids(subject, branch)
            .where(
                sa.exists().where(
                    table.c.tenant_id == subject.tenant, table.c.scan_id == scans.c[ID]
                )
            )
            .order_by(scans.c.create_time.desc(), scans.c[ID].desc())
            .limit(1)
        )
        statement = self._store.select(collection, subject.tenant, [ID])
        return statement.where(table.c.scan_id == last.scalar_subquery())

    def _scan_ids(self, subject: Subject, branch: str) -> sa.Select[Any]:
        columns = self._store.target("sast_scans").table.c
        return self._store.select("sast_scans", subject.tenant, [ID]).where(
            columns.project_id == subject.code,
            columns.branch == branch,
            columns.status == _COMPLETED,
        )

    def _of_branch(self, collection: str, subject: Subject, branch: str) -> sa.Select[Any]:
        columns = self._store.target(collection).table.c
        return self._store.select(collection, subject.tenant, [ID]).where(
            columns.project_id == subject.code, columns.branch == branch
        )


def _alike(columns: Any, is_new: sa.ColumnElement[bool]) -> Mapping[str, Any]:
    """Give what findings have in common that are counted as one row."""
    return {
        "severity": columns.severity,
        "new": is_new,
        "type": columns.issue_type if "issue_type" in columns else sa.literal(0),
        "exploited": sa.func.coalesce(columns.known_exploited, sa.false())
        if "known_exploited" in columns
        else sa.false(),
    }


def _new_unknown(scans: Sequence[Scan], period: Period) -> str:
    if period.problem:
        return period.problem
    known = period.since is not None or any(scan.has_previous for scan in scans)
    return "" if known else _NO_PREVIOUS
