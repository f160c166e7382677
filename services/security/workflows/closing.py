"""How runs end: what is told of them, who is woken, who is stopped."""

import contextlib
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.errors import ResourceNotFound
from secmesh.security.v1.vocabulary_operation_pb2 import ExecutionStatus, TaskStatus
from secmesh.security.v1.workflow_run_pb2 import WorkflowRun, WorkflowStepRun
from services.security.editing import RecordEditor, required_tenant
from services.security.findings.due import moment_of, set_moment
from services.security.workflows.actions import Tools
from services.security.workflows.journal import ACTOR, ENDED
from services.security.workflows.json_values import to_struct
from services.security.workflows.run_store import execution_of, run_of

RESPONSES = "incident_responses"
_LEFT = "the run ended before it did"
_STOPPED = "what waited for it has ended"
_OPEN_TASKS = (TaskStatus.TASK_STATUS_WAITING, TaskStatus.TASK_STATUS_IN_PROGRESS)
_TASKS = {
    ExecutionStatus.EXECUTION_STATUS_SUCCEEDED: TaskStatus.TASK_STATUS_COMPLETED,
    ExecutionStatus.EXECUTION_STATUS_CANCELED: TaskStatus.TASK_STATUS_CANCELED,
}


@dataclass(frozen=True)
class Ending:
    """How a run ended."""

    status: Any
    problem: str = ""
    output: Any = None


async def close_run(
    tools: Tools,
    editor: RecordEditor,
    connection: AsyncConnection,
    run: WorkflowRun,
    ending: Ending,
) -> Any:
    """End a run that was locked, in a transaction of the caller; give the execution."""
    moment = editor.clock()
    problem = ending.problem
    if ending.status == ExecutionStatus.EXECUTION_STATUS_CANCELED:
        problem = f"stopped by {run.canceled_by}: {run.cancel_reason}".removesuffix(": ")
    tools.runs.give_back(run, None)
    run.ended = True
    run.ClearField("wake_time")
    await tools.runs.save(connection, run)
    for step in (await tools.runs.steps(execution_of(run.name), connection)).values():
        if step.state not in ENDED:
            step.state, step.error_message = WorkflowStepRun.STATE_FAILED, _LEFT
            set_moment(step, "end_time", moment)
            await tools.runs.save_step(connection, step)
    record = await editor.find(connection, execution_of(run.name))
    body = record.workflow_execution
    body.status = ending.status
    body.ClearField("current_step_id")
    if problem:
        body.error_message = problem[:8192]
    if ending.output is not None:
        body.output.CopyFrom(to_struct(ending.output))
    set_moment(body, "end_time", moment)
    if body.HasField("start_time"):
        body.duration_ms = max(0, moment - moment_of(body, "start_time")) // 1000
    await _settle_tasks(tools, editor, connection, record)
    return await editor.replace(connection, record)


async def _settle_tasks(
    tools: Tools, editor: RecordEditor, connection: AsyncConnection, execution: Any
) -> None:
    """End the tasks of incidents that the run carried out."""
    store = tools.runs.store
    columns = store.target(RESPONSES).table.c
    tenant, body = required_tenant(execution.name), execution.workflow_execution
    found = store.select(RESPONSES, tenant, ["id"]).where(
        columns.execution_id == execution.name.rpartition("/")[2], columns.status.in_(_OPEN_TASKS)
    )
    for (task,) in await store.fetch(found, connection):
        record = await editor.find(connection, f"tenants/{tenant}/{RESPONSES}/{task}")
        response = record.incident_response
        response.status = _TASKS.get(body.status, TaskStatus.TASK_STATUS_FAILED)
        response.result = body.error_message
        response.end_time.CopyFrom(body.end_time)
        await editor.replace(connection, record)


async def tell_others(tools: Tools, run: WorkflowRun) -> None:
    """Wake who waits for a run that ended, and stop those that it waited for."""
    runs = tools.runs
    if run.parent:
        with contextlib.suppress(ResourceNotFound):
            async with runs.store.transaction() as connection:
                parent = await runs.lock(connection, run_of(run.parent))
                if not parent.ended:
                    runs.wake(parent, runs.clock())
                    await runs.save(connection, parent)
    async with runs.store.transaction() as connection:
        for child in await runs.children(connection, execution_of(run.name)):
            child.canceled_by = f"{ACTOR}{execution_of(run.name)}"[:256]
            child.cancel_reason = _STOPPED
            runs.wake(child, runs.clock())
            await runs.save(connection, child)
    tools.starter.poke()
