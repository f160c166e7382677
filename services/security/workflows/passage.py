"""One passage through a run: until it ends, or until nothing can be done for a while."""

import contextlib
import logging
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.cel.expression import ExpressionFailed
from mesh.errors import Refusal, ResourceNotFound
from mesh.sql.transactions import act_as
from secmesh.security.v1.vocabulary_operation_pb2 import ExecutionStatus
from secmesh.security.v1.workflow_pb2 import WorkflowTrigger
from secmesh.security.v1.workflow_run_pb2 import WorkflowRun, WorkflowStepRun
from services.security.editing import RecordEditor
from services.security.findings.due import moment_of, set_moment
from services.security.workflows.actions import Actions, Tools
from services.security.workflows.closing import Ending, close_run, tell_others
from services.security.workflows.interpreter import (
    Interpreter,
    StepFailed,
    Suspended,
    ended_operations,
    sooner,
)
from services.security.workflows.journal import (
    ACTOR,
    Journal,
    RunCanceled,
    RunTimedOut,
)
from services.security.workflows.json_values import from_struct
from services.security.workflows.mandate import Mandate
from services.security.workflows.operations import OPERATIONS
from services.security.workflows.plan import stored_plan
from services.security.workflows.run_store import EXECUTIONS, LeaseLost, execution_of
from services.security.writers import writing_as

MAX_FAILURES = 6
"""Times in a row that a run may fail to be carried on, for no fault of a step."""
FIRST_PAUSE = 1_000_000
"""Microseconds until it is tried again; twice as long each time."""
_LOG = logging.getLogger(__name__)


class Passage:
    """Goes through runs that this process has leased."""

    def __init__(self, tools: Tools, editor: RecordEditor) -> None:
        self._tools = tools
        self._runs = tools.runs
        self._editor = editor

    async def go(self, run: WorkflowRun) -> None:
        """Carry on a run; LeaseLost if another process took it over."""
        journal = Journal(self._runs, self._editor, run)
        await journal.read()
        stored = await self._runs.plan(None, run.plan)
        plan = stored_plan(stored.content)
        record: Any = await self._tools.records.store.get(EXECUTIONS, journal.execution)
        body = record.workflow_execution
        mandate = Mandate(self._editor.users, stored, journal.actor)
        variables = {
            "input": from_struct(body.input),
            "execution": journal.execution,
            "trigger": {
                "type": WorkflowTrigger.Name(body.trigger_type).removeprefix("WORKFLOW_TRIGGER_"),
                "ref": body.trigger_ref,
                "incident": body.incident_id,
            },
        }
        actions = Actions(self._tools, mandate)
        interpreter = Interpreter(journal, plan, variables, actions.act)
        try:
            await self._through(journal, interpreter, mandate)
        except Suspended as waits:
            deadline = moment_of(run, "deadline") if run.HasField("deadline") else None
            await self._pause(journal, sooner(waits.wake, deadline))
        except ExpressionFailed as error:
            failed = ExecutionStatus.EXECUTION_STATUS_FAILED
            await self._finish(journal, failed, f"output {error}")
        except RunTimedOut:
            late = ExecutionStatus.EXECUTION_STATUS_TIMED_OUT
            await self._finish(journal, late, "it took longer than its workflow allows")
        except RunCanceled:
            await self._finish(journal, ExecutionStatus.EXECUTION_STATUS_CANCELED, "")

    async def _through(self, journal: Journal, interpreter: Interpreter, mandate: Mandate) -> None:
        async with journal.writing():
            # Whether it may go on at all.
            pass
        try:
            await interpreter.go()
        except StepFailed as failure:
            problem = str(failure)
            if failure.compensate:
                problem += await self._undo(interpreter, mandate)
            await self._finish(journal, ExecutionStatus.EXECUTION_STATUS_FAILED, problem)
            return
        output = interpreter.outputs()
        await self._finish(journal, ExecutionStatus.EXECUTION_STATUS_SUCCEEDED, "", output)

    async def fail(self, name: str, problem: str) -> None:
        """Let a run that could not be carried on try again later; once too often, it fails."""
        async with self._runs.store.transaction() as connection:
            try:
                run: WorkflowRun = await self._runs.lock(connection, name)
            except ResourceNotFound:
                return
            if run.ended or (self._runs.is_leased(run) and run.owner != self._runs.owner):
                return
            run.failures += 1
            if run.failures < MAX_FAILURES:
                later = FIRST_PAUSE * 2 ** (run.failures - 1)
                self._runs.give_back(run, None)
                set_moment(run, "wake_time", self._runs.clock() + later)
                await self._runs.save(connection, run)
                return
            if not await self._closed(connection, run, problem):
                # What it did cannot be told, and it goes on no more all the same.
                run.ended = True
                self._runs.give_back(run, None)
                await self._runs.save(connection, run)
        await tell_others(self._tools, run)

    async def _closed(self, connection: AsyncConnection, run: WorkflowRun, problem: str) -> bool:
        """Tell of a run that it failed; False if not even that can be done."""
        failed = Ending(
            ExecutionStatus.EXECUTION_STATUS_FAILED,
            f"it could not be carried on {MAX_FAILURES} times in a row: {problem}",
        )
        copy = WorkflowRun()
        copy.CopyFrom(run)
        try:
            async with connection.begin_nested():
                await act_as(connection, f"{ACTOR}{execution_of(run.name)}")
                await close_run(self._tools, self._editor, connection, copy, failed)
        except Exception:  # noqa: BLE001 - whatever it is, the run must not go on for ever
            _LOG.exception("a run could not be ended", extra={"fields": {"run": run.name}})
            return False
        return True

    async def leave(self, run: WorkflowRun) -> None:
        """Give a run back to whichever process takes it next."""
        with contextlib.suppress(LeaseLost, Refusal):
            async with self._runs.store.transaction() as connection:
                held = await self._runs.hold(connection, run.name)
                self._runs.give_back(held, self._runs.clock())
                await self._runs.save(connection, held)

    async def _pause(self, journal: Journal, wake: int | None) -> None:
        async with self._runs.store.transaction() as connection:
            await act_as(connection, journal.actor)
            held = await self._runs.hold(connection, journal.run.name)
            held.failures = 0
            self._runs.give_back(held, wake)
            await self._runs.save(connection, held)
            await journal.show(connection, status=ExecutionStatus.EXECUTION_STATUS_WAITING)

    async def _finish(
        self, journal: Journal, status: Any, problem: str, output: Any = None
    ) -> None:
        async with self._runs.store.transaction() as connection:
            await act_as(connection, journal.actor)
            held = await self._runs.hold(connection, journal.run.name)
            await close_run(
                self._tools, self._editor, connection, held, Ending(status, problem, output)
            )
        await tell_others(self._tools, journal.run)

    async def _undo(self, interpreter: Interpreter, mandate: Mandate) -> str:
        """Undo what was done, the last first; give what could not be, for the error."""
        left = ""
        for step in ended_operations(interpreter.journal.steps):
            node = interpreter.plan.node_at(step.path)
            operation = OPERATIONS.get(getattr(node.config, "operation", ""))
            if operation is None or operation.undo is None:
                continue
            async with interpreter.journal.writing() as connection:
                try:
                    async with connection.begin_nested():
                        who = await mandate.authority(connection)
                        with writing_as(who.writer):
                            await operation.undo(
                                self._tools.records, connection, who, from_struct(step.result)
                            )
                except Refusal as error:
                    left += f"; {step.path} could not be undone: {error.message}"
                else:
                    state = WorkflowStepRun.STATE_COMPENSATED
                    await interpreter.journal.write(connection, step, state)
        return left
