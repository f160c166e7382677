"""Which arithmetic cannot overflow, so that SQL need not guard it."""

from collections.abc import Mapping

from google.protobuf.descriptor import FieldDescriptor

from mesh.cel import functions
from mesh.cel.memory import constant_value
from mesh.cel.tree import Call, Field, Member, Node, is_constant
from mesh.cel.tree import parameters as needed
from mesh.cel.types import RANGES, CelType, Value

Interval = tuple[int, int]

_NARROW: Mapping[int, Interval] = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_ENUM: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
}
_LONGEST_LIST = 2**31 - 1
"""No protobuf message is larger than 2 GiB."""


def is_int_arithmetic(node: Node) -> bool:
    """Tell whether an overflow of a node shows in what is computed from it.

    SQLite turns an int that overflows into a real, and reals stay reals.
    """
    return (
        isinstance(node, Call)
        and node.function in functions.ARITHMETIC
        and node.type is CelType.INT
        and not is_constant(node)
    )


def fits(node: Call, parameters: Mapping[str, Value] | None) -> bool:
    """Tell whether arithmetic, with the ints it is computed from, never leaves its range.

    It is told for all values that parameters may have which ``parameters`` lacks.
    """
    if not isinstance(node.type, CelType) or node.type not in RANGES:
        return False
    least, greatest = RANGES[node.type]
    low, high = _result(node, parameters)
    if not (least <= low and high <= greatest):
        return False
    return not is_int_arithmetic(node) or all(
        fits(each, parameters)
        for each in node.operands
        if isinstance(each, Call) and is_int_arithmetic(each)
    )


def _interval(node: Node, parameters: Mapping[str, Value] | None) -> Interval:
    """Give the least and greatest value that a node can have."""
    assert isinstance(node.type, CelType)  # noqa: S101  # narrows for mypy; lowering saw to it
    least, greatest = RANGES[node.type]
    if is_constant(node):
        known = parameters or {}
        if needed(node).keys() - known.keys():
            return least, greatest
        value = constant_value(node, known)
        return (0, 0) if value is None else (value, value)
    match node:
        case Field() | Member() if node.type in (CelType.INT, CelType.UINT):
            return _NARROW.get(node.descriptor.cpp_type, (least, greatest))
        case Call(function=functions.SIZE):
            return 0, _LONGEST_LIST
        case Call() if node.function in functions.ARITHMETIC:
            low, high = _result(node, parameters)
            return max(low, least), min(high, greatest)
        case _:
            return least, greatest


def _result(node: Call, parameters: Mapping[str, Value] | None) -> Interval:
    """Give the bounds of a result before it is held against its type's range."""
    sides = [_interval(each, parameters) for each in node.operands]
    (low, high), (other_low, other_high) = sides[0], sides[-1]
    match node.function:
        case "_+_":
            return low + other_low, high + other_high
        case "_-_":
            return low - other_high, high - other_low
        case "_*_":
            corners = [one * other for one in sides[0] for other in sides[-1]]
            return min(corners), max(corners)
        case functions.NEGATE:
            return -high, -low
    # A quotient or remainder is no farther from zero than what is divided.
    widest = max(abs(low), abs(high))
    return -widest, widest
