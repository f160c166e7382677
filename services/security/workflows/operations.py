"""What steps of workflows can do to records: each in the transaction that tells of it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.catalogue import Catalogue, Kind
from mesh.contract.names import collection_of, tenant_of
from mesh.errors import FieldInvalid, KindUnknown, ResourceNotFound
from mesh.records.writing import Guard, RecordWriter
from mesh.sql.store import Store
from secmesh.records.v1.write_requests_pb2 import DeleteRecordRequest
from secmesh.security.v1.incident_pb2 import IncidentResolution, IncidentStatus
from secmesh.security.v1.record_pb2 import Record
from secmesh.security.v1.record_write_pb2 import CreateRecordRequest, UpdateRecordRequest
from services.security.editing import RecordEditor
from services.security.findings.life import Actor, FindingLife
from services.security.findings.machine import Step
from services.security.incidents.life import INCIDENTS, IncidentLife, Words
from services.security.writers import Writer

Arguments = Mapping[str, Any]


@dataclass(frozen=True)
class Authority:
    """For whom an operation is done, and what it may."""

    tenant: str
    actor: str
    """As the history tells it, such as ``workflow:{execution}``."""
    permissions: frozenset[str]

    @property
    def writer(self) -> Writer:
        """Who writes, as guards of records see it."""
        return Writer(self.actor, self.permissions)

    def require(self, permission: str) -> None:
        """Refuse what who activated the workflow may not do; PermissionMissing."""
        self.writer.require(permission)


@dataclass(frozen=True)
class Records:
    """What operations work with."""

    store: Store
    catalogue: Catalogue
    writer: RecordWriter
    findings: FindingLife
    incidents: IncidentLife

    @classmethod
    def of(
        cls,
        store: Store,
        catalogue: Catalogue,
        guard: Guard,
        lives: tuple[FindingLife, IncidentLife],
        editor: RecordEditor,
    ) -> "Records":
        """Write by the rules of RecordService, its guard included."""
        writer = RecordWriter(store, catalogue.record_kinds, editor.clock, guard)
        return cls(store, catalogue, writer, *lives)

    def kind(self, collection: str) -> Kind:
        """Give a kind of record; KindUnknown."""
        found = self.catalogue.record_kinds.get(collection)
        if found is None:
            raise KindUnknown(collection)
        return found


_Work = Callable[[Records, AsyncConnection, Authority, Arguments], Awaitable[Any]]


@dataclass(frozen=True)
class Operation:
    """One thing that a step can do."""

    name: str
    work: _Work
    required: frozenset[str]
    optional: frozenset[str] = frozenset()
    reads: bool = False
    undo: _Work | None = None
    """Undoes it; its arguments are what ``work`` gave."""

    @property
    def undoable(self) -> bool:
        """Whether nothing is left of it once it was undone."""
        return self.reads or self.undo is not None


async def _get(
    records: Records, connection: AsyncConnection, who: Authority, given: Arguments
) -> Any:
    name = _own(who, given, "name")
    kind = records.kind(collection_of(name) or "")
    who.require(kind.permission("get"))
    return _shown(await records.store.get(kind.collection, name, connection=connection))


async def _create(
    records: Records, connection: AsyncConnection, who: Authority, given: Arguments
) -> Any:
    kind = records.kind(_text(given, "collection"))
    who.require(kind.permission("create"))
    request = CreateRecordRequest(parent=f"tenants/{who.tenant}/{kind.collection}")
    _fill(request.record, kind, given["record"])
    return _shown(await records.writer.create(connection, request))


async def _uncreate(
    records: Records, connection: AsyncConnection, who: Authority, given: Arguments
) -> Any:
    name = _own(who, given, "name")
    who.require(records.kind(collection_of(name) or "").permission("delete"))
    await records.writer.delete(connection, DeleteRecordRequest(name=name, allow_missing=True))


async def _update(
    records: Records, connection: AsyncConnection, who: Authority, given: Arguments
) -> Any:
    name = _own(who, given, "name")
    kind = records.kind(collection_of(name) or "")
    who.require(kind.permission("update"))
    request = UpdateRecordRequest(record=Record(name=name))
    _fill(request.record, kind, given["record"])
    return _shown(await records.writer.update(connection, request))


async def _escalate(
    records: Records, connection: AsyncConnection, who: Authority, given: Arguments
) -> Any:
    who.require(f"security.{INCIDENTS}.escalate")
    name = _own(who, given, "incident")
    words = Words(who.actor, _text(given, "reason"), _text(given, "comment"))
    return _shown(await records.incidents.escalate(connection, name, words))


async def _change_status(
    records: Records, connection: AsyncConnection, who: Authority, given: Arguments
) -> Any:
    who.require(f"security.{INCIDENTS}.transition")
    name = _own(who, given, "incident")
    words = Words(who.actor, _text(given, "reason"), _text(given, "comment"))
    status = _value(IncidentStatus, given, "status")
    resolution = _value(IncidentResolution, given, "resolution") if "resolution" in given else 0
    return _shown(await records.incidents.move(connection, name, status, words, resolution))


async def _transition(
    records: Records, connection: AsyncConnection, who: Authority, given: Arguments
) -> Any:
    name = _own(who, given, "finding")
    kind = records.kind(collection_of(name) or "")
    who.require(kind.permission("transition"))
    status = _text(given, "status")
    state = records.findings.machine(name).states.get(status)
    if state is not None and state.verb:
        who.require(kind.permission(state.verb))
    step = Step(status, _text(given, "justification"), None, _text(given, "resolution"))
    return _shown(await records.findings.move(connection, name, step, Actor(who.actor)))


async def _assign(
    records: Records, connection: AsyncConnection, who: Authority, given: Arguments
) -> Any:
    name = _own(who, given, "finding")
    who.require(records.kind(collection_of(name) or "").permission("assign"))
    assignee, why = _text(given, "assignee"), _text(given, "justification")
    return _shown(await records.findings.assign(connection, name, assignee, Actor(who.actor), why))


def _operations() -> Mapping[str, Operation]:
    listed = (
        Operation("record.get", _get, frozenset({"name"}), reads=True),
        Operation("record.create", _create, frozenset({"collection", "record"}), undo=_uncreate),
        Operation("record.update", _update, frozenset({"name", "record"})),
        Operation(
            "incident.escalate",
            _escalate,
            frozenset({"incident", "reason"}),
            frozenset({"comment"}),
        ),
        Operation(
            "incident.change_status",
            _change_status,
            frozenset({"incident", "status"}),
            frozenset({"reason", "comment", "resolution"}),
        ),
        Operation(
            "finding.transition",
            _transition,
            frozenset({"finding", "status"}),
            frozenset({"justification", "resolution"}),
        ),
        Operation(
            "finding.assign",
            _assign,
            frozenset({"finding", "assignee"}),
            frozenset({"justification"}),
        ),
    )
    return {each.name: each for each in listed}


OPERATIONS = _operations()
"""By name."""


def _text(given: Arguments, name: str) -> str:
    value = given.get(name, "")
    if not isinstance(value, str):
        raise FieldInvalid.of(name, "must be a text", "TYPE_MISMATCH")
    return value


def _own(who: Authority, given: Arguments, name: str) -> str:
    """Give the name of a record of the run's own tenant; others do not exist."""
    text = _text(given, name)
    if tenant_of(text) != who.tenant:
        raise ResourceNotFound(text)
    return text


def _value(enum: Any, given: Arguments, name: str) -> int:
    text = _text(given, name)
    if text not in enum.keys():  # noqa: SIM118 - an enum of protobuf is no mapping
        raise FieldInvalid.of(name, f"must be one of {', '.join(enum.keys()[1:])}", "ENUM")
    number: int = enum.Value(text)
    return number


def _fill(record: Any, kind: Kind, given: Any) -> None:
    if not isinstance(given, Mapping):
        raise FieldInvalid.of("record", f"must hold the fields of a {kind.body_field}")
    body = getattr(record, kind.body_field or "")
    body.SetInParent()
    try:
        ParseDict(dict(given), body)
    except ParseError as error:
        raise FieldInvalid.of("record", str(error)) from None


def _shown(record: Any) -> Any:
    return MessageToDict(record, preserving_proto_field_name=True)
