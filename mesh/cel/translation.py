"""Conditions as SQL, three-valued exactly as ``mesh.cel.memory`` evaluates them.

No expression is written twice unless it is a leaf, so statements grow with the condition
only. What no record decides is computed here and bound as one value.
"""

import operator
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

from mesh.cel import functions
from mesh.cel.bounds import fits, is_int_arithmetic
from mesh.cel.dialect import Dialect, Domain, Expression
from mesh.cel.memory import constant_value
from mesh.cel.sql import Columns, TableColumns
from mesh.cel.tree import (
    Call,
    Constant,
    Field,
    Items,
    Local,
    Member,
    Node,
    Parameter,
    Present,
    Quantified,
    is_constant,
    parameters,
)
from mesh.cel.types import CelType, ListType, MapType, OpaqueType, Type, Value

_COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "_==_": operator.eq,
    "_!=_": operator.ne,
    "_<_": operator.lt,
    "_<=_": operator.le,
    "_>_": operator.gt,
    "_>=_": operator.ge,
}
_BOOL = sa.Boolean()


def _scalar(kind: Type) -> CelType | None:
    """Give the type of a scalar; None for what is kept as JSON."""
    return kind if isinstance(kind, CelType) else None


def _negated(condition: Expression) -> Expression:
    # SQLAlchemy writes no parentheses around NOT, which then takes in what it is compared with.
    return condition == sa.false()


class Translation:
    """Writes one tree for one set of columns and parameters."""

    def __init__(
        self,
        columns: Columns,
        parameters: Mapping[str, Value],
        dialect: Dialect,
        by_row: Mapping[str, Expression],
    ) -> None:
        self._columns = columns
        self._parameters = parameters
        self._dialect = dialect
        self._by_row = by_row
        """Parameters that are not one value but an expression over the row."""
        self._locals: dict[int, Expression] = {}
        self._functions: Mapping[str, Callable[..., Expression]] = {
            **_COMPARISONS,
            functions.AND: sa.and_,
            functions.OR: sa.or_,
            functions.NOT: _negated,
            functions.CHOICE: self._choice,
            "startsWith": dialect.starts_with,
            "endsWith": dialect.ends_with,
            "contains": dialect.contains,
        }

    def write(self, node: Node) -> Expression:
        """Give the SQL of a node; lists and messages are JSON."""
        if self._is_constant(node):
            return self._constant(node)
        match node:
            case Parameter():
                return self._by_row[node.name]
            case Field():
                value = self._columns.value(node.path)
                return self._dialect.typed(value, _scalar(node.type))
            case Local():
                return self._locals[node.slot]
            case Member():
                return self._member(node)
            case Present():
                return self._present(node.target)
            case Quantified():
                return self._quantified(node)
            case Call():
                return self._call(node)
            case Constant() | Items():
                raise AssertionError("constants and lists of fields are written by their users")

    def _is_constant(self, node: Node) -> bool:
        return is_constant(node) and self._by_row.keys().isdisjoint(parameters(node))

    def _constant(self, node: Node) -> Expression:
        value = constant_value(node, self._parameters)
        if isinstance(node.type, CelType):
            return self._dialect.literal(value, node.type)
        if value is None:
            return self._dialect.literal(None, CelType.STRING)
        return self._dialect.listed(value)

    # Fields of messages

    def _path(self, node: Member) -> tuple[Node, tuple[str, ...]]:
        """Give the value that a chain of members begins with, and the way from there."""
        names: list[str] = []
        target: Node = node
        while isinstance(target, Member):
            names.append(target.descriptor.name)
            target = target.operand
        return target, tuple(reversed(names))

    def _member(self, node: Member) -> Expression:
        root, path = self._path(node)
        document, kind = self.write(root), _scalar(node.type)
        found = self._dialect.member(document, path, kind)
        if node.descriptor.has_presence:
            return found
        held = sa.func.coalesce(found, self._default(node), type_=found.type)
        holder = self._dialect.member(document, path[:-1], None) if path[1:] else document
        # A message that is not there holds no default either.
        return sa.case((holder.is_not(None), held))

    def _default(self, node: Member) -> Expression:
        match node.type:
            case CelType():
                return self._dialect.literal(node.descriptor.default_value, node.type)
            case MapType():
                return self._dialect.empty_object()
            case OpaqueType("bytes"):
                # base64 of nothing
                return self._dialect.opaque("")
            case OpaqueType("uint"):
                return self._dialect.opaque(0)
            case _:
                return self._dialect.listed([])

    def _present(self, target: Field | Member) -> Expression:
        if isinstance(target, Field):
            return self._dialect.typed(self._columns.present(target.path), CelType.BOOL)
        root, path = self._path(target)
        document = self.write(root)
        found = self._dialect.member(document, path, _scalar(target.type))
        held: Expression = found.is_not(None)
        if not target.descriptor.has_presence:
            held = sa.func.coalesce(self._differs(found, target), sa.false(), type_=_BOOL)
        if not isinstance(root, Field):
            return sa.case((document.is_not(None), held))
        # Absent is false and unread is unknown; only the columns know which it is.
        present = self._columns.present(root.path)
        return sa.case({True: held, False: sa.false()}, value=present)

    def _differs(self, found: Expression, target: Member) -> Expression:
        if target.descriptor.is_repeated:
            return self._dialect.length(found, of_object=isinstance(target.type, MapType)) > 0
        return found != self._default(target)

    # Quantifiers

    def _domain(self, node: Node, document: Expression) -> Domain:
        match node.type:
            case MapType(CelType() as key):
                return self._dialect.keys(document, key)
            case ListType(item):
                return self._dialect.items(document, _scalar(item))
        raise AssertionError("lowering lets only lists and maps through")

    def _holds(self, domain: Node, value: Node) -> Expression | None:
        """Ask the index of a list's values for a constant, if there is one."""
        if not isinstance(self._columns, TableColumns) or not isinstance(domain, Field):
            return None
        is_constant_value = self._is_constant(value)
        sought = constant_value(value, self._parameters) if is_constant_value else None
        return None if sought is None else self._columns.holds(domain.path, sought)

    def _equal_item(self, node: Quantified) -> Expression | None:
        """Write ``list.exists(item, item == constant)`` as ``constant in list``."""
        match node.predicate:
            case Call(function="_==_", operands=(Local(slot), value) | (value, Local(slot))) if (
                slot == node.slot and not node.every
            ):
                return self._holds(node.domain, value)
        return None

    def _quantified(self, node: Quantified) -> Expression:
        if (found := self._equal_item(node)) is not None:
            return found
        document = self.write(node.domain)
        domain = self._domain(node.domain, document)
        self._locals[node.slot] = domain.value
        # Outcomes by rank, so that the first in order is the answer: the deciding one,
        # then the unknown one. Nothing at all is the other.
        held = self._dialect.typed(self.write(node.predicate), CelType.BOOL)
        rank = sa.case({True: 2, False: 0}, value=held, else_=1)
        label = rank.label("rank")
        order: Expression = label.asc() if node.every else label.desc()
        first = domain.select(label).order_by(order).limit(1).scalar_subquery()
        nothing = sa.case((document.is_not(None), 2 if node.every else 0))
        return sa.case({2: sa.true(), 0: sa.false()}, value=sa.func.coalesce(first, nothing))

    # Functions

    def _choice(
        self, condition: Expression, chosen: Expression, otherwise: Expression
    ) -> Expression:
        asked = self._dialect.typed(condition, CelType.BOOL)
        return sa.case({True: chosen, False: otherwise}, value=asked)

    def _call(self, node: Call) -> Expression:
        name = node.function
        if name == functions.IN:
            return self._contained(*node.operands)
        if name == functions.INDEX:
            return self._indexed(node)
        if name == functions.SIZE:
            return self._size(node.operands[0])
        if name in functions.ARITHMETIC:
            return self._computed(node)
        if name in functions.EQUALITY and (equal := self._equal_names(*node.operands)) is not None:
            return equal if name == "_==_" else _negated(equal)
        operands = [self.write(each) for each in node.operands]
        return self._functions[name](*operands)

    def _equal_names(self, left: Node, right: Node) -> Expression | None:
        """Compare a field with a constant by what is stored, where the name is not."""
        field, other = (left, right) if isinstance(left, Field) else (right, left)
        if not isinstance(self._columns, TableColumns) or not isinstance(field, Field):
            return None
        if other.type is not CelType.STRING or not self._is_constant(other):
            return None
        value = constant_value(other, self._parameters)
        return None if value is None else self._columns.equal(field.path, value)

    def _computed(self, node: Call) -> Expression:
        result = self._arithmetic(node)
        if not isinstance(node.type, CelType) or node.type is CelType.STRING:
            return result
        bounded = self._dialect.fitting if fits(node, self._parameters) else self._dialect.within
        return bounded(result, node.type)

    def _arithmetic(self, node: Call) -> Expression:
        """Write arithmetic without its guard; one guard serves a whole tree of ints."""
        operands = [
            self._arithmetic(each)
            if isinstance(each, Call) and is_int_arithmetic(node) and is_int_arithmetic(each)
            else self.write(each)
            for each in node.operands
        ]
        kinds = [each.type for each in (*node.operands, node)]
        scalars = [kind for kind in kinds if isinstance(kind, CelType)]
        pairs = list(zip(operands, scalars, strict=False))
        return self._dialect.compute(node.function, pairs, scalars[-1])

    def _size(self, operand: Node) -> Expression:
        value = self.write(operand)
        match operand.type:
            case CelType.STRING:
                return self._dialect.text_length(value)
            case CelType.BYTES:
                return self._dialect.byte_length(value)
            case kind:
                return self._dialect.length(value, of_object=isinstance(kind, MapType))

    def _contained(self, value: Node, domain: Node) -> Expression:
        if isinstance(domain, Items) and domain.items:
            equal = [self._equal_names(value, item) for item in domain.items]
            if all(each is not None for each in equal):
                return sa.or_(*equal)  # type: ignore[arg-type]  # none is None
        if (held := self._holds(domain, value)) is not None:
            return held
        sought = self.write(value)
        if isinstance(domain, Items):
            return self._listed(sought, domain)
        document = self.write(domain)
        found = self._dialect.among(sought, self._domain(domain, document))
        return sa.case((document.is_not(None), found))

    def _listed(self, sought: Expression, domain: Items) -> Expression:
        items = [self.write(each) for each in domain.items]
        if not items:
            return sa.case((sought.is_not(None), sa.false()))
        doubtful = [
            item.is_(None)
            for item, node in zip(items, domain.items, strict=True)
            if not isinstance(node, Constant)
        ]
        found = sought.in_(items)
        # One unknown item makes the whole list unknown, even if another is equal.
        return sa.case((sa.not_(sa.or_(*doubtful)), found)) if doubtful else found

    def _indexed(self, node: Call) -> Expression:
        container, place = node.operands
        document, key = self.write(container), self.write(place)
        if isinstance(container.type, MapType) and isinstance(place.type, CelType):
            return self._dialect.entry(document, key, place.type, _scalar(node.type))
        return self._dialect.item(document, key, _scalar(node.type))
