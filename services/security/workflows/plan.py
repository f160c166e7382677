"""A workflow as its runs follow it: steps by key, and the scopes that steps of steps make."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from mesh.cel.expression import Expression, ExpressionInvalid
from secmesh.security.v1.workflow_run_pb2 import WorkflowContent
from secmesh.security.v1.workflow_step_pb2 import WorkflowStepType
from services.security.errors import WorkflowInvalid

VARIABLES = frozenset({"input", "steps", "item", "index", "trigger", "execution"})
"""What expressions of steps can read."""
_TYPE = "WORKFLOW_STEP_TYPE_"
_KEPT = 256
"""Plans of runs that are kept parsed."""


@dataclass(frozen=True, eq=False)
class Node:
    """One step of a plan."""

    key: str
    name: str
    """The step's resource name."""
    step: Any
    """The ``WorkflowStep``."""

    @property
    def type(self) -> str:
        """Give the type as a word, such as ``HTTP``."""
        return WorkflowStepType.Name(self.step.step_type).removeprefix(_TYPE)

    @property
    def config(self) -> Any:
        """Give the part of the configuration that is set; None if none is."""
        chosen = self.step.config.WhichOneof("config")
        return getattr(self.step.config, chosen) if chosen else None

    @property
    def children(self) -> tuple[str, ...]:
        """Give the keys of the steps that it does itself."""
        if self.step.config.WhichOneof("config") != "branch":
            return ()
        return (*self.config.steps, *self.config.otherwise)


@dataclass(frozen=True, eq=False)
class Plan:
    """What a run does."""

    workflow: Any
    nodes: Mapping[str, Node]
    """By key."""
    root: tuple[str, ...]
    """Keys of the steps that are no step's own, in their order."""
    owners: Mapping[str, str] = field(default_factory=dict)
    """Key of the step that does another itself."""

    @classmethod
    def of(cls, content: WorkflowContent) -> "Plan":
        """Order the steps; WorkflowInvalid for keys that are there twice or not at all."""
        nodes: dict[str, Node] = {}
        for each in sorted(content.steps, key=lambda each: each.step.sort_order):
            if each.step.key in nodes:
                raise WorkflowInvalid(each.step.key, "has the key of another step")
            nodes[each.step.key] = Node(each.step.key, each.name, each.step)
        owners: dict[str, str] = {}
        for node in nodes.values():
            for key in node.children:
                if key not in nodes:
                    raise WorkflowInvalid(node.key, f"does a step {key!r} that there is not")
                if key in owners:
                    raise WorkflowInvalid(key, f"is done by {owners[key]} and by {node.key}")
                owners[key] = node.key
        root = tuple(key for key in nodes if key not in owners)
        return cls(content.workflow, nodes, root, owners)

    def expression(self, text: str) -> Expression:
        """Give an expression over a run; ExpressionInvalid."""
        return Expression.of(text, VARIABLES)

    def node_at(self, path: str) -> Node:
        """Give the step that a path of a run leads to."""
        return self.nodes[path.rpartition("/")[2]]

    def before(self, key: str) -> Iterator[str]:
        """Give the keys of the steps that must have ended before a step."""
        yield from self.nodes[key].step.depends_on


@lru_cache(maxsize=_KEPT)
def stored_plan(content: bytes) -> Plan:
    """Read what an activation stored."""
    return Plan.of(WorkflowContent.FromString(content))


def checked_expression(step: str, what: str, text: str) -> None:
    """Refuse what is no expression over a run; WorkflowInvalid."""
    try:
        Expression.of(text, VARIABLES)
    except ExpressionInvalid as error:
        raise WorkflowInvalid(step, f"{what}: {error}") from None


def cycle(edges: Mapping[str, Sequence[str]]) -> Iterable[str]:
    """Give the keys of steps that wait for each other in a circle; none if there is none."""
    left = {key: set(after) for key, after in edges.items()}
    while True:
        free = {key for key, after in left.items() if not after & left.keys()}
        if not free:
            return sorted(left)
        for key in free:
            del left[key]
