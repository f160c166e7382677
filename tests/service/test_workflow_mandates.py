"""Who answers for whom, and how long a run may do what its activator could."""

from collections.abc import Iterator
from typing import Any

import pytest

from mesh.identifiers import new_uuid
from secmesh.records.v1.write_requests_pb2 import DeleteRecordRequest
from secmesh.security.v1 import workflow_service_pb2 as pb
from secmesh.security.v1.record_write_pb2 import UpdateRecordRequest
from secmesh.security.v1.user_pb2 import UserRole, UserStatus
from secmesh.security.v1.workflow_service_pb2_grpc import WorkflowServiceStub
from tests.databases import security_database
from tests.service.security_world import copy_of, refused
from tests.service.workflow_parts import at_once
from tests.service.workflow_world import TENANT, Shop, noting, shop, until


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with (
        security_database() as access,
        shop(Shop(access, tmp_path_factory.mktemp("home"))) as made,
    ):
        yield made


def change(world: Shop, name: str, **values: Any) -> None:
    record = copy_of(world.get(name))
    for field, value in values.items():
        setattr(record.user, field, value)
    world.records.UpdateRecord(UpdateRecordRequest(record=record))


def test_nobody_answers_under_the_name_of_another(world: Shop) -> None:
    asked = world.user("asked", username=f"boss-{new_uuid()}")
    other = world.user("other")
    # Who may write users takes the name of whom is asked, and the subject as a name.
    change(world, asked, username="was-asked", email="was@acme.example")
    change(world, other, username="asked", email="asked@acme.example")
    step = {"key": "ask", "approval": {"users": [asked]}}
    execution = world.run(world.active(step))
    world.reach(execution, "WAITING")
    request = pb.DecideApprovalRequest(name=execution, path="ask", approve=True)
    for subject in ("other", "was-asked", "asked@acme.example"):
        stub = world.stub(subject)
        assert refused(stub.DecideApproval, request).reason == "APPROVER_REFUSED"
    strange = world.stub_of(
        "beta", WorkflowServiceStub, "admin", subject="asked", tenants=("acme",)
    )
    assert refused(strange.DecideApproval, request).reason == "APPROVER_REFUSED"
    change(world, asked, status=UserStatus.USER_STATUS_SUSPENDED)
    assert refused(world.stub("asked").DecideApproval, request).reason == "APPROVER_REFUSED"
    change(world, asked, status=UserStatus.USER_STATUS_ACTIVE)
    world.stub("asked").DecideApproval(request)
    world.ended(execution)
    assert world.status(execution) == "SUCCEEDED"


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"status": UserStatus.USER_STATUS_SUSPENDED}, "is SUSPENDED"),
        ({"status": UserStatus.USER_STATUS_DEACTIVATED}, "is DEACTIVATED"),
        ({"role": UserRole.USER_ROLE_VIEWER}, "is only VIEWER now"),
        (None, "is gone"),
    ],
)
def test_a_run_may_no_more_than_its_activator_may_still(
    world: Shop, values: dict[str, Any] | None, problem: str
) -> None:
    subject, title = new_uuid(), new_uuid()
    user = world.user(subject, role="USER_ROLE_ADMIN")
    wait = {"key": "ask", "approval": {"users": [world.user(new_uuid())]}}
    name = world.workflow(wait, noting("note", f"'{title}'", depends_on=["ask"]))
    world.stub(subject).ActivateWorkflow(pb.ActivateWorkflowRequest(name=name))
    execution = world.run(name)
    world.reach(execution, "WAITING")
    if values is None:
        world.records.DeleteRecord(DeleteRecordRequest(name=user))
    else:
        change(world, user, **values)
    answer = wait["approval"]["users"][0].rpartition("/")[2]  # type: ignore[index]  # of words
    world.stub(answer).DecideApproval(
        pb.DecideApprovalRequest(name=execution, path="ask", approve=True)
    )
    assert problem in world.ended(execution).error_message
    assert world.found("incidents", f'title == "{title}"') == []


def test_wrong_passwords_of_others_take_no_mandate_back(world: Shop) -> None:
    subject, title = new_uuid(), new_uuid()
    user = world.user(subject, role="USER_ROLE_ANALYST")
    name = world.workflow(noting("note", f"'{title}'"))
    world.stub(subject).ActivateWorkflow(pb.ActivateWorkflowRequest(name=name))
    change(world, user, status=UserStatus.USER_STATUS_LOCKED, role=UserRole.USER_ROLE_ADMIN)
    world.ended(world.run(name))
    assert len(world.found("incidents", f'title == "{title}"')) == 1


def test_who_may_not_list_a_collection_is_told_of_no_change_in_it(world: Shop) -> None:
    title = new_uuid()
    watched = {
        "trigger_type": "WORKFLOW_TRIGGER_EVENT",
        "trigger_config": {"collection": "incidents", "condition": f'title == "{title}"'},
    }
    subject = new_uuid()
    user = world.user(subject, role="USER_ROLE_ADMIN")
    name = world.workflow({"key": "pause", "wait": {"seconds": 0}}, **watched)
    activate = pb.ActivateWorkflowRequest(name=name)
    blind = world.stub_of(
        "acme", WorkflowServiceStub, permissions=("security.workflows.*",), subject=subject
    )
    error = refused(blind.ActivateWorkflow, activate)
    assert error.metadata["permission"] == "security.incidents.list"
    world.stub(subject).ActivateWorkflow(activate)
    first = noted(world, title)
    until(lambda: [each.trigger_ref for each in world.runs_of(name)] == [first])
    change(world, user, status=UserStatus.USER_STATUS_SUSPENDED)
    noted(world, title)
    witness = world.active({"key": "pause", "wait": {"seconds": 0}}, **watched)
    last = noted(world, title)
    # Who is activated later sees it: so the others of the tenant were looked at as well.
    until(lambda: last in {each.trigger_ref for each in world.runs_of(witness)})
    assert at_once(world, 0) == 0
    assert [each.trigger_ref for each in world.runs_of(name)] == [first]


def noted(world: Shop, title: str) -> str:
    return world.create(
        "incidents",
        "incident",
        title=title,
        source="phone",
        severity="SEVERITY_HIGH",
        status="INCIDENT_STATUS_NEW",
        detect_time="2026-01-01T00:00:00Z",
    )


def test_the_audit_log_is_told_who_wrote_by_the_token(world: Shop) -> None:
    entry = {
        "activity": "IAM_ACTIVITY_DELETE",
        "operation": "user.delete",
        "target_type": "users",
        "target_id": "7",
        "outcome": "OUTCOME_SUCCESS",
        "event_time": "2026-01-01T00:00:00Z",
    }
    name = world.create("iam_audit_logs", "iam_audit_log", **{**entry, "actor_name": "boss"})
    assert world.get(name).iam_audit_log.actor_name == "ann"
    literal = ", ".join(f"'{key}': '{value}'" for key, value in entry.items())
    step = {
        "key": "tell",
        "action": {
            "operation": "record.create",
            "arguments": {
                "collection": "'iam_audit_logs'",
                "record": f"{{{literal}, 'actor_name': 'boss'}}",
            },
        },
    }
    execution = world.run(world.active(step))
    world.ended(execution)
    assert world.status(execution) == "SUCCEEDED", world.story(execution)
    told = {
        each.iam_audit_log.actor_name
        for each in world.found("iam_audit_logs", 'operation == "user.delete"')
    }
    assert told == {"ann", f"workflow:{execution}"}
    assert TENANT in execution
