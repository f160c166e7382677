"""Condition operators of IAM policies, with their qualifiers and ``IfExists``.

Two rules are easily forgotten and are why this is computed: ``ForAllValues`` holds when the
request has no such key at all, and so does every negated operator.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.tenancy.policy.patterns import (
    Context,
    VariableAbsent,
    literal,
    matches,
    matches_arn,
)

Test = Callable[[str, str, Context], bool]
"""Compares what the policy says with a value of the request."""


class PolicyInvalid(Exception):
    """A policy that is not what IAM takes, or uses what is not computed here; says where."""


def _equals(wanted: str, value: str, context: Context) -> bool:
    return literal(wanted, context) == value


def _equals_uncased(wanted: str, value: str, context: Context) -> bool:
    return literal(wanted, context).lower() == value.lower()


def _numeric(compare: Callable[[float, float], bool]) -> Test:
    return lambda wanted, value, context: compare(float(value), float(literal(wanted, context)))


_TESTS: dict[str, tuple[Test, bool]] = {
    "StringEquals": (_equals, False),
    "StringNotEquals": (_equals, True),
    "StringEqualsIgnoreCase": (_equals_uncased, False),
    "StringNotEqualsIgnoreCase": (_equals_uncased, True),
    "StringLike": (matches, False),
    "StringNotLike": (matches, True),
    "ArnEquals": (matches_arn, False),
    "ArnLike": (matches_arn, False),
    "ArnNotEquals": (matches_arn, True),
    "ArnNotLike": (matches_arn, True),
    "Bool": (_equals_uncased, False),
    "NumericEquals": (_numeric(lambda value, wanted: value == wanted), False),
    "NumericNotEquals": (_numeric(lambda value, wanted: value == wanted), True),
    "NumericLessThan": (_numeric(lambda value, wanted: value < wanted), False),
    "NumericLessThanEquals": (_numeric(lambda value, wanted: value <= wanted), False),
    "NumericGreaterThan": (_numeric(lambda value, wanted: value > wanted), False),
    "NumericGreaterThanEquals": (_numeric(lambda value, wanted: value >= wanted), False),
}
"""Operator -> how it compares, and whether it is the negation of that."""
_QUALIFIERS = ("ForAllValues", "ForAnyValue")
_IF_EXISTS = "IfExists"
_NULL = "Null"


@dataclass(frozen=True)
class Condition:
    """One operator over one key: it holds for a request or does not."""

    operator: str
    """As written, such as ``ForAllValues:StringLike``."""
    key: str
    """As written; compared without case."""
    wanted: tuple[str, ...]

    def __post_init__(self) -> None:
        qualifier, name, _ = _parsed(self.operator)
        if name == _NULL:
            known = not qualifier and set(self.wanted) <= {"true", "false"}
        else:
            known = name in _TESTS and bool(self.wanted)
        if not known:
            raise PolicyInvalid(f"condition {self.operator} of {self.key}")

    def holds(self, context: Context) -> bool:
        """Tell whether it holds for a request."""
        values = context.get(self.key.lower(), ())
        qualifier, name, if_exists = _parsed(self.operator)
        if name == _NULL:
            return (not values) is (self.wanted[0] == "true")
        if not values and if_exists:
            return True
        test, negated = _TESTS[name]
        met = [self._meets(test, value, context) is not negated for value in values]
        if qualifier == "ForAllValues":
            return all(met)
        if qualifier == "ForAnyValue":
            return any(met)
        # Without a qualifier a key has one value; for several, both readings must hold.
        return all(met) if met else negated

    def _meets(self, test: Test, value: str, context: Context) -> bool:
        """Tell whether any of the wanted meets a value; one of an absent variable meets none."""
        for wanted in self.wanted:
            try:
                if test(wanted, value, context):
                    return True
            except VariableAbsent:
                continue
        return False


def conditions(written: object, where: str) -> tuple[Condition, ...]:
    """Read the element ``Condition`` of a statement. PolicyInvalid."""
    if not isinstance(written, dict):
        raise PolicyInvalid(f"{where}: Condition is no object")
    made = []
    for operator, keys in written.items():
        if not isinstance(keys, dict) or not keys:
            raise PolicyInvalid(f"{where}: {operator} has no keys")
        made += [Condition(operator, key, texts(wanted, where)) for key, wanted in keys.items()]
    return tuple(made)


def texts(written: object, where: str) -> tuple[str, ...]:
    """Read one text or a list of them. PolicyInvalid."""
    listed: Sequence[object] = written if isinstance(written, list) else [written]
    if not listed:
        raise PolicyInvalid(f"{where}: an empty list")
    return tuple(_text(each, where) for each in listed)


def _text(written: object, where: str) -> str:
    if isinstance(written, bool):
        return str(written).lower()
    if isinstance(written, int | str):
        return str(written)
    raise PolicyInvalid(f"{where}: {type(written).__name__} in place of a text")


def _parsed(operator: str) -> tuple[str, str, bool]:
    """Split an operator into qualifier, name and whether it ends with ``IfExists``."""
    qualifier, colon, name = operator.rpartition(":")
    if colon and qualifier not in _QUALIFIERS:
        raise PolicyInvalid(f"condition {operator}")
    if_exists = name.endswith(_IF_EXISTS)
    return qualifier, name.removesuffix(_IF_EXISTS), if_exists
