"""The functions of the subset, by the names that CEL's parser gives them."""

from mesh.cel.types import CelType

AND, OR, NOT, CHOICE = "_&&_", "_||_", "!_", "_?_:_"
IN, INDEX, SIZE = "@in", "_[_]", "size"
NEGATE = "-_"
TIMESTAMP, DURATION = "timestamp", "duration"

EQUALITY = frozenset({"_==_", "_!=_"})
COMPARISONS = EQUALITY | {"_<_", "_<=_", "_>_", "_>=_"}
ARITHMETIC = frozenset({"_+_", "_-_", "_*_", "_/_", "_%_", NEGATE})
TEXT = frozenset({"startsWith", "endsWith", "contains"})
LOGIC = frozenset({AND, OR, NOT})
LITERALS = frozenset({TIMESTAMP, DURATION})

COMPUTED = frozenset(
    {
        CelType.INT,
        CelType.UINT,
        CelType.DOUBLE,
        CelType.STRING,
        CelType.TIMESTAMP,
        CelType.DURATION,
    }
)
"""Types that arithmetic gives; lists and bytes cannot be joined."""
