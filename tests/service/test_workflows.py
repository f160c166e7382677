"""Workflows that run, over one real server on one real PostgreSQL."""

from collections.abc import Iterator
from typing import Any

import pytest

from mesh.identifiers import new_uuid
from secmesh.security.v1 import workflow_service_pb2 as pb
from secmesh.security.v1.record_write_pb2 import CreateRecordRequest
from secmesh.security.v1.team_pb2 import TeamType
from secmesh_client import CallRefused
from services.security.workflows.json_values import from_struct
from tests.databases import security_database
from tests.service.security_world import refused
from tests.service.workflow_world import TENANT, Shop, noting, shop, until


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with (
        security_database() as access,
        shop(Shop(access, tmp_path_factory.mktemp("home"))) as made,
    ):
        for each in ("ann", "bob"):
            made.user(each)
        yield made


def titled(world: Shop, title: str) -> list[Any]:
    return world.found("incidents", f'title == "{title}"')


def integer(key: str) -> dict[str, Any]:
    return {"key": key, "type": "int", "required": True}


def test_a_run_hands_results_from_step_to_step_and_gives_outputs(world: Shop) -> None:
    title = new_uuid()
    name = world.active(
        noting("first", "input.title"),
        {
            "key": "second",
            "depends_on": ["first"],
            "action": {
                "operation": "incident.change_status",
                "arguments": {
                    "incident": "steps.first.result.name",
                    "status": "'INCIDENT_STATUS_IN_PROGRESS'",
                },
            },
        },
        {
            "key": "never",
            "condition_expression": "input.count > 5",
            "wait": {"seconds": 100},
        },
        {"key": "off", "is_enabled": False, "wait": {"seconds": 100}},
        definition={
            "parameters": [{"key": "title", "type": "string", "required": True}, integer("count")],
            "outputs": {
                "incident": "steps.second.result.name",
                "double": "input.count * 2",
                "skipped": "steps.never.status",
            },
        },
    )
    execution = world.run(name, {"title": title, "count": 3})
    body = world.ended(execution)
    [incident] = titled(world, title)
    assert world.status(execution) == "SUCCEEDED", world.story(execution)
    assert from_struct(body.output) == {
        "incident": incident.name,
        "double": 6,
        "skipped": "SKIPPED",
    }
    assert incident.incident.status == 2
    assert world.states(execution) == {
        "first": "SUCCEEDED",
        "second": "SUCCEEDED",
        "never": "SKIPPED",
        "off": "SKIPPED",
    }
    first = world.steps(execution)["first"]
    assert len(first.attempts) == 1
    assert first.attempts[0].HasField("end_time")
    assert body.started_by_user_id == f"{TENANT}/users/ann"
    assert body.duration_ms >= 0
    assert not body.current_step_id
    assert world.get(name).workflow.HasField("last_run_time")
    [step] = [
        each.incident_status_change
        for each in world.found("incident_statuses", f'incident_id == "{incident.name}"')
        if each.incident_status_change.from_status
    ]
    assert step.actor == f"workflow:{execution}"


def test_branches_go_one_way_all_at_a_time_and_round_by_round(world: Shop) -> None:
    title = new_uuid()
    name = world.active(
        {
            "key": "which",
            "type": "CONDITION",
            "branch": {"expression": "input.many", "steps": ["each"], "otherwise": ["both"]},
        },
        {
            "key": "each",
            "type": "LOOP",
            "branch": {"expression": "['a', 'b', 'c']", "steps": ["note"]},
        },
        noting("note", f"'{title}' + item + string(index)"),
        {"key": "both", "type": "PARALLEL", "branch": {"steps": ["left", "right"]}},
        noting("left", f"'{title}' + 'left'"),
        noting("right", f"'{title}' + 'right'"),
        definition={"parameters": [{"key": "many", "type": "bool"}]},
    )
    many, few = world.run(name, {"many": True}), world.run(name, {"many": False})
    world.ended(many)
    world.ended(few)
    assert world.states(many) == {
        "which": "SUCCEEDED",
        "which/each": "SUCCEEDED",
        "which/each[0]/note": "SUCCEEDED",
        "which/each[1]/note": "SUCCEEDED",
        "which/each[2]/note": "SUCCEEDED",
    }
    assert world.states(few) == {
        "which": "SUCCEEDED",
        "which/both": "SUCCEEDED",
        "which/both/left": "SUCCEEDED",
        "which/both/right": "SUCCEEDED",
    }
    for word in ("a0", "b1", "c2", "left", "right"):
        assert len(titled(world, title + word)) == 1


def broken(key: str, **rest: Any) -> dict[str, Any]:
    """Give a step that always fails."""
    arguments = {"name": f"'{TENANT}/incidents/none'"}
    return {"key": key, "action": {"operation": "record.get", "arguments": arguments}, **rest}


def test_a_step_that_fails_is_tried_again_and_then_does_what_its_policy_says(world: Shop) -> None:
    title = new_uuid()
    retry = {"max_attempts": 3, "initial_delay_ms": 20, "multiplier": 2}
    ends = world.active(
        broken("bad", retry_policy=retry), noting("late", "'x'", depends_on=["bad"])
    )
    goes = world.active(
        broken("bad", on_failure="CONTINUE"),
        noting("late", f"'{title}' + steps.bad.status", depends_on=["bad"]),
    )
    failed, went = world.run(ends), world.run(goes)
    body = world.ended(failed)
    assert world.status(failed) == "FAILED"
    assert "step bad: " in body.error_message
    step = world.steps(failed)["bad"]
    assert [bool(each.error_message) for each in step.attempts] == [True] * 3
    waits = [
        (after.start_time.ToMicroseconds() - before.end_time.ToMicroseconds()) / 1000
        for before, after in zip(step.attempts, step.attempts[1:], strict=False)
    ]
    assert waits[0] >= 20
    assert waits[1] >= 40
    assert "late" not in world.states(failed)
    world.ended(went)
    assert world.status(went) == "SUCCEEDED"
    assert len(titled(world, f"{title}FAILED")) == 1


def test_what_was_done_is_undone_where_a_step_asks_for_it(world: Shop) -> None:
    title = new_uuid()
    name = world.active(
        noting("one", f"'{title}'"),
        noting("two", f"'{title}'", depends_on=["one"]),
        broken("bad", depends_on=["two"], on_failure="COMPENSATE"),
    )
    execution = world.run(name)
    world.ended(execution)
    assert world.states(execution) == {"one": "COMPENSATED", "two": "COMPENSATED", "bad": "FAILED"}
    assert titled(world, title) == []


def test_a_halted_run_goes_on_from_its_step_when_it_is_resumed(world: Shop) -> None:
    incident = new_uuid()
    title = new_uuid()
    name = world.active(
        noting("before", f"'{title}'"),
        {
            "key": "look",
            "depends_on": ["before"],
            "on_failure": "RETRY",
            "action": {
                "operation": "record.get",
                "arguments": {"name": f"'{TENANT}/teams/{incident}'"},
            },
        },
    )
    execution = world.run(name)
    until(lambda: world.states(execution).get("look") == "HALTED")
    world.reach(execution, "WAITING")
    world.stub().ResumeExecution(pb.ResumeExecutionRequest(name=execution))
    until(lambda: world.steps(execution)["look"].resumptions == 1)
    until(lambda: world.states(execution)["look"] == "HALTED")
    request = CreateRecordRequest(parent=f"{TENANT}/teams", record_id=incident)
    request.record.team.name = incident
    request.record.team.team_type = TeamType.TEAM_TYPE_SECURITY
    world.records.CreateRecord(request)
    world.stub().ResumeExecution(pb.ResumeExecutionRequest(name=execution))
    world.ended(execution)
    assert world.status(execution) == "SUCCEEDED"
    assert len(titled(world, title)) == 1, "what was done before is not done again"
    assert len(world.steps(execution)["look"].attempts) == 3
    tried = pb.ListStepRunsRequest(parent=execution, filter='path == "look"')
    [look] = world.stub().ListStepRuns(tried).step_runs
    assert look.resumptions == 2
    escape = pb.ListStepRunsRequest(parent=execution, filter="true) || (true")
    assert refused(world.stub().ListStepRuns, escape).reason == "FILTER_INVALID"
    again = pb.ResumeExecutionRequest(name=execution)
    assert refused(world.stub().ResumeExecution, again).reason == "EXECUTION_STATE"


def test_people_are_asked_and_their_answers_count_once(world: Shop) -> None:
    people = [f"{TENANT}/users/{each}" for each in ("ann", "bob")]
    ask = {"key": "ask", "approval": {"users": people, "needed": 2}}
    execution, rejected = world.run(world.active(ask)), world.run(world.active(ask))

    def decide(who: str, run: str = execution, **fields: Any) -> Any:
        request = pb.DecideApprovalRequest(name=run, path="ask", **fields)
        return world.stub(who).DecideApproval(request)

    def why(who: str, **fields: Any) -> CallRefused:
        request = pb.DecideApprovalRequest(name=execution, **{"path": "ask", **fields})
        return refused(world.stub(who).DecideApproval, request)

    for each in (execution, rejected):
        world.reach(each, "WAITING")
    assert why("mallory", approve=True).reason == "APPROVER_REFUSED"
    assert why("ann", path="other").reason == "EXECUTION_STATE"
    decide("ann", approve=True)
    assert why("ann", approve=True).reason == "APPROVER_REFUSED"
    assert world.status(execution) == "WAITING"
    decide("bob", approve=True, comment="fine")
    world.ended(execution)
    step = world.steps(execution)["ask"]
    assert from_struct(step.result) == {"approved": True, "by": people}
    assert [each.comment for each in step.decisions] == ["", "fine"]
    assert why("bob", approve=True).reason == "EXECUTION_STATE"
    decide("bob", rejected, comment="not now")
    assert "said no: not now" in world.ended(rejected).error_message


def test_a_run_waits_as_long_as_it_is_told_and_no_longer_than_it_may(world: Shop) -> None:
    waits = world.run(world.active({"key": "pause", "wait": {"seconds": 1}}))
    step_late = world.run(world.active({"key": "p", "timeout_seconds": 1, "wait": {"seconds": 90}}))
    run_late = world.run(world.active({"key": "p", "wait": {"seconds": 90}}, timeout_seconds=1))
    unasked = world.run(
        world.active(
            {"key": "ask", "timeout_seconds": 1, "approval": {"users": [f"{TENANT}/users/ann"]}}
        )
    )
    body = world.ended(waits)
    assert world.status(waits) == "SUCCEEDED"
    assert body.duration_ms >= 1000
    assert "longer than 1 s" in world.ended(step_late).error_message
    world.ended(run_late)
    assert world.status(run_late) == "TIMED_OUT"
    assert world.states(run_late) == {"p": "FAILED"}
    assert "not answered within 1 s" in world.ended(unasked).error_message


def test_a_run_is_stopped_and_what_it_waits_for_with_it(world: Shop) -> None:
    child = world.active({"key": "pause", "wait": {"seconds": 900}})
    name = world.active({"key": "below", "subworkflow": {"workflow": child}})
    execution = world.run(name)
    until(lambda: world.steps(execution).get("below") and world.steps(execution)["below"].child)
    below = world.steps(execution)["below"].child
    world.reach(below, "WAITING")
    world.stub().CancelExecution(pb.CancelExecutionRequest(name=execution, reason="mistake"))
    assert "stopped by ann: mistake" in world.ended(execution).error_message
    world.ended(below)
    assert (world.status(execution), world.status(below)) == ("CANCELED", "CANCELED")
    again = pb.CancelExecutionRequest(name=execution)
    error = refused(world.stub().CancelExecution, again)
    assert (error.reason, error.metadata["status"]) == (
        "EXECUTION_STATE",
        "EXECUTION_STATUS_CANCELED",
    )


def test_a_workflow_runs_another_and_reads_what_it_gave(world: Shop) -> None:
    child = world.active(
        {"key": "pause", "wait": {"seconds": 0}},
        definition={"parameters": [integer("n")], "outputs": {"square": "input.n * input.n"}},
    )
    name = world.active(
        {"key": "below", "subworkflow": {"workflow": child, "arguments": {"n": "input.n + 1"}}},
        definition={
            "parameters": [integer("n")],
            "outputs": {"square": "steps.below.result.square"},
        },
    )
    execution = world.run(name, {"n": 3})
    assert from_struct(world.ended(execution).output) == {"square": 16}
    wrong = world.active({"key": "below", "subworkflow": {"workflow": child}})
    assert "input.n: must be set" in world.ended(world.run(wrong)).error_message


def test_runs_of_one_workflow_take_turns(world: Shop) -> None:
    name = world.active({"key": "pause", "wait": {"seconds": 1}}, max_concurrency=1)
    first, second = world.run(name), world.run(name)
    bodies = sorted(
        (world.ended(each) for each in (first, second)),
        key=lambda body: body.start_time.ToMicroseconds(),
    )
    assert bodies[1].start_time.ToMicroseconds() >= bodies[0].end_time.ToMicroseconds()
