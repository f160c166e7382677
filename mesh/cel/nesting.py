"""How deep the SQL of a condition nests: SQLite's parser has a stack of 100 symbols."""

from mesh.cel import functions
from mesh.cel.bounds import fits, is_int_arithmetic
from mesh.cel.tree import Call, Node, Quantified, children
from mesh.cel.types import CelType

MAX_NESTING = 70
"""Symbols that a condition may take of the stack; the statement around takes the rest."""

# Symbols that wait on the stack while an operand of each is parsed: upper bounds, measured.
_LINK = 3
_CHOICE = 7
_FUNCTION = 6
_LOOKUP = 8
_QUANTIFIER = 14
_GUARD = 20
_GUARD_OF_DOUBLES = 8


def nesting(node: Node, outer: Node | None = None) -> int:
    """Count the symbols that wait at the deepest place of a node."""
    deepest = max((nesting(each, node) for each in children(node)), default=0)
    return _cost(node, outer) + deepest


def _cost(node: Node, outer: Node | None) -> int:
    match node:
        case Quantified():
            return _QUANTIFIER
        case Call(function=functions.CHOICE):
            return _CHOICE
        case Call(function=functions.IN | functions.INDEX):
            return _LOOKUP
        case Call() if node.function in functions.ARITHMETIC:
            shared = outer is not None and is_int_arithmetic(outer) and is_int_arithmetic(node)
            free = shared or node.type is CelType.STRING or fits(node, None)
            if free:
                return _LINK
            return _LINK + (_GUARD_OF_DOUBLES if node.type is CelType.DOUBLE else _GUARD)
        case Call() if node.function in functions.LOGIC | functions.COMPARISONS:
            return _LINK
        case _ if children(node):
            return _FUNCTION
        case _:
            return 1
