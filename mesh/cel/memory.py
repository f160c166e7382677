"""Conditions evaluated on messages, in the three-valued logic of SQL (Kleene's).

CEL's own evaluator reads an absent field as its default. Here it is unknown (None), as NULL
is in SQL, and so is all that CEL calls an error: a missing key, a division by zero, an
overflow. Two more things are unknown because SQL cannot tell them: NaN and infinity.
"""

import math
import operator
from collections.abc import Callable, Container, Mapping
from typing import Any, TypeAlias

from google.protobuf.message import Message

from mesh.cel import functions
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
    slots,
)
from mesh.cel.types import RANGES, CelType, MapType, Value, reader


class Frame:
    """What one evaluation reads: a record, parameters, and the quantifiers' variables."""

    __slots__ = ("body", "locals", "parameters", "record", "unread")

    def __init__(
        self,
        body: Message | None,
        record: Message | None,
        parameters: Mapping[str, Value],
        unread: Container[str],
        places: int,
    ) -> None:
        self.body = body
        self.record = record
        self.parameters = parameters
        self.unread = unread
        self.locals: list[Value] = [None] * places


Evaluator: TypeAlias = Callable[[Frame], Value]
_Operator: TypeAlias = Callable[..., Value]

_COMPARISONS: Mapping[str, _Operator] = {
    "_==_": operator.eq,
    "_!=_": operator.ne,
    "_<_": operator.lt,
    "_<=_": operator.le,
    "_>_": operator.gt,
    "_>=_": operator.ge,
}
_TEXT: Mapping[str, _Operator] = {
    "startsWith": str.startswith,
    "endsWith": str.endswith,
    "contains": operator.contains,
}


def evaluator(node: Node) -> Evaluator:
    """Turn a tree into a function; its value is None where it is unknown."""
    match node:
        case Constant():
            value = node.value
            return lambda _: value
        case Parameter():
            name = node.name
            return lambda frame: frame.parameters[name]
        case Local():
            slot = node.slot
            return lambda frame: frame.locals[slot]
        case Field():
            return _field(node)
        case Member():
            return _member(node)
        case Present():
            return _present(node.target)
        case Items():
            return _items(node)
        case Quantified():
            return _quantified(node)
        case Call():
            return _call(node)


def constant_value(node: Node, parameters: Mapping[str, Value]) -> Value:
    """Evaluate a node that needs no record."""
    return evaluator(node)(Frame(None, None, parameters, (), slots(node)))


def _holder(field: Field) -> Callable[[Frame], Message | None]:
    """Give the function that finds the message around a field; None if the field is unread."""
    path = field.path
    if field.of_record:
        return lambda frame: None if path in frame.unread else frame.record
    return lambda frame: None if path in frame.unread else frame.body


def _field(node: Field) -> Evaluator:
    return _read(node, _holder(node))


def _member(node: Member) -> Evaluator:
    return _read(node, evaluator(node.operand))


def _read(node: Field | Member, holder: Evaluator) -> Evaluator:
    name, optional, convert = (
        node.descriptor.name,
        node.descriptor.has_presence,
        reader(node.type),
    )

    def read(frame: Frame) -> Value:
        message = holder(frame)
        if message is None or (optional and not message.HasField(name)):
            return None
        value = getattr(message, name)
        return value if convert is None else convert(value)

    return read


def _present(target: Field | Member) -> Evaluator:
    """Ask for presence: of a field without it, whether it differs from its default."""
    descriptor = target.descriptor
    name, optional, repeated = descriptor.name, descriptor.has_presence, descriptor.is_repeated

    def held(message: Any) -> bool:
        if optional:
            return bool(message.HasField(name))
        value = getattr(message, name)
        return len(value) > 0 if repeated else bool(value != descriptor.default_value)

    holder = _holder(target) if isinstance(target, Field) else evaluator(target.operand)
    # Nothing is in a message that is not there, unless it could not be read.
    outer = (
        _present(target.operand)
        if isinstance(target, Member) and isinstance(target.operand, Field | Member)
        else None
    )

    def present(frame: Frame) -> bool | None:
        if outer is not None and (known := outer(frame)) is not True:
            return None if known is None else False
        message = holder(frame)
        return None if message is None else held(message)

    return present


def _items(node: Items) -> Evaluator:
    items = [evaluator(each) for each in node.items]

    def listed(frame: Frame) -> Value:
        values = [item(frame) for item in items]
        return None if None in values else values

    return listed


def _quantified(node: Quantified) -> Evaluator:
    domain, predicate = evaluator(node.domain), evaluator(node.predicate)
    slot, deciding = node.slot, not node.every

    def quantified(frame: Frame) -> Value:
        values = domain(frame)
        if values is None:
            return None
        unknown = False
        for value in values:
            frame.locals[slot] = value
            outcome = predicate(frame)
            if outcome is deciding:
                return deciding
            unknown = unknown or outcome is None
        return None if unknown else not deciding

    return quantified


def _call(node: Call) -> Evaluator:
    operands = [evaluator(each) for each in node.operands]
    if node.function == functions.AND:
        return _decided(operands, deciding=False)
    if node.function == functions.OR:
        return _decided(operands, deciding=True)
    if node.function == functions.CHOICE:
        return _choice(*operands)
    apply = _operator(node)
    if len(operands) == 1:
        (only,) = operands

        def unary(frame: Frame) -> Value:
            value = only(frame)
            return None if value is None else apply(value)

        return unary
    left, right = operands

    def binary(frame: Frame) -> Value:
        first = left(frame)
        if first is None:
            return None
        second = right(frame)
        return None if second is None else apply(first, second)

    return binary


def _decided(operands: list[Evaluator], *, deciding: bool) -> Evaluator:
    """Give ``||`` (true decides) or ``&&`` (false decides)."""

    def decided(frame: Frame) -> Value:
        unknown = False
        for operand in operands:
            value = operand(frame)
            if value is deciding:
                return deciding
            unknown = unknown or value is None
        return None if unknown else not deciding

    return decided


def _choice(condition: Evaluator, chosen: Evaluator, otherwise: Evaluator) -> Evaluator:
    def choice(frame: Frame) -> Value:
        decision = condition(frame)
        if decision is None:
            return None
        return chosen(frame) if decision else otherwise(frame)

    return choice


def _operator(node: Call) -> _Operator:
    """Give the function of known operands."""
    name = node.function
    if name in _COMPARISONS:
        return _COMPARISONS[name]
    if name in _TEXT:
        return _TEXT[name]
    if name in functions.ARITHMETIC:
        return _arithmetic(node)
    if name == functions.IN:
        return _has_key if isinstance(node.operands[1].type, MapType) else _holds
    if name == functions.INDEX:
        return _key if isinstance(node.operands[0].type, MapType) else _index
    return {functions.NOT: operator.not_, functions.SIZE: len}[name]


def _holds(value: Value, items: Any) -> bool:
    return value in items


def _has_key(key: Value, mapping: Any) -> bool:
    try:
        return key in mapping
    except ValueError:
        # A message's map refuses keys beyond the range of its type.
        return False


def _key(mapping: Any, key: Value) -> Value:
    # Reading a message's map with [] would add the key.
    return mapping.get(key) if _has_key(key, mapping) else None


def _index(items: Any, place: int) -> Value:
    return items[place] if 0 <= place < len(items) else None


def _arithmetic(node: Call) -> _Operator:
    if node.type is CelType.STRING:
        return operator.add
    if node.type is CelType.DOUBLE:
        return _finite(_DOUBLE[node.function])
    assert isinstance(node.type, CelType)  # noqa: S101  # narrows for mypy; lowering saw to it
    return _within(_INTEGER[node.function], *RANGES[node.type])


def _negate(value: float) -> float:
    return -value


def _quotient(dividend: int, divisor: int) -> int | None:
    """Divide towards zero, as SQL and CEL do."""
    if divisor == 0:
        return None
    magnitude = abs(dividend) // abs(divisor)
    return magnitude if (dividend < 0) == (divisor < 0) else -magnitude


def _remainder(dividend: int, divisor: int) -> int | None:
    """Give the remainder with the dividend's sign; CEL alone refuses the least by -1."""
    if divisor == 0:
        return None
    magnitude = abs(dividend) % abs(divisor)
    return -magnitude if dividend < 0 else magnitude


_INTEGER: Mapping[str, _Operator] = {
    "_+_": operator.add,
    "_-_": operator.sub,
    "_*_": operator.mul,
    "_/_": _quotient,
    "_%_": _remainder,
    functions.NEGATE: _negate,
}
_DOUBLE: Mapping[str, _Operator] = {
    **_INTEGER,
    "_/_": lambda dividend, divisor: None if divisor == 0 else dividend / divisor,
}


def _within(apply: _Operator, least: int, greatest: int) -> _Operator:
    def bounded(*operands: int) -> int | None:
        result = apply(*operands)
        return result if result is not None and least <= result <= greatest else None

    return bounded


def _finite(apply: _Operator) -> _Operator:
    def finite(*operands: float) -> float | None:
        result = apply(*operands)
        return result if result is not None and math.isfinite(result) else None

    return finite
