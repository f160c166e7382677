"""Goes through the steps of a run: what has ended counts, what is ready is done, the rest waits.

A run is gone through from its beginning each time it is woken; steps that ended are found in the
journal and not done again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mesh.cel.expression import ExpressionFailed
from secmesh.security.v1.workflow_run_pb2 import WorkflowStepRun
from secmesh.security.v1.workflow_step_pb2 import FailurePolicy
from services.security.findings.due import moment_of
from services.security.workflows.journal import Journal
from services.security.workflows.json_values import from_struct, to_value
from services.security.workflows.plan import Node, Plan

_SECOND = 1_000_000
MAX_STEP_RUNS = 10_000
"""Steps that a run begins, those of every round of its loops counted."""
ROUNDS = 1000
"""Rounds of a loop that says nothing else."""


class Suspended(Exception):
    """Nothing can be done now; ``wake`` says when there can, None if somebody must act."""

    def __init__(self, wake: int | None) -> None:
        super().__init__()
        self.wake = wake


class StepFailed(Exception):
    """A step failed for good, by the policy of which the run fails."""

    def __init__(self, path: str, problem: str, *, compensate: bool) -> None:
        super().__init__(f"step {path}: {problem}")
        self.compensate = compensate


@dataclass(frozen=True)
class Scope:
    """Steps that are done beside each other."""

    keys: tuple[str, ...]
    prefix: str = ""
    """Begins their paths."""
    names: Mapping[str, Any] = field(default_factory=dict)
    """Variables beside those of the run: of a loop, its item."""
    deadline: int | None = None

    def until(self, moment: int | None) -> "Scope":
        """Give the scope with a deadline, the sooner one if it had one."""
        return replace(self, deadline=sooner(self.deadline, moment))


def sooner(first: int | None, second: int | None) -> int | None:
    """Give the earlier of two moments that may not be."""
    known = [each for each in (first, second) if each is not None]
    return min(known, default=None)


@dataclass
class _Front:
    """How far the steps of one scope are."""

    begun: set[str] = field(default_factory=set)
    done: set[str] = field(default_factory=set)
    tasks: dict["asyncio.Task[None]", str] = field(default_factory=dict)
    waits: list[Suspended] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)

    async def next(self) -> None:
        """Wait until one step or more ended, or can go no further."""
        ended, _ = await asyncio.wait(self.tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            key, error = self.tasks.pop(task), task.exception()
            if error is None:
                self.done.add(key)
            elif isinstance(error, Suspended):
                self.waits.append(error)
            else:
                self.failures.append(error)

    async def stop(self) -> None:
        """Interrupt what is being done."""
        for task in self.tasks:
            task.cancel()
        if self.tasks:
            await asyncio.wait(self.tasks)

    def settle(self) -> None:
        """Raise the first failure, else Suspended if a step waits."""
        if self.failures:
            raise self.failures[0]
        if self.waits:
            wakes = [each.wake for each in self.waits if each.wake is not None]
            raise Suspended(min(wakes, default=None))


Act = Callable[["Interpreter", Scope, Node, WorkflowStepRun], Awaitable[None]]
"""Does a step that has no steps of its own; Suspended, StepFailed."""


class Interpreter:
    """Does the steps of one run."""

    def __init__(
        self, journal: Journal, plan: Plan, variables: Mapping[str, Any], act: Act
    ) -> None:
        self.journal = journal
        self.plan = plan
        self._variables = variables
        self._act = act

    async def go(self) -> None:
        """Do what can be done now. Returns when all is; Suspended, StepFailed."""
        for step in self.journal.steps.values():
            # Nothing else is begun once the run has failed.
            if step.state == WorkflowStepRun.STATE_FAILED:
                self._raise(self.plan.node_at(step.path), step)
        run = self.journal.run
        deadline = moment_of(run, "deadline") if run.HasField("deadline") else None
        await self._scope(Scope(self.plan.root, "", {}, deadline))

    async def _scope(self, scope: Scope) -> None:
        """Do the steps of a scope, those that wait for nothing at the same time."""
        front = _Front()
        try:
            while self._begin(scope, front):
                await front.next()
        finally:
            await front.stop()
        front.settle()

    def _begin(self, scope: Scope, front: "_Front") -> bool:
        """Begin the steps that wait for nothing; tell whether any is being done."""
        for key in scope.keys if not front.failures else ():
            if key not in front.begun and front.done.issuperset(self.plan.before(key)):
                front.begun.add(key)
                front.tasks[asyncio.create_task(self._step(scope, self.plan.nodes[key]))] = key
        return bool(front.tasks)

    async def _step(self, scope: Scope, node: Node) -> None:
        path = scope.prefix + node.key
        known = self.journal.steps.get(path)
        if known is not None and known.state in (
            WorkflowStepRun.STATE_SUCCEEDED,
            WorkflowStepRun.STATE_SKIPPED,
            WorkflowStepRun.STATE_COMPENSATED,
        ):
            return
        if known is not None and known.state == WorkflowStepRun.STATE_FAILED:
            self._raise(node, known)
            return
        if known is not None and known.state == WorkflowStepRun.STATE_HALTED:
            raise Suspended(None)
        if known is None and len(self.journal.steps) >= MAX_STEP_RUNS:
            problem = f"the run has more than {MAX_STEP_RUNS} steps"
            raise StepFailed(path, problem, compensate=False)
        step = self.journal.step(path, node)
        if known is None and not await self._wanted(scope, node, step):
            return
        try:
            if node.children:
                await self._branch(scope, node, step)
            else:
                await self._act(self, scope, node, step)
        except ExpressionFailed as error:
            await self.fail(node, step, str(error))

    async def _wanted(self, scope: Scope, node: Node, step: WorkflowStepRun) -> bool:
        """Tell whether a step is to be done; if not, write that it was left out."""
        wanted = not node.step.HasField("is_enabled") or node.step.is_enabled
        if wanted and node.step.condition_expression:
            try:
                wanted = self.truth(scope, node.step.condition_expression)
            except ExpressionFailed as error:
                await self.fail(node, step, f"condition_expression: {error}")
                return False
        if not wanted:
            async with self.journal.writing() as connection:
                await self.journal.write(connection, step, WorkflowStepRun.STATE_SKIPPED)
        return wanted

    async def _branch(self, scope: Scope, node: Node, step: WorkflowStepRun) -> None:
        """Do the steps of a step: one way, all at a time, or for each item of a list."""
        if step.state == WorkflowStepRun.STATE_UNSPECIFIED:
            if node.type != "PARALLEL":
                step.result.CopyFrom(to_value(self._chosen(scope, node)))
            await self.journal.begin(step, WorkflowStepRun.STATE_WAITING)
        limit = self.limit(node, step)
        if limit is not None and self.journal.now() >= limit:
            await self.fail(node, step, _too_long(node))
            return
        inner = Scope(
            tuple(node.config.steps), f"{scope.prefix}{node.key}/", scope.names, scope.deadline
        ).until(limit)
        try:
            result = await self._rounds(inner, node, step)
        except Suspended as waits:
            raise Suspended(sooner(waits.wake, limit)) from None
        await self.journal.end(step, result)

    async def _rounds(self, inner: Scope, node: Node, step: WorkflowStepRun) -> Any:
        if node.type == "PARALLEL":
            await self._scope(inner)
            return None
        chosen = from_struct(step.result)
        if node.type == "CONDITION":
            keys = node.config.steps if chosen else node.config.otherwise
            await self._scope(replace(inner, keys=tuple(keys)))
            return chosen
        prefix = inner.prefix.removesuffix("/")
        for index, item in enumerate(chosen):
            names = {**inner.names, "item": item, "index": index}
            await self._scope(replace(inner, prefix=f"{prefix}[{index}]/", names=names))
        return chosen

    def _chosen(self, scope: Scope, node: Node) -> Any:
        """Evaluate what decides: a truth, or the list of a loop; ExpressionFailed."""
        if node.type == "CONDITION":
            return self.truth(scope, node.config.expression)
        items = self.value(scope, node.config.expression)
        most = node.config.rounds or ROUNDS
        if not isinstance(items, list) or len(items) > most:
            raise ExpressionFailed(f"a loop needs a list of at most {most} items")
        return items

    async def fail(self, node: Node, step: WorkflowStepRun, problem: str) -> None:
        """Write that a step failed for good, and do what its policy says: Suspended, StepFailed."""
        halts = node.step.on_failure == FailurePolicy.FAILURE_POLICY_RETRY
        state = WorkflowStepRun.STATE_HALTED if halts else WorkflowStepRun.STATE_FAILED
        step.ClearField("result")
        async with self.journal.writing() as connection:
            await self.journal.write(connection, step, state, problem)
        if halts:
            raise Suspended(None)
        self._raise(node, step)

    def _raise(self, node: Node, step: WorkflowStepRun) -> None:
        policy = node.step.on_failure
        if policy != FailurePolicy.FAILURE_POLICY_CONTINUE:
            compensate = policy == FailurePolicy.FAILURE_POLICY_COMPENSATE
            raise StepFailed(step.path, step.error_message, compensate=compensate)

    def value(self, scope: Scope, text: str) -> Any:
        """Evaluate an expression; ExpressionFailed."""
        steps = self.journal.told(scope.prefix)
        known = {"item": None, "index": None, **self._variables, **scope.names, "steps": steps}
        return self.plan.expression(text).value(known)

    def values(self, scope: Scope, texts: Mapping[str, str]) -> dict[str, Any]:
        """Evaluate several expressions by name; ExpressionFailed says which."""
        found = {}
        for name, text in texts.items():
            try:
                found[name] = self.value(scope, text)
            except ExpressionFailed as error:
                raise ExpressionFailed(f"{name}: {error}") from None
        return found

    def truth(self, scope: Scope, text: str) -> bool:
        """Evaluate a condition; ExpressionFailed also if it is neither true nor false."""
        found = self.value(scope, text)
        if not isinstance(found, bool):
            raise ExpressionFailed("the condition is neither true nor false")
        return found

    def limit(self, node: Node, step: WorkflowStepRun) -> int | None:
        """Give until when a step may take, from its beginning; None if that is not said."""
        if not node.step.timeout_seconds:
            return None
        seconds: int = node.step.timeout_seconds
        return moment_of(step, "start_time") + seconds * _SECOND

    def outputs(self) -> dict[str, Any]:
        """Give what the run gives; ExpressionFailed."""
        scope = Scope(self.plan.root, "", {})
        return self.values(scope, self.plan.workflow.definition.outputs)


def _too_long(node: Node) -> str:
    return f"took longer than {node.step.timeout_seconds} s"


def ended_operations(steps: Mapping[str, WorkflowStepRun]) -> Sequence[WorkflowStepRun]:
    """Give the steps that were done, the last first."""
    done = [each for each in steps.values() if each.state == WorkflowStepRun.STATE_SUCCEEDED]
    return sorted(done, key=lambda each: each.sequence, reverse=True)
