"""How many steps a run does at most, over a journal in memory."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict

from secmesh.security.v1.workflow_run_pb2 import WorkflowContent, WorkflowStepRun
from services.security.workflows import interpreter
from services.security.workflows.interpreter import Interpreter, Scope, StepFailed
from services.security.workflows.journal import Journal
from services.security.workflows.plan import Node, Plan

LOOPS: Mapping[str, Any] = {
    "steps": [
        {
            "name": f"tenants/acme/workflow_steps/{key}",
            "step": {
                "key": key,
                "sort_order": place,
                "step_type": f"WORKFLOW_STEP_TYPE_{kind}",
                "config": config,
            },
        }
        for place, (key, kind, config) in enumerate(
            [
                ("outer", "LOOP", {"branch": {"expression": "input.list", "steps": ["inner"]}}),
                ("inner", "LOOP", {"branch": {"expression": "input.list", "steps": ["do"]}}),
                ("do", "WAIT", {"wait": {"seconds": 0}}),
            ]
        )
    ]
}


class Memory(Journal):
    """Writes nowhere."""

    def __init__(self) -> None:
        self.execution = "tenants/acme/workflow_executions/e"
        self.steps = {}
        self._sequence = 0

    def now(self) -> int:
        return 1

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[Any]:
        yield None

    async def write(self, _: Any, step: WorkflowStepRun, state: Any, error: str = "") -> None:
        step.state, step.error_message = state, error
        self.steps[step.path] = step

    async def show(self, connection: Any, **fields: Any) -> None:
        """Show nobody."""


async def done(of: Interpreter, _scope: Scope, _node: Node, step: WorkflowStepRun) -> None:
    await of.journal.end(step)


@pytest.mark.parametrize(("most", "whole"), [(21, True), (20, False)])
async def test_a_run_does_so_many_steps_and_no_more(
    monkeypatch: pytest.MonkeyPatch, most: int, whole: bool
) -> None:
    monkeypatch.setattr(interpreter, "MAX_STEP_RUNS", most)
    plan = Plan.of(ParseDict(dict(LOOPS), WorkflowContent()))
    journal = Memory()
    going = Interpreter(journal, plan, {"input": {"list": [1, 2, 3, 4]}}, done)
    scope = Scope(plan.root)
    if whole:
        await going._scope(scope)
    else:
        with pytest.raises(StepFailed, match="more than 20 steps"):
            await going._scope(scope)
    assert len(journal.steps) == min(most, 1 + 4 + 16)
