"""Values as DynamoDB writes them: each in a pair of its type and its text."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from services.tenancy.store.values import Item, Value

Wire: TypeAlias = dict[str, Any]


def to_wire(value: Value) -> Wire:
    """Write a value, such as ``{"N": "7"}``."""
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, int):
        return {"N": str(value)}
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, bytes):
        return {"B": value}
    if isinstance(value, list):
        return {"L": [to_wire(each) for each in value]}
    return {"M": item_to_wire(value)}


def from_wire(wire: Mapping[str, Any]) -> Value:
    """Read a value. Raises ValueError for one that this service does not write."""
    ((kind, value),) = wire.items()
    match kind:
        case "S" | "BOOL":
            return value  # type: ignore[no-any-return]  # the API says what it is
        case "N":
            return int(value)
        case "B":
            return bytes(value)
        case "L":
            return [from_wire(each) for each in value]
        case "M":
            return item_from_wire(value)
    raise ValueError(f"an attribute of type {kind}")


def item_to_wire(item: Mapping[str, Value]) -> Wire:
    """Write attributes."""
    return {name: to_wire(value) for name, value in item.items()}


def item_from_wire(wire: Mapping[str, Mapping[str, Any]]) -> Item:
    """Read attributes."""
    return {name: from_wire(value) for name, value in wire.items()}
