"""What starts workflows by itself, and what becomes of runs when their process dies."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from mesh.identifiers import new_uuid
from secmesh.records.v1.write_requests_pb2 import DeleteRecordRequest
from secmesh.security.v1 import workflow_service_pb2 as pb
from secmesh.security.v1.record_write_pb2 import UpdateRecordRequest
from secmesh.security.v1.vocabulary_operation_pb2 import DefinitionStatus
from tests.databases import security_database
from tests.service.security_world import copy_of
from tests.service.workflow_parts import HOUR, at_once
from tests.service.workflow_world import Shop, noting, shop, until

"""Processes are started anew in the middle."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with (
        security_database() as access,
        shop(Shop(access, tmp_path_factory.mktemp("home"))) as made,
    ):
        yield made


def minute_not_soon() -> int:
    """Give the minute of an hour that is half an hour away: no clock gets to it by itself."""
    return (datetime.now(UTC).minute + 30) % 60


def incident(world: Shop, title: str, severity: str = "SEVERITY_HIGH") -> str:
    return world.create(
        "incidents",
        "incident",
        title=title,
        source="phone",
        severity=severity,
        status="INCIDENT_STATUS_NEW",
        detect_time="2026-01-01T00:00:00Z",
    )


def test_a_change_starts_one_run_whichever_process_sees_it(world: Shop) -> None:
    title = new_uuid()
    config = {
        "collection": "incidents",
        "condition": f'title == "{title}" && severity >= SEVERITY_HIGH',
    }
    incident(world, title)
    step = noting("note", "trigger.ref + trigger.incident")
    name = world.active(step, trigger_type="WORKFLOW_TRIGGER_EVENT", trigger_config=config)
    before = len(world.runs_of(name))
    incident(world, title, "SEVERITY_LOW")
    made = [incident(world, title) for _ in range(5)]
    until(lambda: {each.trigger_ref for each in world.runs_of(name)} >= set(made))
    change = copy_of(world.get(made[0]))
    change.incident.description = "more is known"
    world.records.UpdateRecord(UpdateRecordRequest(record=change))
    until(lambda: len(world.runs_of(name)) >= before + 6)
    until(lambda: all(each.HasField("end_time") for each in world.runs_of(name)))
    runs = [each for each in world.runs_of(name) if each.trigger_ref in made]
    assert sorted(each.trigger_ref for each in runs) == sorted([*made, made[0]])
    assert {each.incident_id for each in runs} == set(made)
    assert {each.trigger_type for each in runs} == {2}
    assert len(world.found("incidents", f'title == "{made[1]}{made[1]}"')) == 1
    paused = copy_of(world.get(name))
    paused.workflow.status = DefinitionStatus.DEFINITION_STATUS_PAUSED
    world.records.UpdateRecord(UpdateRecordRequest(record=paused))
    incident(world, title)
    at_once(world, 0)
    assert len(world.runs_of(name)) <= before + 6


def test_what_a_run_writes_starts_no_run(world: Shop) -> None:
    title = new_uuid()
    name = world.active(
        noting("note", f"'{title}'"),
        trigger_type="WORKFLOW_TRIGGER_EVENT",
        trigger_config={"collection": "incidents", "condition": f'title == "{title}"'},
    )
    incident(world, title)
    until(lambda: len(world.found("incidents", f'title == "{title}"')) == 2)
    last = incident(world, title)
    until(lambda: any(each.trigger_ref == last for each in world.runs_of(name)))
    assert len(world.runs_of(name)) == 2


def test_each_due_time_starts_one_run_and_missed_ones_are_one(world: Shop) -> None:
    minute = minute_not_soon()
    name = world.active(
        {"key": "pause", "wait": {"seconds": 0}},
        trigger_type="WORKFLOW_TRIGGER_SCHEDULE",
        trigger_config={"cron": f"{minute} * * * *", "timezone": "Europe/Berlin"},
    )
    assert world.runs_of(name) == []
    assert at_once(world, HOUR) == 1
    assert at_once(world, HOUR) == 0
    assert at_once(world, 5 * HOUR) == 1
    runs = world.runs_of(name)
    assert len({each.execution_key for each in runs}) == 2
    assert all(int(each.execution_key.partition("@")[2]) % 3600 == minute * 60 for each in runs)
    world.stub().DeactivateWorkflow(pb.DeactivateWorkflowRequest(name=name))
    assert at_once(world, 9 * HOUR) == 0


def test_a_workflow_that_was_deleted_stops_no_other_from_being_started(world: Shop) -> None:
    step = {"key": "pause", "wait": {"seconds": 0}}
    hourly = {
        "trigger_type": "WORKFLOW_TRIGGER_SCHEDULE",
        "trigger_config": {"cron": f"{minute_not_soon()} * * * *"},
    }
    gone, left = (world.active(step, **hourly) for _ in range(2))
    world.records.DeleteRecord(DeleteRecordRequest(name=gone))
    assert at_once(world, 100 * HOUR) == 1
    assert len(world.runs_of(left)) == 1
    world.stub().DeactivateWorkflow(pb.DeactivateWorkflowRequest(name=left))


def test_runs_of_a_process_that_dies_are_carried_on_and_nothing_is_done_twice(
    world: Shop,
) -> None:
    title = new_uuid()
    count = 40
    name = world.active(
        {
            "key": "each",
            "type": "LOOP",
            "branch": {"expression": f"[{','.join(map(str, range(count)))}]", "steps": ["note"]},
        },
        noting("note", f"'{title}' + string(item)"),
    )
    executions = [world.run(name) for _ in range(3)]
    until(lambda: any(len(world.steps(each)) > 3 for each in executions))
    living = [each for each in world.processes if each.popen.poll() is None]
    for each in living:
        each.kill()
    world.begin()
    for execution in executions:
        world.ended(execution)
        assert world.status(execution) == "SUCCEEDED", world.story(execution)
        assert set(world.states(execution).values()) == {"SUCCEEDED"}
    for item in range(count):
        found = world.found("incidents", f'title == "{title}{item}"')
        assert len(found) == len(executions), item


def test_a_process_that_is_stopped_leaves_its_runs_to_another(world: Shop) -> None:
    name = world.active({"key": "pause", "wait": {"seconds": 1}})
    execution: Any = world.run(name)
    for each in [each for each in world.processes if each.popen.poll() is None]:
        each.stop()
    world.begin()
    world.ended(execution)
    assert world.status(execution) == "SUCCEEDED"
