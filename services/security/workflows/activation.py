"""What a workflow must be like to run: whatever cannot be done is refused by name, here."""

from collections.abc import Mapping
from typing import Any

from mesh.cel import Environment
from mesh.contract.catalogue import Kind
from mesh.contract.names import tenant_of
from mesh.errors import FilterInvalid
from secmesh.security.v1.workflow_pb2 import WorkflowTrigger
from secmesh.security.v1.workflow_step_pb2 import FailurePolicy
from services.security.errors import WorkflowInvalid
from services.security.workflows.inputs import check_parameters
from services.security.workflows.operations import OPERATIONS
from services.security.workflows.plan import Node, Plan, checked_expression, cycle
from services.security.workflows.requests import check_headers, check_path
from services.security.workflows.schedule import Schedule, ScheduleInvalid

MAX_STEPS = 500
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
_CONFIGS: Mapping[str, str] = {
    "ACTION": "action",
    "SCRIPT": "action",
    "HTTP": "http",
    "NOTIFICATION": "notification",
    "WAIT": "wait",
    "APPROVAL": "approval",
    "CONDITION": "branch",
    "PARALLEL": "branch",
    "LOOP": "branch",
    "SUBWORKFLOW": "subworkflow",
}
_UNDONE = frozenset({"WAIT", "APPROVAL", "CONDITION", "PARALLEL", "LOOP"})
"""Types of steps that leave nothing to undo."""


def check(workflow: str, plan: Plan, kinds: Mapping[str, Kind]) -> None:
    """Refuse a workflow that cannot run; WorkflowInvalid names the step and the problem."""
    if not 0 < len(plan.nodes) <= MAX_STEPS:
        raise WorkflowInvalid("", f"has {len(plan.nodes)} steps, not 1 to {MAX_STEPS}")
    for node in plan.nodes.values():
        _check_step(tenant_of(workflow) or "", node)
    _check_order(plan)
    _check_undoing(plan)
    definition = plan.workflow.definition
    check_parameters(definition.parameters)
    for name, text in definition.outputs.items():
        checked_expression("", f"output {name}", text)
    _check_trigger(plan.workflow, kinds)


def _check_step(tenant: str, node: Node) -> None:
    step, config = node.step, node.config
    wanted = _CONFIGS.get(node.type)
    if wanted is None or step.config.WhichOneof("config") != wanted:
        raise WorkflowInvalid(node.key, f"is {node.type} and needs its part {wanted} of config")
    if step.condition_expression:
        checked_expression(node.key, "condition_expression", step.condition_expression)
    _CHECKS[wanted](tenant, node, config)


def _action(_tenant: str, node: Node, config: Any) -> None:
    operation = OPERATIONS.get(config.operation)
    if operation is None:
        known = ", ".join(sorted(OPERATIONS))
        raise WorkflowInvalid(node.key, f"operation {config.operation!r} is none of {known}")
    given = set(config.arguments)
    if missing := operation.required - given:
        raise WorkflowInvalid(node.key, f"{operation.name} needs {min(missing)}")
    if unknown := given - operation.required - operation.optional:
        raise WorkflowInvalid(node.key, f"{operation.name} takes no {min(unknown)}")
    for name, text in config.arguments.items():
        checked_expression(node.key, f"argument {name}", text)


def _http(_tenant: str, node: Node, config: Any) -> None:
    if not node.step.integration_id:
        raise WorkflowInvalid(node.key, "has no integration_id to call")
    if config.method not in METHODS:
        raise WorkflowInvalid(node.key, f"method is none of {', '.join(sorted(METHODS))}")
    if problem := check_path(config.path) or check_headers(config.headers):
        raise WorkflowInvalid(node.key, problem)
    if config.body:
        checked_expression(node.key, "body", config.body)


def _notification(_tenant: str, node: Node, config: Any) -> None:
    if not node.step.integration_id:
        raise WorkflowInvalid(node.key, "has no integration_id to tell people by")
    checked_expression(node.key, "text", config.text)


def _wait(_tenant: str, node: Node, config: Any) -> None:
    if not config.HasField("seconds"):
        raise WorkflowInvalid(node.key, "does not say how many seconds to wait")


def _approval(_tenant: str, node: Node, config: Any) -> None:
    if not config.users:
        raise WorkflowInvalid(node.key, "asks nobody")
    if config.needed > len(set(config.users)):
        raise WorkflowInvalid(node.key, "needs more yeses than it asks people")


def _branch(_tenant: str, node: Node, config: Any) -> None:
    if not config.steps and not (node.type == "CONDITION" and config.otherwise):
        raise WorkflowInvalid(node.key, "does no steps")
    if node.type == "PARALLEL":
        if config.expression:
            raise WorkflowInvalid(node.key, "is PARALLEL and has no use for an expression")
    else:
        checked_expression(node.key, "expression", config.expression)
    if config.otherwise and node.type != "CONDITION":
        raise WorkflowInvalid(node.key, f"is {node.type} and has no use for otherwise")
    if config.HasField("rounds") and node.type != "LOOP":
        raise WorkflowInvalid(node.key, f"is {node.type} and has no use for rounds")


def _subworkflow(tenant: str, node: Node, config: Any) -> None:
    if not config.workflow.startswith(f"tenants/{tenant}/workflows/"):
        raise WorkflowInvalid(node.key, "names no workflow of this tenant")
    for name, text in config.arguments.items():
        checked_expression(node.key, f"argument {name}", text)


_CHECKS = {
    "action": _action,
    "http": _http,
    "notification": _notification,
    "wait": _wait,
    "approval": _approval,
    "branch": _branch,
    "subworkflow": _subworkflow,
}


def _check_order(plan: Plan) -> None:
    edges: dict[str, list[str]] = {}
    for node in plan.nodes.values():
        for key in node.step.depends_on:
            if key not in plan.nodes:
                raise WorkflowInvalid(node.key, f"depends on {key!r} that there is not")
            if plan.owners.get(key) != plan.owners.get(node.key):
                raise WorkflowInvalid(node.key, f"depends on {key}, which is not beside it")
        edges[node.key] = [*node.step.depends_on, *node.children]
    if found := list(cycle(edges)):
        raise WorkflowInvalid(found[0], f"waits for itself by way of {', '.join(found)}")
    first = set(plan.workflow.definition.first_steps)
    if first and (
        wrong := first ^ {each for each in plan.root if not plan.nodes[each].step.depends_on}
    ):
        raise WorkflowInvalid(min(wrong), "first_steps are not the steps that depend on none")


def _check_undoing(plan: Plan) -> None:
    """Refuse COMPENSATE where a step could not be undone."""
    undoes = [
        node.key
        for node in plan.nodes.values()
        if node.step.on_failure == FailurePolicy.FAILURE_POLICY_COMPENSATE
    ]
    for node in plan.nodes.values() if undoes else ():
        if node.type in _UNDONE or (node.type == "HTTP" and node.config.method in ("GET", "HEAD")):
            continue
        if node.type in ("ACTION", "SCRIPT") and OPERATIONS[node.config.operation].undoable:
            continue
        raise WorkflowInvalid(node.key, f"cannot be undone, as {undoes[0]} asks by COMPENSATE")


def _check_trigger(workflow: Any, kinds: Mapping[str, Kind]) -> None:
    config, trigger = workflow.trigger_config, workflow.trigger_type
    by_itself = trigger in (
        WorkflowTrigger.WORKFLOW_TRIGGER_EVENT,
        WorkflowTrigger.WORKFLOW_TRIGGER_SCHEDULE,
    )
    if by_itself and any(each.required for each in workflow.definition.parameters):
        raise WorkflowInvalid("", "nobody gives the parameters that its trigger does not know")
    if trigger == WorkflowTrigger.WORKFLOW_TRIGGER_SCHEDULE:
        try:
            Schedule(config.cron, config.timezone)
        except ScheduleInvalid as error:
            raise WorkflowInvalid("", f"trigger_config: {error}") from None
    if trigger == WorkflowTrigger.WORKFLOW_TRIGGER_EVENT:
        kind = kinds.get(config.collection)
        if kind is None:
            raise WorkflowInvalid("", f"trigger_config: no collection {config.collection!r}")
        try:
            if config.condition:
                Environment.of_kind(kind).compile(config.condition)
        except FilterInvalid as error:
            raise WorkflowInvalid("", f"trigger_config.condition: {error.message}") from None
