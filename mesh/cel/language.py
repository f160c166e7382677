"""Conditions over the fields of a kind, in CEL: filters, watches, checks.

Body fields stand bare, the envelope's are ``record.region``, enum values are ints under
their own names. Absent means unknown in both engines, as NULL does in SQL.
"""

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial

import sqlalchemy as sa
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

from mesh.cel.dialect import SQLITE, Dialect
from mesh.cel.engine import TOO_DEEP, Checker
from mesh.cel.lowering import RECORD, Lowering, Scope
from mesh.cel.memory import Frame, evaluator
from mesh.cel.nesting import MAX_NESTING, nesting
from mesh.cel.pool import pool_of
from mesh.cel.source import BODY, RESERVED, Source
from mesh.cel.sql import Columns
from mesh.cel.translation import Translation
from mesh.cel.tree import Node, fields, parameters
from mesh.cel.types import CelType, MessageType, Type, Value, describe, parameter_value, type_of
from mesh.contract.catalogue import Kind, is_map
from mesh.contract.storage import Storage, item_storage
from mesh.errors import FilterInvalid
from mesh.sql.document import is_askable

MAX_LENGTH = 4096
"""Characters of a condition."""
_POOLS = 4
"""Types of kinds that are kept for CEL: those of one take 0.07 MiB, and half a ms to make anew."""


class Condition:
    """A compiled condition; safe to share between threads."""

    def __init__(self, expression: str, tree: Node, slots: int) -> None:
        self.expression = expression
        self.fields: frozenset[str] = fields(tree)
        """What it reads: names of the body, and of the envelope as ``record.region``."""
        self._tree = tree
        self._slots = slots
        self._parameters = parameters(tree)
        self._evaluate = evaluator(tree)

    def matches(
        self,
        body: Message,
        record: Message | None = None,
        parameters: Mapping[str, object] | None = None,
        unread: Container[str] = (),
    ) -> bool | None:
        """Evaluate on a message; None if it depends on what is absent or in ``unread``.

        ``record`` is the envelope; without it the envelope's fields are unknown.
        ``unread`` holds names as in ``fields``: their values do not count, whatever they are.
        Raises KeyError for a parameter without a value, TypeError for one of another type.
        """
        bound = self._bound(parameters) if self._parameters else {}
        frame = Frame(body, record, bound, unread, self._slots)
        outcome: bool | None = self._evaluate(frame)
        return outcome

    def to_sql(
        self,
        columns: Columns,
        parameters: Mapping[str, object] | None = None,
        dialect: Dialect = SQLITE,
    ) -> sa.ColumnElement[bool]:
        """Write the condition in SQL: TRUE, FALSE and NULL where ``matches`` gives None.

        A parameter may be an expression over the row, of the type that the dialect gives it.
        Raises as ``matches`` does.
        """
        given = parameters or {}
        by_row = {
            name: value for name, value in given.items() if isinstance(value, sa.ColumnElement)
        }
        bound = self._bound(given, without=by_row)
        return Translation(columns, bound, dialect, by_row).write(self._tree)

    def _bound(
        self, given: Mapping[str, object] | None, without: Container[str] = ()
    ) -> dict[str, Value]:
        bound: dict[str, Value] = {}
        for name, kind in self._parameters.items():
            if name in without:
                continue
            if given is None or name not in given:
                raise KeyError(f"parameter {name!r} has no value")
            bound[name] = parameter_value(name, kind, given[name])
        return bound


class Environment:
    """The variables that conditions over one kind may use."""

    def __init__(self, kind: Kind, parameters: Mapping[str, CelType]) -> None:
        body = {each.name: each for each in kind.descriptor.fields if is_askable(each)}
        record = {each.name: each for each in kind.envelope_fields if is_askable(each)}
        enums = _enum_values(kind)
        self._scope = Scope(body, record, enums, dict(parameters))
        _check_names(kind, self._scope)
        self._checker = Checker(_variables(kind, self._scope), partial(_pool, _Key.of(kind)))
        # Lists are asked again and again with the same filter.
        self._compiled = lru_cache(maxsize=256)(self.check)

    @classmethod
    def of_kind(cls, kind: Kind, parameters: Mapping[str, CelType] | None = None) -> "Environment":
        """Give the environment of a kind and its parameters, made once for each.

        Raises ValueError if a parameter has the name of a field.
        """
        chosen = tuple(sorted((parameters or {}).items(), key=lambda item: item[0]))
        return _environment(_Key.of(kind, chosen))

    def compile(self, expression: str) -> Condition:
        """Check a condition, once; FilterInvalid says what is wrong and where."""
        return self._compiled(expression)

    def check(self, expression: str) -> Condition:
        """Check a condition as ``compile`` does, without remembering it."""
        if len(expression) > MAX_LENGTH:
            raise FilterInvalid(f"the condition has more than {MAX_LENGTH} characters")
        source = Source(expression, self._scope.body)
        checked = self._checker.check(source)
        lowering = Lowering(self._scope, source, checked)
        tree = lowering.node(checked.expr)
        if tree.type is not CelType.BOOL:
            lowering.refuse(checked.expr, f"the condition is {describe(tree.type)}, not bool")
        if nesting(tree) > MAX_NESTING:
            lowering.refuse(checked.expr, f"the condition {TOO_DEEP}")
        return Condition(expression, tree, lowering.slots)


@dataclass(frozen=True)
class _Key:
    """What tells environments apart; a kind itself has no hash."""

    descriptor: Descriptor
    envelope: Descriptor | None
    parameters: tuple[tuple[str, CelType], ...]
    kind: Kind = field(compare=False)

    @classmethod
    def of(cls, kind: Kind, parameters: tuple[tuple[str, CelType], ...] = ()) -> "_Key":
        return cls(kind.descriptor, kind.envelope, parameters, kind)


@lru_cache(maxsize=1024)
def _environment(key: _Key) -> Environment:
    return Environment(key.kind, dict(key.parameters))


@lru_cache(maxsize=_POOLS)
def _pool(key: _Key) -> DescriptorPool:
    """Give the types of a kind, whatever parameters its conditions have."""
    if key.envelope is None:
        return pool_of([key.descriptor], ())
    bodies = set(key.envelope.fields) - set(key.kind.envelope_fields)
    return pool_of([key.descriptor, key.envelope], bodies)


def _variables(kind: Kind, scope: Scope) -> dict[str, Type]:
    declared: dict[str, Type] = {
        **dict.fromkeys(scope.enums, CelType.INT),
        **{name: type_of(each) for name, each in scope.body.items() if name not in RESERVED},
        **scope.parameters,
        BODY: MessageType(kind.descriptor),
    }
    if kind.envelope is not None:
        declared[RECORD] = MessageType(kind.envelope)
    return declared


def _check_names(kind: Kind, scope: Scope) -> None:
    for name in scope.parameters:
        if name in RESERVED or name in scope.body or name in scope.enums or name == RECORD:
            raise ValueError(f"{kind.collection}: a parameter cannot be named {name!r}")
    if kind.envelope is not None and RECORD in scope.body:
        raise ValueError(f"{kind.collection}: no field may be named {RECORD!r}")


def _enum_values(kind: Kind) -> dict[str, int]:
    """Give the values of all enums that fields of the kind hold, at any depth."""
    found: dict[str, int] = {}
    for enum in _enums((*kind.descriptor.fields, *kind.envelope_fields), set()):
        for value in enum.values:
            if found.setdefault(value.name, value.number) != value.number:
                raise ValueError(f"{kind.collection}: {value.name} has two values")
    return found


def _enums(
    descriptors: tuple[FieldDescriptor, ...], seen: set[Descriptor]
) -> Iterator[EnumDescriptor]:
    for each in descriptors:
        if each.enum_type is not None:
            yield each.enum_type
        message = each.message_type
        opaque = not is_map(each) and item_storage(each) is not Storage.MESSAGE
        if message is not None and message not in seen and not opaque:
            seen.add(message)
            yield from _enums(tuple(message.fields), seen)
