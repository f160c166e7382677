"""Who may let workflows run, and what is refused, over one real server on one real PostgreSQL."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict

from mesh.identifiers import new_uuid
from secmesh.records.v1.write_requests_pb2 import DeleteRecordRequest
from secmesh.security.v1 import workflow_service_pb2 as pb
from secmesh.security.v1.record_pb2 import Record
from secmesh.security.v1.record_write_pb2 import CreateRecordRequest, UpdateRecordRequest
from secmesh.security.v1.vocabulary_operation_pb2 import DefinitionStatus
from secmesh.security.v1.workflow_pb2 import Workflow
from secmesh_client import CallRefused
from tests.databases import security_database
from tests.service.security_world import copy_of, refused
from tests.service.service_made import write_as_service
from tests.service.workflow_world import TENANT, Shop, noting, shop


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with (
        security_database() as access,
        shop(Shop(access, tmp_path_factory.mktemp("home"))) as made,
    ):
        yield made


def titled(world: Shop, title: str) -> list[Any]:
    return world.found("incidents", f'title == "{title}"')


def integer(key: str) -> dict[str, Any]:
    return {"key": key, "type": "int", "required": True}


def test_a_named_request_starts_one_run(world: Shop) -> None:
    name, key = world.active({"key": "pause", "wait": {"seconds": 0}}), new_uuid()
    with ThreadPoolExecutor(4) as pool:

        def ask(_: int) -> str:
            try:
                return world.run(name, request_id=key)
            except CallRefused as error:
                assert error.reason == "REQUEST_IN_PROGRESS", error  # noqa: PT017 - either is right
                return ""

        assert len(set(pool.map(ask, range(4))) - {""}) == 1
    tried = pb.RunWorkflowRequest(name=name, validate_only=True)
    world.stub().RunWorkflow(tried)
    assert len(world.runs_of(name)) == 1


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "input.n"),
        ({"n": "3"}, "input.n"),
        ({"n": 1.5}, "input.n"),
        ({"n": 1, "m": 1}, "input.m"),
        ({"n": 1, "names": "a"}, "input.names"),
    ],
)
def test_what_is_given_is_held_against_the_parameters(
    world: Shop, given: dict[str, Any], field: str
) -> None:
    name = world.active(
        {"key": "pause", "wait": {"seconds": 0}},
        definition={"parameters": [integer("n"), {"key": "names", "type": "list"}]},
    )
    with pytest.raises(CallRefused) as error:
        world.run(name, given)
    assert (error.value.reason, field in error.value.message) == ("FIELD_INVALID", True)
    assert world.runs_of(name) == []


def test_a_run_follows_what_was_activated_and_only_that(world: Shop) -> None:
    title = new_uuid()
    name = world.workflow(noting("note", f"'{title}'"))
    request = pb.RunWorkflowRequest(name=name)
    assert refused(world.stub().RunWorkflow, request).reason == "WORKFLOW_INACTIVE"
    trial = pb.ActivateWorkflowRequest(name=name, validate_only=True)
    assert world.stub().ActivateWorkflow(trial).workflow.status == 2
    assert refused(world.stub().RunWorkflow, request).reason == "WORKFLOW_INACTIVE"
    world.stub().ActivateWorkflow(pb.ActivateWorkflowRequest(name=name))
    [step] = world.found("workflow_steps", f'workflow_id == "{name}"')
    world.records.DeleteRecord(DeleteRecordRequest(name=step.name))
    execution = world.run(name)
    world.ended(execution)
    assert world.status(execution) == "SUCCEEDED", world.story(execution)
    assert len(titled(world, title)) == 1
    world.stub().DeactivateWorkflow(pb.DeactivateWorkflowRequest(name=name))
    assert refused(world.stub().RunWorkflow, request).reason == "WORKFLOW_INACTIVE"
    error = refused(world.stub().ActivateWorkflow, pb.ActivateWorkflowRequest(name=name))
    assert (error.reason, "0 steps" in error.message) == ("WORKFLOW_INVALID", True)


def test_a_record_makes_no_workflow_active_and_tells_no_run_otherwise(world: Shop) -> None:
    name = world.workflow({"key": "pause", "wait": {"seconds": 0}})
    change = copy_of(world.get(name))
    change.workflow.status = DefinitionStatus.DEFINITION_STATUS_ACTIVE
    error = refused(world.records.UpdateRecord, UpdateRecordRequest(record=change))
    assert error.reason == "TRANSITION_REFUSED"
    with pytest.raises(CallRefused) as created:
        world.workflow({"key": "k", "wait": {}}, status="DEFINITION_STATUS_ACTIVE")
    assert created.value.reason == "TRANSITION_REFUSED"
    world.stub().ActivateWorkflow(pb.ActivateWorkflowRequest(name=name))
    execution = world.run(name)
    world.ended(execution)
    change = copy_of(world.get(execution))
    change.workflow_execution.status = 5
    error = refused(world.records.UpdateRecord, UpdateRecordRequest(record=change))
    assert (error.reason, "status" in error.message) == ("FIELD_INVALID", True)


def test_a_run_may_what_its_activator_may_and_its_caller_needs_leave(world: Shop) -> None:
    title = new_uuid()
    name = world.workflow(noting("note", f"'{title}'"))
    activate = pb.ActivateWorkflowRequest(name=name)
    operator = world.stub("olga", role="operator")
    assert refused(operator.ActivateWorkflow, activate).reason == "PERMISSION_MISSING"
    world.stub().ActivateWorkflow(activate)
    viewer = world.stub("vera", role="viewer")
    run = pb.RunWorkflowRequest(name=name)
    assert refused(viewer.RunWorkflow, run).reason == "PERMISSION_MISSING"
    world.ended(operator.RunWorkflow(run).name)
    assert len(titled(world, title)) == 1
    other = world.active(
        {
            "key": "reach",
            "action": {
                "operation": "record.get",
                "arguments": {"name": "'tenants/beta/incidents/any'"},
            },
        }
    )
    assert "does not exist" in world.ended(world.run(other)).error_message


def test_another_tenants_workflow_and_run_do_not_exist(world: Shop) -> None:
    name = world.active({"key": "pause", "wait": {"seconds": 900}})
    execution = world.run(name)
    strange = world.stub("ann", "beta")
    none = name.rpartition("/")[0] + "/none"
    unknown = refused(world.stub().RunWorkflow, pb.RunWorkflowRequest(name=none))
    asked: list[tuple[Any, Any]] = [
        (strange.ActivateWorkflow, pb.ActivateWorkflowRequest(name=name)),
        (strange.DeactivateWorkflow, pb.DeactivateWorkflowRequest(name=name)),
        (strange.RunWorkflow, pb.RunWorkflowRequest(name=name)),
        (strange.CancelExecution, pb.CancelExecutionRequest(name=execution)),
        (strange.ResumeExecution, pb.ResumeExecutionRequest(name=execution)),
        (strange.DecideApproval, pb.DecideApprovalRequest(name=execution, path="pause")),
        (strange.ListStepRuns, pb.ListStepRunsRequest(parent=execution)),
    ]
    for call, request in asked:
        error = refused(call, request)
        named = getattr(request, "name", "") or request.parent
        assert (error.code, error.reason) == (unknown.code, "RESOURCE_NOT_FOUND")
        assert error.message == unknown.message.replace(none, named)
    world.stub().CancelExecution(pb.CancelExecutionRequest(name=execution))
    gone = pb.ListStepRunsRequest(parent=f"{TENANT}/workflow_executions/none")
    assert refused(world.stub().ListStepRuns, gone).reason == "RESOURCE_NOT_FOUND"
    assert isinstance(world.get(name).workflow, Workflow)


def test_a_run_ends_with_its_record_and_another_record_of_its_name_is_none(world: Shop) -> None:
    title = new_uuid()
    ask = {"key": "ask", "approval": {"users": [f"{TENANT}/users/ann"]}}
    name = world.active(
        ask,
        noting("note", "input.title", depends_on=["ask"]),
        definition={"parameters": [{"key": "title", "type": "string"}]},
    )
    execution = world.run(name, {"title": "what was asked for"})
    world.reach(execution, "WAITING")
    forged = Record()
    forged.workflow_execution.CopyFrom(world.body(execution))
    forged.workflow_execution.input.update({"title": title})
    world.records.DeleteRecord(DeleteRecordRequest(name=execution))
    create = CreateRecordRequest(
        parent=f"{TENANT}/workflow_executions",
        record=forged,
        record_id=execution.rpartition("/")[2],
    )
    assert refused(world.records.CreateRecord, create).reason == "KIND_READ_ONLY"
    write_as_service(world.access, [create])
    decide = pb.DecideApprovalRequest(name=execution, path="ask", approve=True)
    assert refused(world.stub().DecideApproval, decide).reason == "RESOURCE_NOT_FOUND"
    assert titled(world, title) == []


def test_nobody_tells_the_audit_log_that_entries_left(world: Shop) -> None:
    with pytest.raises(CallRefused) as error:
        world.create(
            "iam_audit_logs",
            "iam_audit_log",
            actor_name="system",
            activity="IAM_ACTIVITY_DELETE",
            operation="audit.leave",
            outcome="OUTCOME_SUCCESS",
            event_time="2026-01-01T00:00:00Z",
            before_state={"runs": "none"},
        )
    assert (error.value.reason, "operation" in error.value.message) == ("FIELD_INVALID", True)


def test_a_mere_record_does_not_pass_for_the_run_that_a_request_names(world: Shop) -> None:
    name = world.active({"key": "pause", "wait": {"seconds": 0}})
    forged = {
        "workflow_id": name,
        "execution_key": new_uuid(),
        "status": "EXECUTION_STATUS_SUCCEEDED",
        "trigger_type": "WORKFLOW_TRIGGER_API",
    }
    with pytest.raises(CallRefused) as error:
        world.create("workflow_executions", "workflow_execution", **forged)
    assert error.value.reason == "KIND_READ_ONLY"
    create = CreateRecordRequest(parent=f"{TENANT}/workflow_executions", record_id=new_uuid())
    ParseDict(forged, create.record.workflow_execution)
    write_as_service(world.access, [create])
    request = pb.RunWorkflowRequest(name=name, request_id=forged["execution_key"])
    assert refused(world.stub().RunWorkflow, request).reason == "RESOURCE_EXISTS"


@pytest.mark.parametrize("field", ["trigger_ref", "incident_id"])
def test_what_a_run_is_about_stays(world: Shop, field: str) -> None:
    name = world.active({"key": "pause", "wait": {"seconds": 900}})
    execution = world.run(name)
    world.reach(execution, "WAITING")
    change = copy_of(world.get(execution))
    setattr(change.workflow_execution, field, f"{TENANT}/incidents/another")
    error = refused(world.records.UpdateRecord, UpdateRecordRequest(record=change))
    assert (error.reason, field in error.message) == ("FIELD_INVALID", True)
    world.stub().CancelExecution(pb.CancelExecutionRequest(name=execution))
