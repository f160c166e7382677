"""Steps in the life of an incident: checked, written and told in its history at once."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.errors import FieldInvalid
from mesh.sql.store import Store
from secmesh.security.v1.incident_category_pb2 import IncidentPriority
from secmesh.security.v1.incident_pb2 import Incident, IncidentStatusChange
from secmesh.security.v1.vocabulary_pb2 import Severity
from services.security.editing import RecordEditor, required_tenant
from services.security.errors import EscalationExhausted
from services.security.findings.due import moment_of, set_moment
from services.security.incidents.machine import RESOLUTION, incident_machine
from services.security.writers import SYSTEM

INCIDENTS, STEPS = "incidents", "incident_statuses"
PRIORITIES, TEAMS = "incident_priorities", "teams"
MINUTE = 60_000_000
"""Microseconds."""
_SECOND = 1_000_000


@dataclass(frozen=True)
class Words:
    """Who takes a step, and why."""

    actor: str
    reason: str = ""
    comment: str = ""
    etag: str = ""
    """Etag that the incident must still have; empty if any will do."""


class IncidentLife:
    """Takes steps within transactions of the caller; what is refused changes nothing.

    Every step raises ResourceNotFound and EtagMismatch.
    """

    def __init__(self, store: Store, editor: RecordEditor) -> None:
        self._store = store
        self._editor = editor
        self._steps = store.target(STEPS).table
        self._priorities = store.target(PRIORITIES).table
        self._machine = incident_machine()

    async def move(
        self, connection: AsyncConnection, name: str, status: int, words: Words, resolution: int = 0
    ) -> Any:
        """Change the status and give the record; TransitionRefused, FieldInvalid."""
        record = await self._editor.find(connection, name, words.etag)
        incident: Any = record.incident
        before = incident.status
        given = {"reason": words.reason.strip(), RESOLUTION: resolution or incident.resolution}
        state = self._machine.step(before, status, given)
        moment = self._editor.clock()
        priority = await self._priority(connection, incident.priority_id)
        late = _is_late(incident, priority, state.notes, moment)
        incident.status = state.number
        if resolution:
            incident.resolution = resolution
        for each in state.notes:
            if not incident.HasField(each):
                set_moment(incident, each, moment)
        for each in state.clears:
            incident.ClearField(each)
        await self.note(connection, record, before, words, late=late)
        return await self._editor.replace(connection, record)

    async def escalate(
        self,
        connection: AsyncConnection,
        name: str,
        words: Words,
        priority: str = "",
        severity: int = 0,
    ) -> Any:
        """Make an incident more urgent and give it; FieldInvalid, EscalationExhausted."""
        record = await self._editor.find(connection, name, words.etag)
        if not await self.raised(connection, record, priority, severity):
            raise EscalationExhausted(name)
        await self.note(connection, record, record.incident.status, words, late=False)
        return await self._editor.replace(connection, record)

    async def raised(
        self, connection: AsyncConnection, record: Any, priority: str = "", severity: int = 0
    ) -> bool:
        """Raise priority and severity of a record that is not written yet; False if it cannot.

        FieldInvalid for what is less urgent than before, ReferenceNotFound when it is written.
        """
        incident: Any = record.incident
        before = Incident()
        before.CopyFrom(incident)
        current = await self._priority(connection, incident.priority_id)
        if priority:
            wanted = (await self._editor.find(connection, priority)).incident_priority
            if current is not None and wanted.level >= current.level:
                raise FieldInvalid.of("priority", "must be more urgent than before", "NOT_RAISED")
        else:
            priority, wanted = await self._next(connection, record.name, current)
        if severity and severity < incident.severity:
            raise FieldInvalid.of("severity", "must not be less than before", "NOT_RAISED")
        incident.severity = severity or min(incident.severity + 1, Severity.SEVERITY_CRITICAL)
        if wanted is not None:
            incident.priority_id = priority
            if wanted.HasField("resolution_sla_minutes"):
                start = moment_of(incident, "detect_time")
                set_moment(incident, "due_time", start + wanted.resolution_sla_minutes * MINUTE)
        await self._hand_over(connection, incident, wanted or current)
        return bool(before != incident)

    async def note(
        self, connection: AsyncConnection, record: Any, before: int, words: Words, *, late: bool
    ) -> None:
        """Write a step into the history: from a status to that of the record."""
        tenant, moment = required_tenant(record.name), self._editor.clock()
        last = await self._last(connection, tenant, record.name)
        began = moment_of(record, "create_time") if last is None else last
        if last is None:
            # How it came: nobody wrote a step then.
            first: Any = IncidentStatusChange(incident_id=record.name, actor=SYSTEM)
            first.to_status = before
            set_moment(first, "change_time", began)
            await self._editor.add(connection, tenant, STEPS, first)
        step: Any = IncidentStatusChange(
            incident_id=record.name,
            to_status=record.incident.status,
            reason=words.reason,
            comment=words.comment,
            duration_seconds=max(0, moment - began) // _SECOND,
            sla_breached=late,
            actor=words.actor,
        )
        step.from_status = before
        set_moment(step, "change_time", moment)
        if words.actor != SYSTEM:
            user = await self._editor.user_of(connection, tenant, words.actor)
            if user:
                step.changed_by_user_id = user
        await self._editor.add(connection, tenant, STEPS, step)

    async def _hand_over(self, connection: AsyncConnection, incident: Any, priority: Any) -> None:
        """Give an incident to the team that its priority names, and to who leads that."""
        if priority is None or not priority.escalation_team_id:
            return
        incident.team_id = priority.escalation_team_id
        team = (await self._editor.find(connection, incident.team_id)).team
        if team.lead_user_id:
            incident.assignee_user_id = team.lead_user_id

    async def _priority(self, connection: AsyncConnection, name: str) -> IncidentPriority | None:
        if not name:
            return None
        found: Any = await self._store.get(PRIORITIES, name, connection=connection)
        priority: IncidentPriority = found.incident_priority
        return priority

    async def _next(
        self, connection: AsyncConnection, incident: str, current: IncidentPriority | None
    ) -> tuple[str, IncidentPriority | None]:
        """Find the next more urgent priority that can be chosen; any if there is none yet."""
        columns = self._priorities.c
        found = self._store.select(PRIORITIES, required_tenant(incident))
        found = found.where(columns.is_active.is_not(sa.false()))
        if current is not None:
            found = found.where(columns.level < current.level)
        found = found.order_by(columns.level.desc()).limit(1)
        records: Any = await self._store.messages(PRIORITIES, found, connection=connection)
        return (records[0].name, records[0].incident_priority) if records else ("", None)

    async def _last(self, connection: AsyncConnection, tenant: str, incident: str) -> int | None:
        """Give when the last step was made."""
        columns = self._steps.c
        found = self._store.select(STEPS, tenant, ["change_time"])
        found = found.where(columns.incident_id == incident.rpartition("/")[2])
        rows = await self._store.fetch(
            found.order_by(columns.change_time.desc()).limit(1), connection
        )
        return rows[0][0] if rows else None


def _is_late(incident: Any, priority: Any, notes: tuple[str, ...], moment: int) -> bool:
    """Tell whether a step that sets these times comes later than the priority allows."""
    if priority is None:
        return False
    start = moment_of(incident, "detect_time")
    allowed = {
        "acknowledge_time": "acknowledge_sla_minutes",
        "contain_time": "response_sla_minutes",
        "resolve_time": "resolution_sla_minutes",
    }
    return any(
        each in allowed
        and not incident.HasField(each)
        and priority.HasField(allowed[each])
        and moment > start + getattr(priority, allowed[each]) * MINUTE
        for each in notes
    )
