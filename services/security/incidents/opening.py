"""Incidents that records of other kinds give rise to."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.sql.changes import RecordChange
from mesh.sql.store import Store
from secmesh.security.v1.incident_pb2 import Incident, IncidentStatus
from secmesh.security.v1.vocabulary_pb2 import Severity
from services.security.editing import RecordEditor, required_tenant
from services.security.findings.due import SEVERITY, set_moment
from services.security.incidents.life import INCIDENTS
from services.security.incidents.machine import incident_machine

SOURCE = "record"
"""Says of an incident that a record gave rise to it; its id there is that of the change."""
_SCALES = ("Severity", "SonarSeverity")
"""Enums of severities; their values count from 1, informing, to 5."""


class Opening:
    """Opens one incident for a record, and no other while that is open."""

    def __init__(self, store: Store, editor: RecordEditor) -> None:
        self._store = store
        self._editor = editor
        self._open = incident_machine().open

    async def incident_of(
        self, connection: AsyncConnection, book: Any, change: RecordChange
    ) -> str:
        """Give the open incident of a record, a new one if there is none; ResourceExists."""
        tenant, ref = required_tenant(change.name), change.name.split("/", 2)[2]
        found = await self._find(connection, tenant, f"{ref}@")
        return found or await self._add(
            connection, tenant, f"{ref}@{change.revision}", book, change
        )

    async def _find(self, connection: AsyncConnection, tenant: str, start: str) -> str:
        columns = self._store.target(INCIDENTS).table.c
        found = self._store.select(INCIDENTS, tenant, ["id"]).where(
            columns.source == SOURCE,
            sa.func.starts_with(columns.source_ref, start),
            columns.status.in_(self._open),
        )
        rows = await self._store.fetch(found.order_by(columns.id).limit(1), connection)
        return f"tenants/{tenant}/{INCIDENTS}/{rows[0][0]}" if rows else ""

    async def _add(
        self, connection: AsyncConnection, tenant: str, ref: str, book: Any, change: RecordChange
    ) -> str:
        body, record = book.response_playbook, change.after
        least = body.min_severity or Severity.SEVERITY_MEDIUM
        incident: Any = Incident(
            # What a record says is for those who may read it.
            title=body.name,
            description=f"Opened for {change.name}.",
            source=SOURCE,
            source_ref=ref,
            status=IncidentStatus.INCIDENT_STATUS_NEW,
            affected_assets=[change.name],
        )
        incident.severity = severity_of(record) or least
        if body.category_id:
            incident.category_id = body.category_id
        set_moment(incident, "detect_time", self._editor.clock())
        made = await self._editor.add(connection, tenant, INCIDENTS, incident)
        return str(made.name)


def severity_of(record: Any) -> int:
    """Give how grave a record is, from 1 to 5; 0 if it does not say."""
    body = getattr(record, record.WhichOneof("body"))
    field = body.DESCRIPTOR.fields_by_name.get(SEVERITY)
    if field is None or field.enum_type is None or field.enum_type.name not in _SCALES:
        return 0
    number: int = getattr(body, SEVERITY)
    return number
