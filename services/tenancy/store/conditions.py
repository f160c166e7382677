"""What must hold of an item for a write to happen: a small algebra over its attributes.

Adapters render it (``expressions.py``) or evaluate it (``holds``). As in DynamoDB a
comparison with an attribute that is absent, or of another type, does not hold.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from services.tenancy.store.values import Value, at_most, same

MAX_OPERANDS: Final = 100
"""Values that one In takes at most."""


@dataclass(frozen=True)
class Exists:
    """The attribute is there; of ``pk``: the item is."""

    attribute: str = "pk"


@dataclass(frozen=True)
class Missing:
    """The attribute is not there; of ``pk``: the item is not."""

    attribute: str = "pk"


@dataclass(frozen=True)
class Equals:
    """The attribute is there and has this value."""

    attribute: str
    value: Value


@dataclass(frozen=True)
class AtMost:
    """The attribute is there, of the value's type (number, text or bytes), and not beyond it."""

    attribute: str
    value: int | str | bytes


@dataclass(frozen=True)
class In:
    """The attribute is there and has one of these values, 1 to 100."""

    attribute: str
    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.values) <= MAX_OPERANDS:
            raise ValueError(f"In takes 1 to {MAX_OPERANDS} values, not {len(self.values)}")


class All:
    """Every one of these holds; at least one."""

    def __init__(self, *conditions: "Condition") -> None:
        self.conditions = _at_least_one(conditions)


class Any:
    """One of these holds; at least one."""

    def __init__(self, *conditions: "Condition") -> None:
        self.conditions = _at_least_one(conditions)


Condition: TypeAlias = Exists | Missing | Equals | AtMost | In | All | Any


def _at_least_one(conditions: tuple[Condition, ...]) -> tuple[Condition, ...]:
    if not conditions:
        raise ValueError("there is no condition to be met")
    return conditions


def holds(condition: Condition, item: Mapping[str, Value] | None) -> bool:
    """Tell whether a condition holds of an item; None stands for one that does not exist."""
    found: Mapping[str, Value] = {} if item is None else item
    match condition:
        case Exists(attribute):
            return attribute in found
        case Missing(attribute):
            return attribute not in found
        case Equals(attribute, value):
            return attribute in found and same(found[attribute], value)
        case AtMost(attribute, value):
            return attribute in found and at_most(found[attribute], value)
        case In(attribute, values):
            return attribute in found and any(same(found[attribute], each) for each in values)
        case All():
            return all(holds(each, item) for each in condition.conditions)
        case Any():
            return any(holds(each, item) for each in condition.conditions)
