"""Steps in the life of a finding: checked, written and told in the history at once."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.catalogue import Catalogue, Kind
from mesh.contract.names import collection_of, tenant_of
from mesh.errors import EtagMismatch, FieldInvalid, ResourceNotFound
from mesh.records.moments import Clock, now
from mesh.records.writing import RecordWriter
from mesh.sql.bulk import BulkRows
from mesh.sql.rows import Rows
from mesh.sql.store import Store
from mesh.sql.tables import KindTable
from secmesh.security.v1.finding_event_pb2 import FindingEvent
from services.security.errors import FindingExpected
from services.security.findings import due
from services.security.findings.event_store import FindingEvents
from services.security.findings.machine import (
    RESOLUTION,
    STATUS,
    Machine,
    State,
    Step,
    finding_machines,
)
from services.security.findings.project_days import Days, ProjectDays, project_of
from services.security.writers import SYSTEM

ASSIGNEE = "assignee_user_id"
_ENDED, _BREACHED = ("resolve_time", "close_time"), "sla_breached"


@dataclass(frozen=True)
class Actor:
    """Who takes a step, and which state of the finding was seen."""

    subject: str
    etag: str = ""
    """Empty if any state will do."""


class FindingLife:
    """Takes steps within transactions of the caller; what is refused changes nothing.

    Every step raises FindingExpected, ResourceNotFound and EtagMismatch.
    """

    def __init__(self, store: Store, catalogue: Catalogue, clock: Clock = now) -> None:
        self.machines: Mapping[str, Machine] = finding_machines(catalogue)
        """By collection."""
        self.events = FindingEvents(store)
        self.days = ProjectDays(store, catalogue)
        self._store = store
        self._rows = Rows(store)
        self._bulk = BulkRows(store)
        self._writer = RecordWriter(store, catalogue.record_kinds, clock)
        self._clock = clock

    def machine(self, name: str) -> Machine:
        """Give the machine of a finding's kind; FindingExpected if it is no finding's name."""
        collection = collection_of(name) or ""
        if collection not in self.machines:
            raise FindingExpected(collection)
        return self.machines[collection]

    async def move(
        self, connection: AsyncConnection, name: str, step: Step, actor: Actor
    ) -> Message:
        """Change the status and give the record; TransitionRefused, FieldInvalid."""
        machine = self.machine(name)
        target, old = await self._find(connection, name, actor)
        body = getattr(old, target.kind.body_field or "")
        own = await self.days.of(connection, project_of(body))
        new, event = self._taken(machine, target.kind, old, step, own)
        return await self._write(connection, target, (old, new), event, actor)

    async def move_all(
        self,
        connection: AsyncConnection,
        names: Sequence[str],
        step_of: Callable[[Any], Step | None],
        actor: Actor,
    ) -> list[str]:
        """Take a step of each finding of one kind for which there is one, all at once.

        ``step_of`` is asked for the step of a record that is the transaction's own by then; None
        leaves it as it is. Gives the names of those that moved. TransitionRefused, FieldInvalid.
        """
        if not names:
            return []
        machine = self.machine(names[0])
        target = self._store.target(collection_of(names[0]) or "")
        tenant, field = tenant_of(names[0]) or "", target.kind.body_field or ""
        ids = [name.rpartition("/")[2] for name in names]
        found: Sequence[Any] = [*(await self._bulk.load(connection, target, tenant, ids)).values()]
        days = await self.days.of_findings(connection, (getattr(old, field) for old in found))
        moved, events = [], []
        for old in found:
            step = step_of(old)
            if step is None:
                continue
            own = days.get(project_of(getattr(old, field)))
            new, event = self._taken(machine, target.kind, old, step, own)
            _tell(event, getattr(old, field), getattr(new, field))
            self._writer.stamp(target.kind, new)
            moved.append(new)
            events.append(self._signed(event, new.name, actor))
        if moved:
            rows = [target.codec.row(new) for new in moved]
            await self._bulk.replace(connection, target, tenant, rows)
            await self.events.add_all(connection, tenant, events)
        return [new.name for new in moved]

    async def note_found(
        self,
        connection: AsyncConnection,
        found: Iterable[tuple[str, int]],
        reason: str,
        actor: Actor,
        *,
        own_ids: bool = False,
    ) -> None:
        """Begin the histories of findings of one kind that were just stored.

        ``found`` are their names and the numbers of their statuses. With ``own_ids`` no other
        finding ever had one of these names.
        """
        add = self.events.add_first if own_ids else self.events.add_same
        by_status: dict[int, list[str]] = {}
        for name, status in found:
            by_status.setdefault(status, []).append(name)
        for status, names in by_status.items():
            state = self.machine(names[0]).state(status)
            event = FindingEvent(
                change=FindingEvent.CHANGE_DISCOVERY,
                to_status=state.name if state is not None else "",
                justification=reason,
            )
            await add(connection, self._signed(event, names[0], actor), names)

    def _taken(
        self, machine: Machine, kind: Kind, old: Any, step: Step, own: Days | None
    ) -> tuple[Any, FindingEvent]:
        """Give a finding as it is after a step, and what its history says of that."""
        new, body = _copy(kind, old)
        current = machine.state(body.status)
        if current is None:
            raise FieldInvalid.of(STATUS, "of the record is no state that is known", "ENUM")
        moment = self._clock()
        wanted = machine.step(current, step, moment)
        self._enter(body, wanted, step, moment, own)
        event = FindingEvent(
            change=FindingEvent.CHANGE_TRANSITION,
            from_status=current.name,
            to_status=wanted.name,
            justification=step.justification,
        )
        if step.expire_time is not None:
            due.set_moment(event, "expire_time", step.expire_time)
        return new, event

    async def assign(
        self,
        connection: AsyncConnection,
        name: str,
        assignee: str,
        actor: Actor,
        justification: str = "",
    ) -> Message:
        """Let somebody look after a finding, or nobody; ReferenceNotFound for who is no user."""
        machine = self.machine(name)
        target, old = await self._find(connection, name, actor)
        new, body = _copy(target.kind, old)
        if assignee:
            setattr(body, ASSIGNEE, assignee)
        else:
            body.ClearField(ASSIGNEE)
        state = machine.state(body.status)
        status = state.name if state is not None else ""
        event = FindingEvent(
            change=FindingEvent.CHANGE_ASSIGNMENT,
            from_status=status,
            to_status=status,
            justification=justification,
        )
        return await self._write(connection, target, (old, new), event, actor)

    async def end_acceptance(self, connection: AsyncConnection, name: str, moment: int) -> bool:
        """Reopen a finding whose acceptance ended before a moment; False if there is none."""
        actor = Actor(SYSTEM)
        try:
            target, old = await self._find(connection, name, actor)
        except ResourceNotFound:
            old = None
        if not await self.events.has_expired(connection, name, moment):
            return False
        machine = self.machine(name)
        state = None
        if old is not None:
            state = machine.state(getattr(old, target.kind.body_field or "").status)
        if state is None or state is not machine.accepted:
            # Deleted, or written past this service: the acceptance is over all the same.
            status = state.name if state is not None else ""
            event = FindingEvent(
                change=FindingEvent.CHANGE_LAPSE, from_status=status, to_status=status
            )
            await self._note(connection, name, event, actor)
            return False
        step = Step(machine.reopened.name, "The time for which the risk was accepted is over.")
        await self.move(connection, name, step, actor)
        return True

    async def _find(
        self, connection: AsyncConnection, name: str, actor: Actor
    ) -> tuple[KindTable, Any]:
        """Give a finding, which is the transaction's own until its end."""
        target = self._store.target(collection_of(name) or "")
        old: Any = await self._rows.find(connection, target, name)
        if old is None:
            raise ResourceNotFound(name)
        if actor.etag and actor.etag != old.etag:
            raise EtagMismatch(name)
        return target, old

    @staticmethod
    def _enter(body: Any, state: State, step: Step, moment: int, own: Days | None) -> None:
        """Set what follows from a new status."""
        fields = body.DESCRIPTOR.fields_by_name
        body.status = state.number
        for name in _ENDED:
            if name not in fields:
                continue
            if state.closed:
                due.set_moment(body, name, moment)
            else:
                body.ClearField(name)
        if state.reopens and due.has_due_time(body):
            due.set_due(body, moment, own)
        if RESOLUTION in fields:
            _resolve(body, fields[RESOLUTION], step.resolution)
        if _BREACHED in fields:
            late = body.HasField(due.DUE_TIME) and due.moment_of(body, due.DUE_TIME) < moment
            body.sla_breached = late

    async def _write(
        self,
        connection: AsyncConnection,
        target: KindTable,
        versions: tuple[Any, Any],
        event: FindingEvent,
        actor: Actor,
    ) -> Message:
        old, new = versions
        field = target.kind.body_field or ""
        _tell(event, getattr(old, field), getattr(new, field))
        moment = self._writer.stamp(target.kind, new)
        await self._rows.replace(connection, target, new, moment)
        await self._note(connection, new.name, event, actor)
        # As it is read: without secrets, times to the microsecond.
        return target.codec.message(target.codec.row(new))

    async def _note(
        self, connection: AsyncConnection, name: str, event: FindingEvent, actor: Actor
    ) -> None:
        await self.events.add(connection, self._signed(event, name, actor))

    def _signed(self, event: FindingEvent, name: str, actor: Actor) -> FindingEvent:
        event.finding, event.actor = name, actor.subject
        due.set_moment(event, "event_time", self._clock())
        return event


def _copy(kind: Kind, old: Any) -> tuple[Any, Any]:
    """Copy a record, and give its body beside it."""
    new = type(old)()
    new.CopyFrom(old)
    return new, getattr(new, kind.body_field or "")


def _resolve(body: Any, field: FieldDescriptor, resolution: str) -> None:
    """Set what was decided; open findings have no such thing."""
    enum = field.enum_type
    if not resolution or enum is None:
        body.ClearField(RESOLUTION)
        return
    value = enum.values_by_name.get(resolution)
    if value is None or not value.number:
        names = ", ".join(each.name for each in enum.values if each.number)
        raise FieldInvalid.of(RESOLUTION, f"must be one of {names}", "ENUM")
    body.resolution = value.number


def _tell(event: FindingEvent, before: Any, after: Any) -> None:
    """List the fields that a step changed."""
    for field in after.DESCRIPTOR.fields:
        if field.is_repeated:
            continue
        old, new = _shown(before, field), _shown(after, field)
        if old != new:
            event.fields.add(field=field.name, old_value=old, new_value=new)


def _shown(body: Any, field: FieldDescriptor) -> str | None:
    if not body.HasField(field.name):
        return None
    value = getattr(body, field.name)
    if field.enum_type is not None:
        return str(field.enum_type.values_by_number[value].name)
    if field.message_type is not None:
        stamp = field.message_type.full_name == "google.protobuf.Timestamp"
        return str(value.ToJsonString()) if stamp else None
    return str(value).lower() if isinstance(value, bool) else str(value)
