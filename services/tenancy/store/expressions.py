"""Conditions, changes and queries as expressions of DynamoDB.

Names and values are always bound, so that no name is a reserved word and no value is code.
"""

from collections.abc import Sequence
from typing import Any, assert_never

from services.tenancy.store.conditions import All, AtMost, Condition, Equals, Exists, In, Missing
from services.tenancy.store.conditions import Any as AnyOf
from services.tenancy.store.port import (
    Add,
    Between,
    Change,
    Prefix,
    Query,
    Remove,
    Set,
    SetIfMissing,
    UpTo,
)
from services.tenancy.store.tables import PK, SK
from services.tenancy.store.values import Value
from services.tenancy.store.wire import Wire, to_wire


class Bindings:
    """The names and values of one call."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._values: dict[str, Wire] = {}

    def name(self, attribute: str) -> str:
        """Bind a name; the same one once."""
        return self._names.setdefault(attribute, f"#n{len(self._names)}")

    def value(self, value: Value) -> str:
        """Bind a value."""
        bound = f":v{len(self._values)}"
        self._values[bound] = to_wire(value)
        return bound

    def arguments(self) -> dict[str, Any]:
        """Give the arguments that bind them; DynamoDB takes no empty ones."""
        arguments: dict[str, Any] = {}
        if self._names:
            arguments["ExpressionAttributeNames"] = {
                bound: name for name, bound in self._names.items()
            }
        if self._values:
            arguments["ExpressionAttributeValues"] = self._values
        return arguments


def condition_expression(condition: Condition, bindings: Bindings) -> str:
    """Give a ConditionExpression."""
    name, value = bindings.name, bindings.value
    match condition:
        case Exists(attribute):
            return f"attribute_exists({name(attribute)})"
        case Missing(attribute):
            return f"attribute_not_exists({name(attribute)})"
        case Equals(attribute, compared):
            return f"{name(attribute)} = {value(compared)}"
        case AtMost(attribute, compared):
            return f"{name(attribute)} <= {value(compared)}"
        case In(attribute, values):
            return f"{name(attribute)} IN ({', '.join(map(value, values))})"
        case All():
            return _joined(" AND ", condition.conditions, bindings)
        case AnyOf():
            return _joined(" OR ", condition.conditions, bindings)
        case _:
            assert_never(condition)


def _joined(word: str, conditions: Sequence[Condition], bindings: Bindings) -> str:
    joined = word.join(condition_expression(each, bindings) for each in conditions)
    # DynamoDB refuses parentheses around what stands in parentheses already.
    return f"({joined})" if len(conditions) > 1 else joined


def update_expression(changes: Sequence[Change], bindings: Bindings) -> str:
    """Give an UpdateExpression."""
    clauses: dict[str, list[str]] = {}
    for change in changes:
        keyword, clause = _clause(change, bindings)
        clauses.setdefault(keyword, []).append(clause)
    return " ".join(f"{keyword} {', '.join(parts)}" for keyword, parts in clauses.items())


def _clause(change: Change, bindings: Bindings) -> tuple[str, str]:
    name = bindings.name(change.attribute)
    match change:
        case Set(value=value):
            return "SET", f"{name} = {bindings.value(value)}"
        case SetIfMissing(value=value):
            return "SET", f"{name} = if_not_exists({name}, {bindings.value(value)})"
        case Remove():
            return "REMOVE", name
        case Add(number=number):
            return "ADD", f"{name} {bindings.value(number)}"
        case _:
            assert_never(change)


def key_expression(query: Query, bindings: Bindings) -> str:
    """Give the KeyConditionExpression of a query."""
    index = query.table.indexes[query.index] if query.index else None
    partition = f"{bindings.name(index.pk if index else PK)} = {bindings.value(query.pk)}"
    if query.sk is None:
        return partition
    name = bindings.name(index.sk if index else SK)
    match query.sk:
        case Prefix(text):
            return f"{partition} AND begins_with({name}, {bindings.value(text)})"
        case Between(low, high):
            bounds = f"{bindings.value(low)} AND {bindings.value(high)}"
            return f"{partition} AND {name} BETWEEN {bounds}"
        case UpTo(text):
            return f"{partition} AND {name} <= {bindings.value(text)}"
        case _:
            assert_never(query.sk)
