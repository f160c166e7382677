"""Which records a gate judges: a project in its three kinds, its gate, and its last scans."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.names import collection_of, tenant_of
from mesh.errors import FieldInvalid
from mesh.sql.references import ID
from mesh.sql.store import Store
from secmesh.security.v1.vocabulary_pb2 import ScanStatus
from services.security.errors import QualityGateUndecided

_KEYS = {"projects": "key", "sast_projects": "key", "dast_projects": "name"}
"""By what a project is known in each kind."""
_WHOLE = "projects"
_GATES, _SETTINGS = "sast_quality_gates", "sast_project_settings"
_CREATED = "create_time"
_COMPLETED = ScanStatus.SCAN_STATUS_COMPLETED


@dataclass(frozen=True)
class Scan:
    """The last complete scan of one tool, and whether one came before it."""

    id: str
    create_time: int
    """Microseconds since 1970."""
    has_previous: bool


@dataclass(frozen=True)
class Subject:
    """A project by the ids of its records, empty or none where it has no such record."""

    tenant: str
    whole: str = ""
    """Of ``projects``."""
    code: str = ""
    """Of ``sast_projects``."""
    running: Sequence[str] = ()
    """Of ``dast_projects``."""
    row: Mapping[str, Any] = field(default_factory=dict)
    """What else is known of the project's code."""


class Subjects:
    """Finds what is to be judged; one statement for each kind."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def project(self, connection: AsyncConnection, name: str) -> Subject:
        """Find a project; FieldInvalid for another kind's name, ResourceNotFound."""
        collection, tenant = collection_of(name) or "", tenant_of(name) or ""
        if collection not in _KEYS:
            raise FieldInvalid.of("project", f"is none of {', '.join(_KEYS)}")
        named: Any = await self._store.get(collection, name, connection=connection)
        body = getattr(named, self._store.target(collection).kind.body_field or "")
        keys, own = {str(getattr(body, _KEYS[collection]))}, name.rpartition("/")[2]
        whole = own
        if collection != _WHOLE:
            whole, key = await self._whole(connection, tenant, body.project_id, keys)
            keys |= {key} - {""}
        code, running = [own], [own]
        if collection != "sast_projects":
            code = await self._ids(connection, tenant, "sast_projects", keys, whole)
        if collection != "dast_projects":
            running = await self._ids(connection, tenant, "dast_projects", keys, whole)
        first = code[0] if code else ""
        row = await self._row(connection, tenant, first) if first else {}
        return Subject(tenant, whole, first, running, row)

    async def _whole(
        self, connection: AsyncConnection, tenant: str, referred: str, keys: Set[str]
    ) -> tuple[str, str]:
        """Give id and key of the project that a part belongs to, empty if there is none."""
        columns = self._store.target(_WHOLE).table.c
        wanted = (
            columns[ID] == referred.rpartition("/")[2]
            if referred
            else columns.key.in_(sorted(keys))
        )
        statement = self._store.select(_WHOLE, tenant, [ID, "key"]).where(wanted)
        rows: Sequence[Any] = await self._store.fetch(statement, connection)
        return (str(rows[0][0]), str(rows[0][1])) if rows else ("", "")

    async def _ids(
        self,
        connection: AsyncConnection,
        tenant: str,
        collection: str,
        keys: Set[str],
        whole: str,
    ) -> list[str]:
        """Give the records of a project: those that refer to it, then that with its key."""
        columns = self._store.target(collection).table.c
        known: sa.ColumnElement[bool] = columns[_KEYS[collection]].in_(sorted(keys))
        if whole:
            refers = columns.project_id == whole
            known = sa.or_(refers, sa.and_(known, columns.project_id.is_(None)))
            statement = self._store.select(collection, tenant, [ID]).where(known)
            statement = statement.order_by(sa.case((refers, 0), else_=1), columns[ID])
        else:
            statement = self._store.select(collection, tenant, [ID]).where(known)
        return [str(row[0]) for row in await self._store.fetch(statement, connection)]

    async def _row(
        self, connection: AsyncConnection, tenant: str, project: str
    ) -> Mapping[str, Any]:
        names = ["quality_gate_id", "main_branch", "lines_of_code"]
        target = self._store.target("sast_projects")
        statement = self._store.select("sast_projects", tenant, names)
        (row,) = await self._store.fetch(statement.where(target.table.c[ID] == project), connection)
        settings = self._store.target(_SETTINGS).table
        more = ["quality_gate_id", "new_code_period", "new_code_value"]
        chosen = self._store.select(_SETTINGS, tenant, more)
        found = await self._store.fetch(
            chosen.where(settings.c.project_id == project).order_by(settings.c[ID]).limit(1),
            connection,
        )
        own = dict(zip(names, row, strict=True))
        rest = dict(zip(more, found[0], strict=True)) if found else {}
        return {**rest, **own, "quality_gate_id": own["quality_gate_id"] or rest.get(more[0])}

    async def gate(self, connection: AsyncConnection, subject: Subject, project: str) -> Any:
        """Give the record of the gate to judge by; QualityGateUndecided."""
        table = self._store.target(_GATES).table
        statement = self._store.select(_GATES, subject.tenant)
        if own := subject.row.get("quality_gate_id"):
            statement = statement.where(table.c[ID] == own)
        else:
            statement = statement.where(table.c.is_default.is_(sa.true())).limit(2)
        found = await self._store.messages(_GATES, statement, connection=connection)
        if len(found) != 1:
            raise QualityGateUndecided(project, len(found))
        return found[0]

    async def scans(
        self,
        connection: AsyncConnection,
        collection: str,
        tenant: str,
        projects: Sequence[str],
        branch: str = "",
    ) -> list[Scan]:
        """Give the last complete scan of each tool over these projects, newest first."""
        if not any(projects):
            return []
        columns = self._store.target(collection).table.c
        order = (columns[_CREATED].desc(), columns[ID].desc())
        alike: Any = {"partition_by": self._alike(collection), "order_by": order}
        inner = self._store.select(collection, tenant, [ID, _CREATED]).where(
            columns.project_id.in_(projects), columns.status == _COMPLETED
        )
        if branch:
            inner = inner.where(columns.branch == branch)
        ranked = inner.add_columns(
            sa.func.row_number().over(**alike).label("place"),
            sa.func.lead(columns[ID]).over(**alike).label("previous"),
        ).subquery()
        statement = (
            sa.select(ranked.c[ID], ranked.c[_CREATED], ranked.c.previous)
            .where(ranked.c.place == 1)
            .order_by(ranked.c[_CREATED].desc(), ranked.c[ID].desc())
        )
        rows: Sequence[Any] = await self._store.fetch(statement, connection)
        return [Scan(str(row[0]), row[1], row[2] is not None) for row in rows]

    def _alike(self, collection: str) -> list[Any]:
        """Give what scans have in common of which the later takes the place of the earlier."""
        columns = self._store.target(collection).table.c
        names = ("project_id", "branch", "tool_name", "target", "target_url")
        alike: list[Any] = [columns[name] for name in names if name in columns]
        if "automation_id" in columns:
            # The category: what stands before the last slash (SARIF 2.1.0, 3.17.3).
            text = sa.func.coalesce(columns.automation_id, "")
            alike.append(sa.func.regexp_replace(text, "/?[^/]*$", ""))
        return alike
