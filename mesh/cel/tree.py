"""Checked conditions as a tree of few nodes, which memory and SQL both read."""

from dataclasses import dataclass
from typing import TypeAlias

from google.protobuf.descriptor import FieldDescriptor

from mesh.cel.types import CelType, ListType, Type, Value


@dataclass(frozen=True)
class Constant:
    value: Value
    type: CelType


@dataclass(frozen=True)
class Parameter:
    name: str
    type: CelType


@dataclass(frozen=True)
class Field:
    """A field of the body, or of the envelope if the path begins with ``record.``."""

    path: str
    descriptor: FieldDescriptor
    type: Type

    @property
    def of_record(self) -> bool:
        return self.path.startswith("record.")


@dataclass(frozen=True)
class Member:
    """A field of a message that is itself a value."""

    operand: "Node"
    descriptor: FieldDescriptor
    type: Type


@dataclass(frozen=True)
class Present:
    """``has(...)`` of a field or member."""

    target: Field | Member
    type: CelType = CelType.BOOL


@dataclass(frozen=True)
class Local:
    """The variable of a quantifier."""

    slot: int
    type: Type


@dataclass(frozen=True)
class Items:
    """A list written in the condition."""

    items: tuple["Node", ...]
    type: ListType


@dataclass(frozen=True)
class Call:
    """An operator or function under the name that CEL's parser gives it."""

    function: str
    operands: tuple["Node", ...]
    type: Type


@dataclass(frozen=True)
class Quantified:
    """``exists`` or ``all`` over a list or the keys of a map."""

    every: bool
    slot: int
    domain: "Node"
    predicate: "Node"
    type: CelType = CelType.BOOL


Node: TypeAlias = (
    Constant | Parameter | Field | Member | Present | Local | Items | Call | Quantified
)


def children(node: Node) -> tuple[Node, ...]:
    """Give the nodes directly below one."""
    match node:
        case Member():
            return (node.operand,)
        case Present():
            return (node.target,)
        case Items():
            return node.items
        case Call():
            return node.operands
        case Quantified():
            return (node.domain, node.predicate)
        case _:
            return ()


def is_constant(node: Node) -> bool:
    """Tell whether a node's value is known without a record."""
    if isinstance(node, Constant | Parameter):
        return True
    if isinstance(node, Field | Local):
        return False
    return all(is_constant(each) for each in children(node))


def is_leaf(node: Node) -> bool:
    """Tell whether a node may be written twice in SQL without the statement growing."""
    if isinstance(node, Member):
        return is_leaf(node.operand)
    return isinstance(node, Field | Local) or is_constant(node)


def fields(node: Node) -> frozenset[str]:
    """Give the paths of all fields that a node reads."""
    below = frozenset[str]().union(*(fields(each) for each in children(node)))
    return below | {node.path} if isinstance(node, Field) else below


def parameters(node: Node) -> dict[str, CelType]:
    """Give the parameters that a node needs."""
    found = {name: kind for each in children(node) for name, kind in parameters(each).items()}
    if isinstance(node, Parameter):
        found[node.name] = node.type
    return found


def slots(node: Node) -> int:
    """Count the slots that a node's quantifiers need."""
    own = node.slot + 1 if isinstance(node, Quantified) else 0
    return max([own, *(slots(each) for each in children(node))])
