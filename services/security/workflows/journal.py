"""What one run has done, written as it goes; nothing more once another process took it over."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.errors import ReferenceNotFound
from mesh.sql.transactions import act_as
from secmesh.security.v1.vocabulary_operation_pb2 import ExecutionStatus
from secmesh.security.v1.workflow_run_pb2 import WorkflowRun, WorkflowStepRun
from services.security.editing import RecordEditor
from services.security.findings.due import moment_of, set_moment
from services.security.workflows.json_values import from_struct, to_value
from services.security.workflows.plan import Node
from services.security.workflows.run_store import RunStore, execution_of

State = WorkflowStepRun.State
ENDED = frozenset(
    {
        WorkflowStepRun.STATE_SUCCEEDED,
        WorkflowStepRun.STATE_FAILED,
        WorkflowStepRun.STATE_SKIPPED,
        WorkflowStepRun.STATE_COMPENSATED,
    }
)
ACTOR = "workflow:"
"""Begins the names of runs as the change feed tells who wrote."""
LONGEST_ERROR = 2000
_RUNNING = ExecutionStatus.EXECUTION_STATUS_RUNNING


class RunCanceled(Exception):
    """Somebody wants the run to stop."""


class RunTimedOut(Exception):
    """The run takes longer than its workflow allows."""


class Journal:
    """The steps of one run that this process executes."""

    def __init__(self, runs: RunStore, editor: RecordEditor, run: WorkflowRun) -> None:
        self.run = run
        self.execution = execution_of(run.name)
        self.actor = f"{ACTOR}{self.execution}"
        self.steps: dict[str, WorkflowStepRun] = {}
        """By path."""
        self._runs = runs
        self._editor = editor
        self._sequence = 0

    async def read(self) -> None:
        """Read what was written before."""
        self.steps = await self._runs.steps(self.execution)
        self._sequence = max((each.sequence for each in self.steps.values()), default=0)

    def now(self) -> int:
        """Give the present in microseconds since 1970."""
        return self._editor.clock()

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """Write in one transaction; LeaseLost, RunCanceled, RunTimedOut."""
        async with self._runs.store.transaction() as connection:
            await act_as(connection, self.actor)
            held = await self._runs.hold(connection, self.run.name)
            if held.canceled_by:
                raise RunCanceled
            if held.HasField("deadline") and self.now() >= moment_of(held, "deadline"):
                raise RunTimedOut
            yield connection

    def step(self, path: str, node: Node) -> WorkflowStepRun:
        """Give the record of a step, new if there is none yet."""
        found = self.steps.get(path)
        if found is not None:
            return found
        step = WorkflowStepRun(execution=self.execution, path=path, step=node.name)
        set_moment(step, "start_time", self.now())
        return step

    async def write(
        self, connection: AsyncConnection, step: WorkflowStepRun, state: Any, error: str = ""
    ) -> None:
        """Write where a step is."""
        step.state = state
        step.error_message = error[:LONGEST_ERROR]
        if state in ENDED:
            self._sequence += 1
            step.sequence = self._sequence
            set_moment(step, "end_time", self.now())
            step.ClearField("wake_time")
        await self._runs.save_step(connection, step)
        self.steps[step.path] = step

    async def begin(self, step: WorkflowStepRun, state: Any) -> None:
        """Write that a step is being done, and that the run is at it."""
        async with self.writing() as connection:
            await self.write(connection, step, state)
            await self.show(connection, current_step_id=step.step, status=_RUNNING)

    async def end(self, step: WorkflowStepRun, result: Any = None) -> None:
        """Write that a step is done."""
        async with self.writing() as connection:
            await self.succeed(connection, step, result)

    async def succeed(
        self, connection: AsyncConnection, step: WorkflowStepRun, result: Any
    ) -> None:
        """Write that a step is done, in a transaction of the caller."""
        step.result.CopyFrom(to_value(result))
        await self.write(connection, step, WorkflowStepRun.STATE_SUCCEEDED)

    async def show(self, connection: AsyncConnection, **fields: Any) -> None:
        """Set fields of the execution, as callers read it."""
        record = await self._editor.find(connection, self.execution)
        body = record.workflow_execution
        for name, value in fields.items():
            setattr(body, name, value)
        try:
            await self._editor.replace(connection, record)
        except ReferenceNotFound:
            # The step was deleted after the workflow was activated; the plan still has it.
            body.ClearField("current_step_id")
            await self._editor.replace(connection, record)

    def told(self, prefix: str) -> Mapping[str, Any]:
        """Give what expressions of a scope read of steps: those beside it and around it."""
        found = {}
        for path, step in self.steps.items():
            scope, _, key = path.rpartition("/")
            around = f"{scope}/" if scope else ""
            if prefix.startswith(around):
                found[key] = {
                    "status": WorkflowStepRun.State.Name(step.state).removeprefix("STATE_"),
                    "result": from_struct(step.result) if step.HasField("result") else None,
                    "error": step.error_message,
                    "attempts": len(step.attempts),
                }
        return found


def status_name(number: int) -> str:
    """Give the name of an execution's status."""
    return ExecutionStatus.Name(number)  # type: ignore[arg-type]  # numbers come from the store
