"""Playbooks followed in incidents, over one real server on one real PostgreSQL."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mesh.identifiers import new_uuid
from secmesh.security.v1 import incident_service_pb2 as pb
from secmesh.security.v1 import workflow_service_pb2
from secmesh.security.v1.incident_service_pb2_grpc import IncidentServiceStub
from secmesh.security.v1.record_write_pb2 import UpdateRecordRequest
from secmesh.security.v1.vocabulary_operation_pb2 import TaskStatus
from tests.databases import security_database
from tests.service.playbook_world import Desk, action
from tests.service.security_world import refused
from tests.service.workflow_world import noting, shop, until


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with (
        security_database() as access,
        shop(Desk(access, tmp_path_factory.mktemp("home"))) as made,
    ):
        yield made


def test_the_steps_of_a_playbook_become_tasks_in_their_order(desk: Desk) -> None:
    inner = desk.book(action("tell", timeout_seconds=30))
    book = desk.book(
        {"step_id": "start", "step_type": "START", "on_success": "triage"},
        action("triage", "grave", timeout_seconds=60, action_type="RESPONSE_ACTION_TYPE_TRIAGE"),
        {
            "step_id": "grave",
            "step_type": "IF_CONDITION",
            "condition": "severity >= SEVERITY_HIGH",
            "on_success": "fork",
            "on_failure": "shrug",
        },
        action("shrug"),
        {"step_id": "fork", "step_type": "PARALLEL", "next_steps": ["isolate", "lock"]},
        action("isolate", "others", timeout_seconds=100),
        action("lock", "others"),
        {"step_id": "others", "step_type": "PLAYBOOK_ACTION", "playbook_id": inner},
    )
    user = desk.create(
        "users",
        "user",
        username="lena",
        email="lena@acme.example",
        role="USER_ROLE_ANALYST",
        status="USER_STATUS_ACTIVE",
        identity_provider="IDENTITY_PROVIDER_LOCAL",
    )
    incident = desk.incident(assignee_user_id=user)
    tried = desk.follow(incident, book, validate_only=True)
    assert len(tried.tasks) == 4
    assert desk.tasks(incident) == []
    answer = desk.follow(incident, book)
    assert (answer.started, answer.execution) == (True, "")
    tasks = desk.tasks(incident)
    assert [each.title for each in tasks] == ["triage", "isolate", "lock", "tell"]
    assert tasks[1].sort_order == tasks[2].sort_order
    assert {each.status for each in tasks} == {TaskStatus.TASK_STATUS_WAITING}
    assert {each.assignee_user_id for each in tasks} == {user}
    assert not any(each.is_automated for each in tasks)
    assert {each.playbook_id for each in tasks} == {book, inner}
    due = [each.due_time.seconds - tasks[0].due_time.seconds for each in tasks]
    assert due == [0, 100, 0, 130]
    assert desk.get(incident).incident.playbook_id == book
    body = desk.get(book).response_playbook
    assert (body.execution_count, body.HasField("last_execute_time")) == (1, True)
    mild = desk.incident(severity="SEVERITY_LOW")
    desk.follow(mild, book)
    assert [each.title for each in desk.tasks(mild)] == ["triage", "shrug"]


def test_a_playbook_whose_tasks_are_open_is_not_followed_twice(desk: Desk) -> None:
    book, incident = desk.book(action("one", "two"), action("two")), desk.incident()
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: desk.follow(incident, book), range(4)))
    assert sorted(each.started for each in answers) == [False, False, False, True]
    assert len({tuple(task.name for task in each.tasks) for each in answers}) == 1
    assert len(desk.tasks(incident)) == 2


def test_a_workflow_carries_out_what_is_automated_and_people_the_rest(desk: Desk) -> None:
    title = new_uuid()
    good = desk.active(noting("note", f"'{title}' + trigger.incident"))
    steps = action("block", "judge"), action("judge", requires_approval=True)
    book = desk.book(*steps, is_automated=True, workflow_id=good)
    incident = desk.incident()
    answer = desk.follow(incident, book)
    desk.ended(answer.execution)
    until(lambda: desk.tasks(incident)[0].status == TaskStatus.TASK_STATUS_COMPLETED)
    block, judge = desk.tasks(incident)
    assert (block.is_automated, block.execution_id) == (True, answer.execution)
    assert block.HasField("end_time")
    assert (judge.is_automated, judge.status) == (False, TaskStatus.TASK_STATUS_WAITING)
    assert len(desk.found("incidents", f'title == "{title}{incident}"')) == 1
    waits = desk.active({"key": "pause", "wait": {"seconds": 900}})
    slow = desk.book(action("block"), is_automated=True, workflow_id=waits)
    answer = desk.follow(incident, slow)
    desk.stub().CancelExecution(
        workflow_service_pb2.CancelExecutionRequest(name=answer.execution, reason="enough")
    )
    desk.ended(answer.execution)
    [stopped] = [each for each in desk.tasks(incident) if each.playbook_id == slow]
    assert stopped.status == TaskStatus.TASK_STATUS_CANCELED
    assert "enough" in stopped.result


def test_what_cannot_be_followed_is_refused_by_name(desk: Desk) -> None:
    incident = desk.incident()
    loop = {"step_id": "l", "step_type": "WHILE_CONDITION", "condition": "true", "on_success": "l"}
    wrong = {"step_id": "w", "step_type": "IF_CONDITION", "condition": "nothing == 1"}
    itself = desk.book(action("a"))
    circle = desk.get(itself)
    step = circle.response_playbook.steps[0]
    step.step_type, step.playbook_id = 4, itself
    desk.records.UpdateRecord(UpdateRecordRequest(record=circle))
    for book, problem in (
        (desk.book(loop), "step l: WHILE_CONDITION"),
        (desk.book(wrong), "step w: "),
        (desk.book(action("a", on_failure="b"), action("b")), "step a: on_failure"),
        (desk.book(action("a", "b")), "has no step 'b'"),
        (desk.book(action("a"), action("a")), "two steps of one id"),
        (itself, "calls itself"),
        (desk.book(action("a"), status="DEFINITION_STATUS_DRAFT"), "is not in use"),
    ):
        error = desk.why(incident, book)
        assert (error.reason, problem in error.message) == ("PLAYBOOK_REFUSED", True), error
    assert desk.tasks(incident) == []
    assert desk.get(incident).incident.playbook_id == ""


def test_playbooks_that_call_each_other_many_times_over_are_refused(desk: Desk) -> None:
    book = desk.book({"step_id": "end", "step_type": "END"})
    for _ in range(4):
        calls = [f"c{number}" for number in range(20)]
        fork = {"step_id": "fork", "step_type": "PARALLEL", "next_steps": calls}
        called = {"step_type": "PLAYBOOK_ACTION", "playbook_id": book}
        book = desk.book(fork, *({"step_id": each, **called} for each in calls))
    assert "more than 5000 steps" in desk.why(desk.incident(), book).message


def test_who_may_not_or_is_of_another_tenant_follows_nothing(desk: Desk) -> None:
    book, incident = desk.book(action("a"), requires_approval=True), desk.incident()
    request = pb.StartPlaybookRequest(name=incident, playbook=book)
    error = refused(desk.incidents("operator").StartPlaybook, request)
    assert error.metadata["permission"] == "security.response_playbooks.approve"
    assert refused(desk.incidents("viewer").StartPlaybook, request).reason == "PERMISSION_MISSING"
    strange = refused(desk.incidents("admin", "beta").StartPlaybook, request)
    assert strange.reason == "RESOURCE_NOT_FOUND"
    calling = desk.book({"step_id": "c", "step_type": "PLAYBOOK_ACTION", "playbook_id": book})
    wrapped = pb.StartPlaybookRequest(name=incident, playbook=calling)
    error = refused(desk.incidents("operator").StartPlaybook, wrapped)
    assert error.metadata["permission"] == "security.response_playbooks.approve"
    none = desk.why(incident, "tenants/acme/response_playbooks/none")
    assert none.reason == "RESOURCE_NOT_FOUND"
    assert desk.tasks(incident) == []


def test_what_cannot_be_armed_is_refused_by_name(desk: Desk) -> None:
    def on(*conditions: dict[str, str], **values: Any) -> str:
        return desk.book(action("a"), trigger_conditions=list(conditions), **values)

    wrong = {"collection": "incidents", "filter": "severity >= NOTHING"}
    for book, problem in (
        (on(), "has no trigger_conditions"),
        (on({"collection": "nothing"}), "trigger_conditions[0]: no collection 'nothing'"),
        (on({"collection": "incidents"}, wrong), "trigger_conditions[1]: "),
        (on({"collection": "incidents"}, status="DEFINITION_STATUS_DRAFT"), "is not in use"),
    ):
        error = refused(desk.incidents().ArmPlaybook, pb.ArmPlaybookRequest(name=book))
        assert (error.reason, problem in error.message) == ("PLAYBOOK_REFUSED", True), error
    book = on({"collection": "email_analyses"})
    request = pb.ArmPlaybookRequest(name=book)
    assert refused(desk.incidents("operator").ArmPlaybook, request).reason == "PERMISSION_MISSING"
    strange = refused(desk.incidents("admin", "beta").ArmPlaybook, request)
    assert strange.reason == "RESOURCE_NOT_FOUND"
    few = ("security.response_playbooks.arm", "security.incidents.respond")
    for granted, missing in (
        (few, "security.incidents.create"),
        ((*few, "security.incidents.create"), "security.email_analyses.list"),
    ):
        stub = desk.stub_of("acme", IncidentServiceStub, permissions=granted)
        assert refused(stub.ArmPlaybook, request).metadata["permission"] == missing


def test_who_armed_a_playbook_is_shown_until_it_is_disarmed(desk: Desk) -> None:
    book = desk.book(action("a"), trigger_conditions=[{"collection": "email_analyses"}])
    shown, stub = pb.GetPlaybookWatchRequest(name=book), desk.incidents()
    assert stub.ArmPlaybook(pb.ArmPlaybookRequest(name=book, validate_only=True)).armed
    assert not desk.incidents("viewer").GetPlaybookWatch(shown).armed
    stub.ArmPlaybook(pb.ArmPlaybookRequest(name=book))
    watch = desk.incidents("viewer").GetPlaybookWatch(shown)
    assert (watch.armed, watch.armed_by, watch.playbook) == (True, "ann", book)
    assert not stub.DisarmPlaybook(pb.DisarmPlaybookRequest(name=book)).armed
    assert not stub.DisarmPlaybook(pb.DisarmPlaybookRequest(name=book)).armed
    assert not stub.GetPlaybookWatch(shown).armed
    for call in (stub.GetPlaybookWatch, stub.DisarmPlaybook):
        other = type(shown) if call == stub.GetPlaybookWatch else pb.DisarmPlaybookRequest
        error = refused(call, other(name="tenants/acme/response_playbooks/none"))
        assert error.reason == "RESOURCE_NOT_FOUND"


def test_a_served_process_sets_an_armed_playbook_off(desk: Desk) -> None:
    title = new_uuid()
    condition = {"collection": "incidents", "filter": f'title == "{title}"'}
    book = desk.book(action("one"), action("two"), trigger_conditions=[condition])
    desk.incidents().ArmPlaybook(pb.ArmPlaybookRequest(name=book))
    incident = desk.incident(title=title)
    until(lambda: desk.tasks(incident))
    [task] = desk.tasks(incident)
    assert (task.title, task.playbook_id) == ("one", book)
    watch = desk.incidents().GetPlaybookWatch(pb.GetPlaybookWatchRequest(name=book))
    assert (watch.start_count, watch.problem) == (1, "")
