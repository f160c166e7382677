"""Steps that have no steps of their own: operations, calls, pauses, questions, other workflows."""

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mesh.errors import Refusal
from secmesh.security.v1.vocabulary_operation_pb2 import ExecutionStatus
from secmesh.security.v1.workflow_pb2 import WorkflowTrigger
from secmesh.security.v1.workflow_run_pb2 import WorkflowAttempt, WorkflowStepRun
from services.security.findings.due import moment_of, set_moment
from services.security.workflows.calling import Asked, Caller, Exchange
from services.security.workflows.interpreter import Interpreter, Scope, Suspended, sooner
from services.security.workflows.journal import status_name
from services.security.workflows.json_values import from_struct
from services.security.workflows.mandate import Mandate
from services.security.workflows.operations import OPERATIONS, Records
from services.security.workflows.plan import Node
from services.security.workflows.requests import told
from services.security.workflows.run_store import EXECUTIONS, RunStore, run_of
from services.security.workflows.starting import Start, Starter
from services.security.writers import writing_as

ATTEMPT_SECONDS = 60
"""Longest try of a step that says nothing else."""
_CHILD_SECONDS = 5
"""How often a run looks after one that it waits for, should nobody wake it."""
_SAFE = frozenset({"GET", "HEAD", "PUT", "DELETE"})
"""Methods that may be repeated (RFC 9110, section 9.2.2)."""
_SECOND, _MILLISECOND = 1_000_000, 1_000
_INTERRUPTED = "the process ended in the middle of it"


@dataclass(frozen=True)
class Tools:
    """What steps are done with."""

    records: Records
    runs: RunStore
    starter: Starter
    caller: Caller


class Actions:
    """Does the steps of one run by the mandate of its plan, which each step asks for anew."""

    def __init__(self, tools: Tools, mandate: Mandate) -> None:
        self._tools = tools
        self._mandate = mandate
        self._by_type = {
            "ACTION": self._operation,
            "SCRIPT": self._operation,
            "HTTP": self._call,
            "NOTIFICATION": self._call,
            "WAIT": self._wait,
            "APPROVAL": self._approval,
            "SUBWORKFLOW": self._subworkflow,
        }

    async def act(
        self, interpreter: Interpreter, scope: Scope, node: Node, step: WorkflowStepRun
    ) -> None:
        """Do a step as far as it can be done now; Suspended, StepFailed, ExpressionFailed."""
        if step.HasField("wake_time") and moment_of(step, "wake_time") > interpreter.journal.now():
            wake = moment_of(step, "wake_time")
            limit = interpreter.limit(node, step) if node.type == "WAIT" else None
            if limit is None or limit > interpreter.journal.now():
                raise Suspended(sooner(wake, limit))
            await interpreter.fail(node, step, f"took longer than {node.step.timeout_seconds} s")
            return
        await self._by_type[node.type](interpreter, scope, node, step)

    async def _operation(
        self, interpreter: Interpreter, scope: Scope, node: Node, step: WorkflowStepRun
    ) -> None:
        """Do an operation and write its result in one transaction: it is done once."""
        operation = OPERATIONS[node.config.operation]
        given = interpreter.values(scope, node.config.arguments)
        journal, attempt = interpreter.journal, self._attempt(interpreter, step)
        problem = ""
        try:
            async with (
                asyncio.timeout(_seconds(interpreter, scope, node)),
                journal.writing() as connection,
            ):
                try:
                    async with connection.begin_nested():
                        who = await self._mandate.authority(connection)
                        with writing_as(who.writer):
                            result = await operation.work(
                                self._tools.records, connection, who, given
                            )
                except Refusal as error:
                    problem = error.message
                else:
                    set_moment(attempt, "end_time", journal.now())
                    await journal.succeed(connection, step, result)
                    await journal.show(connection, current_step_id=step.step)
        except TimeoutError:
            problem = "took too long"
        if problem:
            await self._tried(interpreter, node, step, problem)

    async def _call(
        self, interpreter: Interpreter, scope: Scope, node: Node, step: WorkflowStepRun
    ) -> None:
        """Call another system; a try that a process left in the middle is repeated if it may be."""
        method, path, headers, body = self._request(interpreter, scope, node)
        if step.state == WorkflowStepRun.STATE_RUNNING:
            step.attempts[-1].error_message = _INTERRUPTED
            may_repeat = method in _SAFE or node.step.retry_policy.max_attempts > 1
            if not may_repeat:
                problem = f"{_INTERRUPTED}, and {method} may not be repeated"
                await interpreter.fail(node, step, problem)
                return
        attempt = self._attempt(interpreter, step)
        await interpreter.journal.begin(step, WorkflowStepRun.STATE_RUNNING)
        asked = Asked(node.step.integration_id, method, path, headers, body, _key(step))
        try:
            who = await self._mandate.authority()
            exchange = await self._tools.caller.call(who, asked, _seconds(interpreter, scope, node))
        except Refusal as error:
            exchange = Exchange(problem=error.message)
        if exchange.answer is None or exchange.problem:
            await self._tried(interpreter, node, step, exchange.problem)
            return
        set_moment(attempt, "end_time", interpreter.journal.now())
        await interpreter.journal.end(step, told(exchange.answer))

    @staticmethod
    def _request(
        interpreter: Interpreter, scope: Scope, node: Node
    ) -> tuple[str, str, Mapping[str, str], Any]:
        config = node.config
        if node.type == "NOTIFICATION":
            text = interpreter.value(scope, config.text)
            return "POST", "", {}, {"channel": config.channel, "text": text}
        body = interpreter.value(scope, config.body) if config.body else None
        return config.method, config.path, dict(config.headers), body

    async def _wait(
        self, interpreter: Interpreter, _scope: Scope, node: Node, step: WorkflowStepRun
    ) -> None:
        if step.state == WorkflowStepRun.STATE_WAITING:
            await interpreter.journal.end(step)
            return
        wake = interpreter.journal.now() + node.config.seconds * _SECOND
        set_moment(step, "wake_time", wake)
        await interpreter.journal.begin(step, WorkflowStepRun.STATE_WAITING)
        raise Suspended(sooner(wake, interpreter.limit(node, step)))

    async def _approval(
        self, interpreter: Interpreter, _scope: Scope, node: Node, step: WorkflowStepRun
    ) -> None:
        journal = interpreter.journal
        if step.state != WorkflowStepRun.STATE_WAITING:
            await journal.begin(step, WorkflowStepRun.STATE_WAITING)
        async with journal.writing() as connection:
            # Somebody may have answered since the journal was read.
            step = await self._tools.runs.step(connection, step.execution, step.path)
            said = list(step.decisions)
            if all(each.approved for each in said) and len(said) >= max(1, node.config.needed):
                by = [each.user for each in said]
                await journal.succeed(connection, step, {"approved": True, "by": by})
                return
        refusing = next((each for each in said if not each.approved), None)
        if refusing is not None:
            await interpreter.fail(node, step, f"{refusing.user} said no: {refusing.comment}")
            return
        limit = interpreter.limit(node, step)
        if limit is not None and journal.now() >= limit:
            problem = f"was not answered within {node.step.timeout_seconds} s"
            await interpreter.fail(node, step, problem)
            return
        raise Suspended(limit)

    async def _subworkflow(
        self, interpreter: Interpreter, scope: Scope, node: Node, step: WorkflowStepRun
    ) -> None:
        """Start another run once, and wait for its end."""
        journal = interpreter.journal
        if not step.child and not await self._start(interpreter, scope, node, step):
            return
        if not await self._tools.runs.is_known(step.child):
            # A record that somebody created by its name is not what was started.
            await interpreter.fail(node, step, f"{step.child} was deleted")
            return
        child: Any = await self._tools.records.store.get(EXECUTIONS, step.child)
        body = child.workflow_execution
        if body.status == ExecutionStatus.EXECUTION_STATUS_SUCCEEDED:
            await journal.end(step, from_struct(body.output))
            return
        if body.HasField("end_time"):
            await interpreter.fail(node, step, f"{status_name(body.status)}: {body.error_message}")
            return
        limit = interpreter.limit(node, step)
        if limit is not None and journal.now() >= limit:
            await self._stop(journal.actor, step.child)
            await interpreter.fail(node, step, f"took longer than {node.step.timeout_seconds} s")
            return
        raise Suspended(sooner(journal.now() + _CHILD_SECONDS * _SECOND, limit))

    async def _start(
        self, interpreter: Interpreter, scope: Scope, node: Node, step: WorkflowStepRun
    ) -> bool:
        """Start the other run; False if it cannot be, and the run goes on without."""
        given = interpreter.values(scope, node.config.arguments)
        journal = interpreter.journal
        start = Start(
            key=_key(step),
            trigger=WorkflowTrigger.WORKFLOW_TRIGGER_API,
            ref=step.execution,
            input=given,
            parent=step.execution,
            depth=journal.run.depth + 1,
        )
        problem = ""
        async with journal.writing() as connection:
            try:
                who = await self._mandate.authority(connection)
                who.require("security.workflows.run")
                async with connection.begin_nested():
                    made = await self._tools.starter.start(connection, node.config.workflow, start)
            except Refusal as error:
                problem = error.message
            else:
                step.child = made.name
                await journal.write(connection, step, WorkflowStepRun.STATE_WAITING)
        if problem:
            await interpreter.fail(node, step, problem)
        self._tools.starter.poke()
        return not problem

    async def _stop(self, actor: str, execution: str) -> None:
        async with self._tools.runs.store.transaction() as connection:
            run = await self._tools.runs.lock(connection, run_of(execution))
            run.canceled_by, run.cancel_reason = actor[:256], "what waits for it gave up"
            self._tools.runs.wake(run, self._tools.runs.clock())
            await self._tools.runs.save(connection, run)

    @staticmethod
    def _attempt(interpreter: Interpreter, step: WorkflowStepRun) -> WorkflowAttempt:
        attempt = step.attempts.add()
        set_moment(attempt, "start_time", interpreter.journal.now())
        step.ClearField("wake_time")
        return attempt

    @staticmethod
    async def _tried(
        interpreter: Interpreter, node: Node, step: WorkflowStepRun, problem: str
    ) -> None:
        """Write a try that failed, and when the next is; without one the step failed for good."""
        journal, policy = interpreter.journal, node.step.retry_policy
        attempt = step.attempts[-1]
        attempt.error_message = problem
        set_moment(attempt, "end_time", journal.now())
        made = len(step.attempts) - step.attempts_before
        if made >= max(1, policy.max_attempts):
            await interpreter.fail(node, step, problem)
            return
        wake = journal.now() + delay_ms(policy, made) * _MILLISECOND
        set_moment(step, "wake_time", wake)
        async with journal.writing() as connection:
            await journal.write(connection, step, WorkflowStepRun.STATE_WAITING, problem)
        raise Suspended(wake)


def _key(step: WorkflowStepRun) -> str:
    """Name what a step does outside, the same in all its tries; another once it is resumed."""
    text = f"{step.execution}/{step.path}/{step.resumptions}"
    return str(uuid.uuid5(uuid.NAMESPACE_URL, text))


def delay_ms(policy: Any, made: int) -> int:
    """Give the milliseconds between a try and the next; ``made`` tries were made."""
    grown = policy.initial_delay_ms * max(1.0, policy.multiplier) ** (made - 1)
    most = policy.max_delay_ms if policy.HasField("max_delay_ms") else 86_400_000
    return int(min(grown, most))


def _seconds(interpreter: Interpreter, scope: Scope, node: Node) -> float:
    """Give the seconds that a try may take: those of the step, and no more than are left."""
    own = float(node.step.timeout_seconds or ATTEMPT_SECONDS)
    if scope.deadline is None:
        return own
    return max(0.001, min(own, (scope.deadline - interpreter.journal.now()) / _SECOND))
