"""Incidents over one real server on one real PostgreSQL: their states, escalation, and time."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from mesh.embedded.postgres import Access
from mesh.identifiers import new_uuid
from mesh.records.moments import now
from mesh.sql.engine import open_engine
from mesh.sql.store import Store
from secmesh.records.v1.record_requests_pb2 import GetRecordRequest, ListRecordsRequest
from secmesh.security.v1 import incident_service_pb2 as pb
from secmesh.security.v1.incident_pb2 import IncidentResolution, IncidentStatus
from secmesh.security.v1.incident_service_pb2_grpc import IncidentServiceStub
from secmesh.security.v1.record_write_pb2 import CreateRecordRequest, UpdateRecordRequest
from secmesh.security.v1.vocabulary_pb2 import Severity
from secmesh_client import CallRefused
from services.security.editing import RecordEditor
from services.security.incidents.life import IncidentLife
from services.security.incidents.overdue_store import LIMITS, OverdueIncidents
from tests.databases import security_database
from tests.derived import tables_of
from tests.service.security_world import (
    CATALOGUE,
    TENANT,
    World,
    copy_of,
    refused,
    served,
)

MINUTE = 60_000_000
NEW = IncidentStatus.INCIDENT_STATUS_NEW
IN_PROGRESS = IncidentStatus.INCIDENT_STATUS_IN_PROGRESS
CONTAINED = IncidentStatus.INCIDENT_STATUS_CONTAINED
RESOLVED = IncidentStatus.INCIDENT_STATUS_RESOLVED
CLOSED = IncidentStatus.INCIDENT_STATUS_CLOSED
TRUE_POSITIVE = IncidentResolution.INCIDENT_RESOLUTION_TRUE_POSITIVE


@dataclass
class Desk:
    """A served database with priorities P1 to P3, and who works on its incidents."""

    world: World
    access: Access
    priorities: dict[str, str]
    team: str
    lead: str

    @property
    def stub(self) -> Any:
        return self.stub_of("acme", "admin")

    def stub_of(self, tenant: str, *roles: str, **claims: Any) -> Any:
        return self.world.stub_of(tenant, IncidentServiceStub, *roles, **claims)

    def incident(self, priority: str = "P3", **values: Any) -> Any:
        """Create an incident that was noticed now."""
        request = CreateRecordRequest(parent=f"{TENANT}/incidents")
        body = request.record.incident
        body.title, body.source, body.status = "Odd sign-in", "phone", NEW
        body.severity = Severity.SEVERITY_MEDIUM
        body.detect_time.GetCurrentTime()
        if priority:
            body.priority_id = self.priorities[priority]
        for name, value in values.items():
            setattr(body, name, value)
        return self.world.stub.CreateRecord(request)

    def change(self, record: Any, status: Any, **fields: Any) -> Any:
        request = pb.ChangeIncidentStatusRequest(name=record.name, status=status, **fields)
        return self.stub.ChangeIncidentStatus(request)

    def escalate(self, record: Any, **fields: Any) -> Any:
        fields.setdefault("reason", "it spreads")
        return self.stub.EscalateIncident(pb.EscalateIncidentRequest(name=record.name, **fields))

    def read(self, record: Any) -> Any:
        return self.world.stub.GetRecord(GetRecordRequest(name=record.name))

    def steps(self, record: Any) -> list[Any]:
        request = ListRecordsRequest(
            parent=f"{TENANT}/incident_statuses",
            filter=f'incident_id == "{record.name}"',
            order_by="change_time",
        )
        return [
            each.incident_status_change for each in self.world.stub.ListRecords(request).records
        ]

    def look(self, minutes: float) -> int:
        """Look after incidents as if it were so many minutes later."""
        return asyncio.run(self._look(minutes))

    def look_twice(self, minutes: float) -> int:
        async def both() -> int:
            return sum(await asyncio.gather(self._look(minutes), self._look(minutes)))

        return asyncio.run(both())

    async def _look(self, minutes: float) -> int:
        tables = tables_of(CATALOGUE, isolated=True)
        owner, application = open_engine(self.access.owner), open_engine(self.access.application)
        store = Store(application, tables, page_key=b"k" * 32, owner=owner)

        def clock() -> int:
            return now() + int(minutes * MINUTE)

        editor = RecordEditor(store, CATALOGUE, clock)
        try:
            return await OverdueIncidents(store, editor, IncidentLife(store, editor), clock).look()
        finally:
            await application.dispose()
            await owner.dispose()


def create(world: World, collection: str, kind: str, record_id: str = "", **values: Any) -> str:
    request = CreateRecordRequest(parent=f"{TENANT}/{collection}", record_id=record_id)
    body = getattr(request.record, kind)
    for name, value in values.items():
        setattr(body, name, value)
    return str(world.stub.CreateRecord(request).name)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with (
        security_database() as access,
        served(access, tmp_path_factory.mktemp("home")) as world,
    ):
        people = [
            create(
                world,
                "users",
                "user",
                record_id=each,
                username=each,
                email=f"{each}@acme.example",
                role=3,
                identity_provider=1,
                status=2,
            )
            for each in ("ann", "lena")
        ]
        team = create(world, "teams", "team", name="On call", team_type=5, lead_user_id=people[1])
        priorities = {
            f"P{level}": create(
                world,
                "incident_priorities",
                "incident_priority",
                code=f"P{level}",
                name=f"Degree {level}",
                level=level,
                acknowledge_sla_minutes=10 * level,
                response_sla_minutes=30 * level,
                resolution_sla_minutes=100 * level,
                **({"escalation_team_id": team} if level < 3 else {}),
            )
            for level in (1, 2, 3)
        }
        yield Desk(world, access, priorities, team, people[1])


def test_an_incident_is_led_from_its_notice_to_its_end(desk: Desk) -> None:
    record = desk.incident()
    taken = desk.change(record, IN_PROGRESS, etag=record.etag).incident
    assert taken.HasField("acknowledge_time")
    desk.change(record, CONTAINED, comment="The account is locked.")
    solved = desk.change(record, RESOLVED, reason="cleaned", resolution=TRUE_POSITIVE).incident
    assert solved.HasField("resolve_time")
    again = desk.change(record, IN_PROGRESS, reason="it came back")
    assert not again.incident.HasField("resolve_time")
    assert again.incident.acknowledge_time == taken.acknowledge_time
    desk.change(record, RESOLVED, reason="cleaned again")
    closed = desk.change(record, CLOSED, reason="told everyone")
    assert desk.read(record) == closed
    steps = desk.steps(record)
    assert [each.to_status for each in steps] == [
        NEW,
        IN_PROGRESS,
        CONTAINED,
        RESOLVED,
        IN_PROGRESS,
        RESOLVED,
        CLOSED,
    ]
    assert not steps[0].HasField("from_status")
    assert [each.from_status for each in steps[1:]] == [each.to_status for each in steps[:-1]]
    assert {each.actor for each in steps[1:]} == {"ann"}
    users = {each.changed_by_user_id for each in steps[1:]}
    assert len(users) == 1, "the user of that name"
    assert users.pop().startswith(f"{TENANT}/users/")
    assert not any(each.sla_breached for each in steps)
    assert steps[2].comment == "The account is locked."


def test_what_is_refused_changes_and_tells_nothing(desk: Desk) -> None:
    record = desk.incident()

    def why(**fields: Any) -> CallRefused:
        request = pb.ChangeIncidentStatusRequest(name=record.name, **fields)
        return refused(desk.stub.ChangeIncidentStatus, request)

    error = why(status=NEW)
    assert error.reason == "TRANSITION_REFUSED"
    assert "INCIDENT_STATUS_IN_PROGRESS" in error.metadata["allowed"]
    error = why(status=RESOLVED, resolution=TRUE_POSITIVE)
    assert (error.reason, "reason" in error.message) == ("FIELD_INVALID", True)
    error = why(status=RESOLVED, reason="r")
    assert (error.reason, "resolution" in error.message) == ("FIELD_INVALID", True)
    assert why(status=0).reason == "FIELD_INVALID"
    assert why(status=IN_PROGRESS, etag="another").reason == "ETAG_MISMATCH"
    desk.change(record, IN_PROGRESS, validate_only=True)
    assert (desk.read(record), desk.steps(record)) == (record, [])


def test_a_status_cannot_be_written_past_the_machine(desk: Desk) -> None:
    record = desk.incident()
    change = copy_of(record)
    change.incident.status = IN_PROGRESS
    change.incident.title = "Another title"
    error = refused(desk.world.stub.UpdateRecord, UpdateRecordRequest(record=change))
    assert (error.reason, error.metadata["from"]) == ("TRANSITION_REFUSED", "INCIDENT_STATUS_NEW")
    change.incident.status = NEW
    changed = desk.world.stub.UpdateRecord(UpdateRecordRequest(record=change))
    assert changed.incident.title == "Another title"


def test_an_escalation_raises_hands_over_and_is_told(desk: Desk) -> None:
    record = desk.incident()
    raised = desk.escalate(record, comment="Three more accounts.").incident
    assert raised.priority_id == desk.priorities["P2"]
    assert raised.severity == Severity.SEVERITY_HIGH
    assert (raised.team_id, raised.assignee_user_id) == (desk.team, desk.lead)
    assert raised.due_time.seconds - raised.detect_time.seconds == 200 * 60
    _, step = desk.steps(record)
    assert (step.from_status, step.to_status) == (NEW, NEW)
    assert (step.reason, step.comment, step.actor) == ("it spreads", "Three more accounts.", "ann")
    error = refused(desk.stub.EscalateIncident, pb.EscalateIncidentRequest(name=record.name))
    assert (error.reason, "reason" in error.message) == ("FIELD_INVALID", True)
    for lower in ({"priority": desk.priorities["P3"]}, {"severity": Severity.SEVERITY_LOW}):
        request = pb.EscalateIncidentRequest(name=record.name, reason="r", **lower)
        assert refused(desk.stub.EscalateIncident, request).reason == "FIELD_INVALID"
    top = desk.escalate(record, priority=desk.priorities["P1"], severity=Severity.SEVERITY_CRITICAL)
    assert top.incident.priority_id == desk.priorities["P1"]
    request = pb.EscalateIncidentRequest(name=record.name, reason="r")
    assert refused(desk.stub.EscalateIncident, request).reason == "ESCALATION_EXHAUSTED"
    assert desk.read(record) == top
    assert len(desk.steps(record)) == 3


def test_one_of_many_escalations_at_once_wins_and_a_named_one_is_done_once(desk: Desk) -> None:
    record = desk.incident()

    def escalate(_: int) -> str:
        try:
            desk.escalate(record, etag=record.etag)
        except CallRefused as error:
            return error.reason
        return "done"

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(escalate, range(4))) == ["ETAG_MISMATCH"] * 3 + ["done"]
    name = new_uuid()
    assert desk.escalate(record, request_id=name) == desk.escalate(record, request_id=name)
    assert desk.read(record).incident.priority_id == desk.priorities["P1"]
    assert len(desk.steps(record)) == 3


def test_another_tenants_incident_does_not_exist_and_reading_is_not_enough(desk: Desk) -> None:
    record = desk.incident()
    change = pb.ChangeIncidentStatusRequest(name=record.name, status=IN_PROGRESS)
    escalate = pb.EscalateIncidentRequest(name=record.name, reason="r")
    strange = desk.stub_of("beta", "admin")
    none = pb.ChangeIncidentStatusRequest(name=f"{TENANT}/incidents/none", status=IN_PROGRESS)
    unknown = refused(desk.stub.ChangeIncidentStatus, none)
    for call, request in (
        (strange.ChangeIncidentStatus, change),
        (strange.EscalateIncident, escalate),
    ):
        error = refused(call, request)
        assert (error.code, error.reason) == (unknown.code, unknown.reason)
        assert error.message == unknown.message.replace(none.name, record.name)
    reader = desk.stub_of("acme", "viewer")
    assert refused(reader.ChangeIncidentStatus, change).reason == "PERMISSION_MISSING"
    assert refused(reader.EscalateIncident, escalate).reason == "PERMISSION_MISSING"
    foreign = pb.EscalateIncidentRequest(
        name=record.name, reason="r", priority="tenants/beta/incident_priorities/p"
    )
    assert refused(desk.stub.EscalateIncident, foreign).reason in (
        "TENANT_MISMATCH",
        "RESOURCE_NOT_FOUND",
    )
    assert desk.read(record) == record


def test_what_waits_too_long_is_escalated_once_by_each_of_its_times(desk: Desk) -> None:
    quiet = desk.incident("")
    taken = desk.incident()
    desk.change(taken, IN_PROGRESS)
    solved = desk.incident()
    desk.change(solved, RESOLVED, reason="r", resolution=TRUE_POSITIVE)
    waiting = desk.incident()
    others = [quiet, taken, solved]
    before = [desk.read(each) for each in others]
    assert desk.look(29) == 0 or desk.steps(waiting) == []
    desk.look_twice(31)
    assert [desk.read(each) for each in others] == before
    raised = desk.read(waiting).incident
    assert raised.priority_id == desk.priorities["P2"]
    assert (raised.team_id, raised.assignee_user_id) == (desk.team, desk.lead)
    _, step = desk.steps(waiting)
    assert (step.reason, step.actor, step.sla_breached) == (LIMITS[0].reason, "system", True)
    assert not step.changed_by_user_id
    desk.look(31 + 59)
    assert len(desk.steps(waiting)) == 2, "its new time counts from the escalation"
    desk.look(31 + 61)
    assert desk.read(waiting).incident.priority_id == desk.priorities["P1"]
    desk.look(31 + 61 + 101)
    desk.look(10_000)
    assert [each.reason for each in desk.steps(waiting)[1:]] == [each.reason for each in LIMITS]
    assert desk.read(quiet) == quiet


def test_a_step_after_its_time_is_told_as_late(desk: Desk) -> None:
    record = desk.incident()
    change = copy_of(record)
    change.incident.detect_time.seconds -= 3600
    desk.world.stub.UpdateRecord(UpdateRecordRequest(record=change))
    desk.change(record, IN_PROGRESS)
    assert desk.steps(record)[-1].sla_breached


def test_an_incident_that_cannot_be_escalated_keeps_no_other_from_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, bad, last = (desk.incident() for _ in range(3))
    raised = IncidentLife.raised

    async def spoiled(life: IncidentLife, connection: Any, record: Any) -> bool:
        if record.name == bad.name:
            raise RuntimeError("a record that nothing can be done with")
        return await raised(life, connection, record)

    with monkeypatch.context() as patched:
        patched.setattr(IncidentLife, "raised", spoiled)
        desk.look(31)
    assert [len(desk.steps(each)) for each in (first, bad, last)] == [2, 0, 2]
    desk.look(31)
    assert len(desk.steps(bad)) == 2, "it is tried again"
