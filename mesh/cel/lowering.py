"""From CEL's typed tree to ours, refusing by name and position what the subset leaves out."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

from google.protobuf.descriptor import FieldDescriptor

from mesh.cel import functions
from mesh.cel.engine import TOO_DEEP, display, parse_literal
from mesh.cel.source import BODY, Source
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
    is_leaf,
)
from mesh.cel.types import (
    CelType,
    ListType,
    MapType,
    MessageType,
    OpaqueType,
    Type,
    check_text,
    describe,
    type_of,
)
from mesh.sql.document import is_secret

RECORD = "record"
"""Variable whose fields are the envelope's."""
MAX_NODES = 512
MAX_DEPTH = 32
MAX_QUANTIFIERS = 2
"""Quantifiers within quantifiers: each multiplies the work by the length of a list."""

_SCALARS = {
    "BOOL": CelType.BOOL,
    "INT64": CelType.INT,
    "UINT64": CelType.UINT,
    "DOUBLE": CelType.DOUBLE,
    "STRING": CelType.STRING,
    "BYTES": CelType.BYTES,
    "TIMESTAMP": CelType.TIMESTAMP,
    "DURATION": CelType.DURATION,
}
_CONSTANTS = {
    "bool_value": CelType.BOOL,
    "int64_value": CelType.INT,
    "uint64_value": CelType.UINT,
    "double_value": CelType.DOUBLE,
    "string_value": CelType.STRING,
    "bytes_value": CelType.BYTES,
}


def _item(kind: Type) -> Type | None:
    """Give the type of what a quantifier goes through: items of a list, keys of a map."""
    match kind:
        case ListType():
            return kind.item
        case MapType():
            return kind.key
        case _:
            return None


@dataclass(frozen=True)
class Scope:
    """What the names of a condition stand for."""

    body: Mapping[str, FieldDescriptor]
    record: Mapping[str, FieldDescriptor]
    enums: Mapping[str, int]
    parameters: Mapping[str, CelType]

    def __contains__(self, name: str) -> bool:
        return (
            name in self.body
            or name in self.enums
            or name in self.parameters
            or (bool(self.record) and name == RECORD)
        )


class Lowering:
    """Turns one checked condition into a tree; ``slots`` counts its quantifiers' variables."""

    def __init__(self, scope: Scope, source: Source, checked: Any) -> None:
        self._scope = scope
        self._source = source
        self._types = checked.type_map
        self._references = checked.reference_map
        self._positions = checked.source_info.positions
        self._locals: dict[str, Local] = {}
        self._nodes = 0
        self._depth = 0
        self._quantifiers = 0
        self.slots = 0

    def refuse(self, expression: Any, problem: str) -> NoReturn:
        raise self._source.refusal(problem, self._positions.get(expression.id, 0))

    def node(self, expression: Any) -> Node:
        """Lower one expression; raises FilterInvalid."""
        self._nodes += 1
        if self._nodes > MAX_NODES:
            self.refuse(expression, f"the condition has more than {MAX_NODES} parts")
        if self._depth == MAX_DEPTH:
            self.refuse(expression, f"the condition {TOO_DEEP}")
        self._depth += 1
        try:
            return self._lower(expression)
        finally:
            self._depth -= 1

    def _lower(self, expression: Any) -> Node:
        reference = self._references.get(expression.id)
        if reference is not None and reference.HasField("value"):
            # An enum value by its full name.
            return Constant(reference.value.int64_value, CelType.INT)
        match expression.WhichOneof("expr_kind"):
            case "const_expr":
                return self._constant(expression)
            case "ident_expr":
                return self._name(expression)
            case "select_expr":
                return self._select(expression)
            case "call_expr":
                return self._call(expression)
            case "list_expr":
                return self._items(expression)
            case "comprehension_expr":
                return self._comprehension(expression)
        return self.refuse(expression, "objects cannot be written in a condition")

    def _constant(self, expression: Any) -> Constant:
        constant = expression.const_expr
        which = constant.WhichOneof("constant_kind")
        if which not in _CONSTANTS:
            self.refuse(expression, "null is no value here; ask has()")
        kind, value = _CONSTANTS[which], getattr(constant, which)
        if kind is CelType.STRING:
            try:
                check_text(value)
            except ValueError as error:
                self.refuse(expression, str(error))
        if kind is CelType.UINT and value >= 2**63:
            self.refuse(expression, "the number is too large")
        return Constant(value, kind)

    def _name(self, expression: Any) -> Node:
        # A leading dot, which asks for the outermost scope, changes nothing here.
        name = expression.ident_expr.name.removeprefix(".")
        if name in self._locals:
            return self._locals[name]
        if name in self._scope.parameters:
            return Parameter(name, self._scope.parameters[name])
        if name in self._scope.enums:
            return Constant(self._scope.enums[name], CelType.INT)
        if name in self._scope.body:
            return self._field(name, self._scope.body[name])
        return self.refuse(expression, f"'{name}' is no value")

    def _field(self, path: str, descriptor: FieldDescriptor) -> Field:
        return Field(path, descriptor, type_of(descriptor))

    def _select(self, expression: Any) -> Node:
        select = expression.select_expr
        base = select.operand.ident_expr.name if select.operand.HasField("ident_expr") else ""
        target: Field | Member
        if base == BODY:
            target = self._field(select.field, self._scope.body[select.field])
        elif base == RECORD and base not in self._locals:
            if select.field not in self._scope.record:
                self.refuse(expression, f"'{select.field}' is no field of the envelope")
            path = f"{RECORD}.{select.field}"
            target = self._field(path, self._scope.record[select.field])
        else:
            operand = self.node(select.operand)
            if isinstance(operand.type, MapType):
                return self._key(operand, operand.type.value, select)
            target = self._member(expression, operand)
        return Present(target) if select.test_only else target

    def _key(self, operand: Node, value: Type, select: Any) -> Call:
        """Lower ``tags.key``, which is ``tags["key"]``, and ``has(tags.key)``."""
        key = Constant(select.field, CelType.STRING)
        if select.test_only:
            return Call(functions.IN, (key, operand), CelType.BOOL)
        return Call(functions.INDEX, (operand, key), value)

    def _member(self, expression: Any, operand: Node) -> Member:
        select = expression.select_expr
        if not isinstance(operand.type, MessageType):
            self.refuse(expression, f"the fields of {describe(operand.type)} cannot be asked")
        descriptor = operand.type.descriptor.fields_by_name[select.field]
        if is_secret(descriptor):
            self.refuse(expression, f"'{select.field}' is never shown, so it cannot be asked")
        return Member(operand, descriptor, type_of(descriptor, in_json=True))

    def _items(self, expression: Any) -> Items:
        items = tuple(self.node(each) for each in expression.list_expr.elements)
        kinds = {each.type for each in items}
        if len(kinds) > 1 or not all(isinstance(kind, CelType) for kind in kinds):
            self.refuse(expression, "the items of a list must be scalars of one type")
        if not all(is_leaf(each) for each in items):
            self.refuse(expression, "the items of a list must be fields or constants")
        return Items(items, ListType(items[0].type if items else CelType.INT))

    def _call(self, expression: Any) -> Node:
        call = expression.call_expr
        operands = [call.target] if call.HasField("target") else []
        operands.extend(call.args)
        name = call.function
        if name in functions.LITERALS:
            return self._literal(expression, operands)
        if name not in _RULES:
            self.refuse(expression, f"'{display(name)}' cannot be used in a condition")
        lowered = tuple(self.node(each) for each in operands)
        _RULES[name](self, expression, lowered)
        return Call(name, lowered, self._result(expression, lowered))

    def _literal(self, expression: Any, operands: list[Any]) -> Constant:
        name = expression.call_expr.function
        argument = self.node(operands[0])
        if not isinstance(argument, Constant) or argument.type is not CelType.STRING:
            self.refuse(expression, f"{name}() takes a text literal")
        value = parse_literal(name, argument.value)
        if value is None:
            self.refuse(operands[0], f"this is no {name}")
        return Constant(value, _SCALARS[name.upper()])

    def _result(self, expression: Any, operands: tuple[Node, ...]) -> Type:
        if expression.call_expr.function == functions.INDEX:
            kind = operands[0].type
            held = kind.value if isinstance(kind, MapType) else _item(kind)
            if held is not None:
                return held
        return self._scalar(expression)

    def _scalar(self, expression: Any) -> CelType:
        """Give the type of an expression, which must be a scalar."""
        kind = self._types[expression.id]
        which = kind.WhichOneof("type_kind")
        if which in ("primitive", "well_known"):
            enum = kind.DESCRIPTOR.fields_by_name[which].enum_type
            name = enum.values_by_number[getattr(kind, which)].name
            if name in _SCALARS:
                return _SCALARS[name]
        return self.refuse(expression, "this must be a scalar of one type")

    def _comprehension(self, expression: Any) -> Quantified:
        fold = expression.comprehension_expr
        # The macro stands right before its parenthesis.
        macro = self._source.name_before(self._positions.get(expression.id, 0))
        if macro not in ("exists", "all"):
            self.refuse(expression, f"'{macro}' cannot be used in a condition")
        every = fold.accu_init.const_expr.bool_value
        variable = fold.iter_var
        if variable in self._scope:
            self.refuse(expression, f"the variable '{variable}' hides a name of the record")
        domain = self.node(fold.iter_range)
        slot, self.slots = self.slots, self.slots + 1
        with self._variable(expression, variable, Local(slot, self._iterated(expression, domain))):
            # The fold's step is ``@result || predicate`` or ``@result && predicate``.
            predicate = self.node(fold.loop_step.call_expr.args[1])
        return Quantified(every, slot, domain, predicate)

    def _iterated(self, expression: Any, domain: Node) -> Type:
        if isinstance(domain, Items) and not is_constant(domain):
            self.refuse(expression, "a list that is gone through holds only constants")
        item = _item(domain.type)
        if item is None or isinstance(item, OpaqueType):
            self.refuse(expression, f"{describe(domain.type)} cannot be gone through")
        return item

    @contextmanager
    def _variable(self, expression: Any, name: str, local: Local) -> Iterator[None]:
        if self._quantifiers == MAX_QUANTIFIERS:
            self.refuse(expression, f"exists and all go at most {MAX_QUANTIFIERS} deep")
        outer = self._locals
        self._locals = {**outer, name: local}
        self._quantifiers += 1
        yield
        self._quantifiers -= 1
        self._locals = outer

    # Rules: what each function's operands must be, beyond what CEL has checked.

    def _scalars(self, expression: Any, operands: tuple[Node, ...]) -> None:
        for operand in operands:
            if not isinstance(operand.type, CelType):
                name = display(expression.call_expr.function)
                self.refuse(expression, f"'{name}' takes scalars, not {describe(operand.type)}")

    def _computed(self, expression: Any, operands: tuple[Node, ...]) -> None:
        for operand in operands:
            if operand.type not in functions.COMPUTED:
                name = display(expression.call_expr.function)
                self.refuse(expression, f"'{name}' cannot be used on {describe(operand.type)}")

    def _sized(self, expression: Any, operands: tuple[Node, ...]) -> None:
        listed = isinstance(operands[0], Items) and not is_constant(operands[0])
        if listed or isinstance(operands[0].type, MessageType | OpaqueType):
            self.refuse(expression, "size() takes text, bytes, or a field that is a list or map")

    def _contained(self, expression: Any, operands: tuple[Node, ...]) -> None:
        self._scalars(expression, operands[:1])
        domain = operands[1]
        if not isinstance(_item(domain.type), CelType):
            self.refuse(expression, f"'in' cannot look into {describe(domain.type)}")

    def _indexed(self, expression: Any, operands: tuple[Node, ...]) -> None:
        if isinstance(operands[0], Items) or not is_leaf(operands[1]):
            self.refuse(expression, "an index is a constant, a field or a variable, into a field")

    def _ending(self, expression: Any, operands: tuple[Node, ...]) -> None:
        if not is_leaf(operands[1]):
            self.refuse(expression, "endsWith() takes a constant or a field")

    def _anything(self, expression: Any, operands: tuple[Node, ...]) -> None:
        """CEL has checked enough."""


_RULES = {
    **dict.fromkeys(functions.LOGIC, Lowering._anything),
    **dict.fromkeys(functions.COMPARISONS, Lowering._scalars),
    **dict.fromkeys(functions.ARITHMETIC, Lowering._computed),
    **dict.fromkeys(functions.TEXT, Lowering._anything),
    functions.CHOICE: Lowering._scalars,
    functions.SIZE: Lowering._sized,
    functions.IN: Lowering._contained,
    functions.INDEX: Lowering._indexed,
    "endsWith": Lowering._ending,
}
