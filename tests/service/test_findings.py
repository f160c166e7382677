"""Findings over one real server on one real PostgreSQL: each step of their lives, and who may."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from mesh.embedded.postgres import Access
from mesh.identifiers import new_uuid
from mesh.records.moments import now
from mesh.sql.engine import open_engine
from mesh.sql.store import Store
from secmesh.records.v1.record_requests_pb2 import GetRecordRequest
from secmesh.records.v1.write_requests_pb2 import DeleteRecordRequest
from secmesh.security.v1 import finding_service_pb2 as pb
from secmesh.security.v1.finding_event_pb2 import FindingEvent
from secmesh.security.v1.finding_service_pb2_grpc import FindingServiceStub
from secmesh.security.v1.record_ingest_pb2 import IngestRecordsRequest
from secmesh.security.v1.record_write_pb2 import BatchWriteRecordsRequest, UpdateRecordRequest
from secmesh.security.v1.vocabulary_pb2 import FindingStatus, Severity
from secmesh_client import CallRefused
from services.security.findings.acceptances import Acceptances
from services.security.findings.life import FindingLife
from services.security.findings.machine import finding_machines
from tests.databases import security_database
from tests.derived import tables_of
from tests.service.security_world import CATALOGUE, KINDS, World, copy_of, refused, served

ISSUES = KINDS["project_issues"]
MACHINES = finding_machines(CATALOGUE)
FINDINGS = [KINDS[collection] for collection in sorted(MACHINES)]
DAY = 86_400
OPEN, CONFIRMED = "FINDING_STATUS_OPEN", "FINDING_STATUS_CONFIRMED"
RESOLVED, REOPENED = "FINDING_STATUS_RESOLVED", "FINDING_STATUS_REOPENED"
ACCEPTED = "FINDING_STATUS_RISK_ACCEPTED"


@dataclass
class Life:
    """A served database, and stubs of the service by who calls."""

    world: World
    access: Access
    _number: int = 0
    _stubs: dict[str, Any] = field(default_factory=dict)

    @property
    def stub(self) -> Any:
        return self.stub_of("acme", "admin")

    def stub_of(self, tenant: str, *roles: str, **claims: Any) -> Any:
        return self.world.stub_of(tenant, FindingServiceStub, *roles, **claims)

    def issue(self, status: str = OPEN, **values: Any) -> Any:
        """Create an issue of a project with this status."""
        self._number += 1
        request = self.world.prepare(ISSUES, f"life{self._number}")
        body = request.record.project_issue
        body.status = FindingStatus.Value(status)
        body.ClearField("due_time")
        body.ClearField("resolve_time")
        for name, value in values.items():
            setattr(body, name, value)
        return self.world.stub.CreateRecord(request)

    def move(self, record: Any, status: str, **fields: Any) -> Any:
        request = pb.TransitionFindingRequest(name=record.name, status=status, **fields)
        return self.stub.TransitionFinding(request)

    def history(self, record: Any, **fields: Any) -> list[FindingEvent]:
        request = pb.ListFindingHistoryRequest(parent=record.name, **fields)
        return list(self.stub.ListFindingHistory(request).events)

    def read(self, record: Any) -> Any:
        return self.world.stub.GetRecord(GetRecordRequest(name=record.name))


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    with (
        security_database() as access,
        served(access, tmp_path_factory.mktemp("home")) as world,
    ):
        yield Life(world, access)


def in_days(days: float) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(datetime.now(UTC) + timedelta(days=days))
    return stamp


@pytest.mark.parametrize("kind", FINDINGS, ids=lambda kind: kind.collection)
def test_every_kind_of_finding_is_led_by_its_own_machine(life: Life, kind: Any) -> None:
    machine = MACHINES[kind.collection]
    request = life.world.prepare(kind, "led")
    body = getattr(request.record, kind.body_field)
    first = machine.states[machine.first[0]]
    body.status = first.number
    if "resolution" in body.DESCRIPTOR.fields_by_name:
        body.ClearField("resolution")
    record = life.world.stub.CreateRecord(request)
    wanted = machine.states[first.to[0]]
    moved = life.move(record, wanted.name, etag=record.etag)
    assert getattr(moved, kind.body_field).status == wanted.number
    assert moved.etag != record.etag
    assert life.read(record) == moved
    (event,) = life.history(record)
    assert (event.from_status, event.to_status) == (first.name, wanted.name)


def test_a_life_is_told_from_beginning_to_end(life: Life) -> None:
    record = life.issue(severity=Severity.SEVERITY_CRITICAL)
    user = record.project_issue.assignee_user_id
    life.move(record, CONFIRMED, justification="seen by hand")
    life.stub.AssignFinding(pb.AssignFindingRequest(name=record.name, justification="left"))
    life.stub.AssignFinding(pb.AssignFindingRequest(name=record.name, assignee=user))
    closed = life.move(record, RESOLVED)
    assert closed.project_issue.HasField("resolve_time")
    opened = life.stub.ReopenFinding(
        pb.ReopenFindingRequest(name=record.name, justification="it came back")
    )
    assert not opened.project_issue.HasField("resolve_time")
    left = opened.project_issue.due_time.ToDatetime(UTC) - datetime.now(UTC)
    assert timedelta(days=6.9) < left <= timedelta(days=7), "its time begins anew"
    events = life.history(record)
    assert [each.sequence for each in events] == [1, 2, 3, 4, 5]
    assert {each.actor for each in events} == {"ann"}
    assert {each.finding for each in events} == {record.name}
    assert [(each.from_status, each.to_status) for each in events] == [
        (OPEN, CONFIRMED),
        (CONFIRMED, CONFIRMED),
        (CONFIRMED, CONFIRMED),
        (CONFIRMED, RESOLVED),
        (RESOLVED, REOPENED),
    ]
    assert [each.justification for each in events] == [
        "seen by hand",
        "left",
        "",
        "",
        "it came back",
    ]
    changed = {each.field: (each.old_value, each.new_value) for each in events[1].fields}
    assert changed == {"assignee_user_id": (user, "")}
    assert not events[1].fields[0].HasField("new_value")
    assert {each.field for each in events[4].fields} >= {"status", "due_time", "resolve_time"}
    pages = life.stub.ListFindingHistory(
        pb.ListFindingHistoryRequest(parent=record.name, page_size=2)
    )
    rest = life.history(record, page_size=3, page_token=pages.next_page_token)
    assert [*pages.events, *rest] == events
    assert life.history(record, filter='justification == "left"') == events[1:2]
    life.move(life.issue(), CONFIRMED)
    escape = pb.ListFindingHistoryRequest(parent=record.name, filter="true) || (true")
    assert refused(life.stub.ListFindingHistory, escape).reason == "FILTER_INVALID"


def test_what_is_refused_changes_and_tells_nothing(life: Life) -> None:
    record = life.issue(RESOLVED)

    def why(**fields: Any) -> CallRefused:
        request = pb.TransitionFindingRequest(name=record.name, **fields)
        return refused(life.stub.TransitionFinding, request)

    error = why(status=CONFIRMED)
    assert error.reason == "TRANSITION_REFUSED"
    assert (error.metadata["from"], error.metadata["to"]) == (RESOLVED, CONFIRMED)
    assert error.metadata["allowed"] == REOPENED
    error = why(status=REOPENED)
    assert (error.reason, "justification" in error.message) == ("FIELD_INVALID", True)
    assert why(status="FINDING_STATUS_GONE").reason == "FIELD_INVALID"
    assert why(status=REOPENED, justification="j", etag="another").reason == "ETAG_MISMATCH"
    assert life.read(record) == record
    assert life.history(record) == []


def test_what_is_no_finding_or_not_there_is_told(life: Life) -> None:
    name = "tenants/acme/incidents/any"
    error = refused(
        life.stub.TransitionFinding, pb.TransitionFindingRequest(name=name, status=OPEN)
    )
    assert (error.reason, error.metadata["collection"]) == ("FINDING_EXPECTED", "incidents")
    name = "tenants/acme/project_issues/none"
    move = pb.TransitionFindingRequest(name=name, status=OPEN)
    assert refused(life.stub.TransitionFinding, move).reason == "RESOURCE_NOT_FOUND"
    history = pb.ListFindingHistoryRequest(parent=name)
    assert refused(life.stub.ListFindingHistory, history).reason == "RESOURCE_NOT_FOUND"


def test_another_tenants_finding_does_not_exist(life: Life) -> None:
    record = life.issue()
    strange = life.stub_of("beta", "admin")
    move = pb.TransitionFindingRequest(name=record.name, status=CONFIRMED)
    assert refused(strange.TransitionFinding, move).reason == "RESOURCE_NOT_FOUND"
    history = pb.ListFindingHistoryRequest(parent=record.name)
    assert refused(strange.ListFindingHistory, history).reason == "RESOURCE_NOT_FOUND"
    assign = pb.AssignFindingRequest(name=record.name, assignee="tenants/beta/users/any")
    assert refused(life.stub.AssignFinding, assign).reason in (
        "FIELD_INVALID",
        "RESOURCE_NOT_FOUND",
    )
    assert life.read(record) == record


def test_each_step_needs_its_permission(life: Life) -> None:
    record = life.issue()
    reader = life.stub_of("acme", "viewer")
    move = pb.TransitionFindingRequest(name=record.name, status=CONFIRMED)
    error = refused(reader.TransitionFinding, move)
    assert error.metadata["permission"] == "security.project_issues.transition"
    mover = life.stub_of("acme", permissions=("security.project_issues.transition",))
    mover.TransitionFinding(move)
    accept = pb.TransitionFindingRequest(
        name=record.name, status=ACCEPTED, justification="j", expire_time=in_days(1)
    )
    error = refused(mover.TransitionFinding, accept)
    assert error.metadata["permission"] == "security.project_issues.accept"


def test_one_of_many_at_once_wins(life: Life) -> None:
    record = life.issue()

    def move(status: str) -> str:
        try:
            life.move(record, status, etag=record.etag, justification="j")
        except CallRefused as error:
            return error.reason
        return "done"

    wanted = [CONFIRMED, RESOLVED, "FINDING_STATUS_IN_PROGRESS", "FINDING_STATUS_FALSE_POSITIVE"]
    with ThreadPoolExecutor(len(wanted)) as pool:
        ended = list(pool.map(move, wanted))
    assert sorted(ended) == ["ETAG_MISMATCH"] * 3 + ["done"]
    (event,) = life.history(record)
    assert event.to_status == wanted[ended.index("done")]
    assert life.read(record).project_issue.status == FindingStatus.Value(event.to_status)


def test_a_named_request_is_done_once_and_a_trial_never(life: Life) -> None:
    record = life.issue()
    tried = life.move(record, CONFIRMED, validate_only=True)
    assert tried.project_issue.status == FindingStatus.FINDING_STATUS_CONFIRMED
    assert (life.read(record), life.history(record)) == (record, [])
    name = new_uuid()
    moved = life.move(record, CONFIRMED, request_id=name)
    assert life.move(record, CONFIRMED, request_id=name) == moved
    assert len(life.history(record)) == 1


def test_a_status_cannot_be_written_past_the_machine(life: Life) -> None:
    record = life.issue()
    change = copy_of(record)
    change.ClearField("etag")
    change.project_issue.status = FindingStatus.FINDING_STATUS_CONFIRMED
    update = UpdateRecordRequest(record=change)
    for request in (update, UpdateRecordRequest(record=change, allow_missing=True)):
        error = refused(life.world.stub.UpdateRecord, request)
        assert (error.reason, error.metadata["from"]) == ("TRANSITION_REFUSED", OPEN)
    batch = BatchWriteRecordsRequest(parent="tenants/acme")
    batch.writes.add(update=update)
    assert refused(life.world.stub.BatchWriteRecords, batch).reason == "TRANSITION_REFUSED"
    ingest = IngestRecordsRequest(parent="tenants/acme")
    ingest.items.add(sequence=1, record=change)
    *_, answer, _ = life.world.stub.IngestRecords(iter([ingest]))
    assert "TRANSITION_REFUSED" in str(answer.results[0].error)
    new = life.world.prepare(ISSUES, "accepted")
    new.record.project_issue.status = FindingStatus.FINDING_STATUS_RISK_ACCEPTED
    error = refused(life.world.stub.CreateRecord, new)
    assert (error.reason, error.metadata["from"]) == ("TRANSITION_REFUSED", "")
    assert life.read(record) == record


def test_it_is_due_by_its_severity_and_anew_when_that_changes(life: Life) -> None:
    record = life.issue(severity=Severity.SEVERITY_HIGH)
    body = record.project_issue
    assert body.due_time.seconds - body.first_seen_time.seconds == 30 * DAY
    change = copy_of(record)
    change.project_issue.severity = Severity.SEVERITY_CRITICAL
    changed = life.world.stub.UpdateRecord(UpdateRecordRequest(record=change)).project_issue
    assert changed.due_time.seconds - body.first_seen_time.seconds == 7 * DAY
    told = life.issue(severity=Severity.SEVERITY_INFO).project_issue
    assert not told.HasField("due_time")


async def look(access: Access, days: float) -> int:
    """Look after acceptances as if it were so many days later."""
    tables = tables_of(CATALOGUE, isolated=True)
    owner, application = open_engine(access.owner), open_engine(access.application)
    store = Store(application, tables, page_key=b"k" * 32, owner=owner)

    def clock() -> int:
        return now() + int(days * DAY * 1_000_000)

    try:
        return await Acceptances(store, FindingLife(store, CATALOGUE, clock), clock=clock).look()
    finally:
        await application.dispose()
        await owner.dispose()


def test_what_was_accepted_is_reopened_when_its_time_is_over(life: Life) -> None:
    def accept(record: Any, days: float) -> Any:
        request = pb.AcceptFindingRequest(
            name=record.name, justification="cheap", expire_time=in_days(days)
        )
        return life.stub.AcceptFinding(request)

    longer, over, closed, gone = (life.issue() for _ in range(4))
    for each in (longer, over, closed, gone):
        accepted = accept(each, 2).project_issue
        assert accepted.status == FindingStatus.FINDING_STATUS_RISK_ACCEPTED
    accept(longer, 9)
    life.move(closed, RESOLVED)
    life.stub.AssignFinding(pb.AssignFindingRequest(name=over.name))
    life.world.stub.DeleteRecord(DeleteRecordRequest(name=gone.name))
    assert asyncio.run(look(life.access, 1)) == 0

    async def at_once() -> list[int]:
        return list(await asyncio.gather(look(life.access, 3), look(life.access, 3)))

    assert sum(asyncio.run(at_once())) == 1
    assert asyncio.run(look(life.access, 3)) == 0
    assert life.read(over).project_issue.status == FindingStatus.FINDING_STATUS_REOPENED
    event = life.history(over)[-1]
    assert (event.actor, event.from_status, event.to_status) == ("system", ACCEPTED, REOPENED)
    assert life.read(longer).project_issue.status == FindingStatus.FINDING_STATUS_RISK_ACCEPTED
    assert life.read(closed).project_issue.status == FindingStatus.FINDING_STATUS_RESOLVED
    lapse = life.history(gone)[-1]
    assert (lapse.change, lapse.to_status) == (FindingEvent.CHANGE_LAPSE, "")


def test_an_acceptance_has_a_reason_and_an_end_to_come(life: Life) -> None:
    record = life.issue()
    for lacking, expected in (
        ({"expire_time": in_days(1)}, "justification"),
        ({"justification": "j"}, "expire_time"),
        ({"justification": "j", "expire_time": in_days(-1)}, "expire_time"),
    ):
        request = pb.AcceptFindingRequest(name=record.name, **lacking)
        error = refused(life.stub.AcceptFinding, request)
        assert (error.reason, expected in error.message) == ("FIELD_INVALID", True)
    assert life.history(record) == []


def test_a_finding_that_cannot_be_reopened_keeps_no_other_from_it(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    issues = [life.issue() for _ in range(3)]
    for each in issues:
        life.stub.AcceptFinding(
            pb.AcceptFindingRequest(name=each.name, justification="x", expire_time=in_days(1))
        )
    bad, move = issues[1].name, FindingLife.move

    async def spoiled(self: FindingLife, connection: Any, name: str, *rest: Any) -> Any:
        if name == bad:
            raise RuntimeError("a record that nothing can be done with")
        return await move(self, connection, name, *rest)

    def status(record: Any) -> str:
        found = life.world.stub.GetRecord(GetRecordRequest(name=record.name))
        return FindingStatus.Name(found.project_issue.status)

    with monkeypatch.context() as patched:
        patched.setattr(FindingLife, "move", spoiled)
        asyncio.run(look(life.access, 2))
    assert [status(each) for each in issues] == [REOPENED, ACCEPTED, REOPENED]
    asyncio.run(look(life.access, 2))
    assert status(issues[1]) == REOPENED
