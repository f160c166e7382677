"""Values computed from JSON by CEL: what a workflow hands from one step to the next.

Unlike conditions over records these never become SQL, so all of CEL's standard library can be
used, and variables have no declared types. CEL itself bounds how much an evaluation may do.
"""

import json
import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from cel_expr_python import cel  # type: ignore[import-untyped]  # ships stubs without py.typed

MAX_LENGTH = 8192
"""Characters of an expression."""
MAX_RESULT = 262_144
"""Characters of a value, written as JSON."""
Variables = Mapping[str, Any]
"""JSON values by the names of variables."""
DEEPEST = 40
"""Lists and maps within each other that a value may have."""
_LONGEST_PROBLEM = 300


class ExpressionInvalid(ValueError):
    """A text that is no expression, or uses a variable that there is not."""


class ExpressionFailed(Exception):
    """An expression that has no value for these variables."""


class Expression:
    """A compiled expression."""

    def __init__(self, text: str, variables: frozenset[str]) -> None:
        """Check an expression; ExpressionInvalid. Whether keys exist is seen by evaluating."""
        if len(text) > MAX_LENGTH:
            raise ExpressionInvalid(f"has more than {MAX_LENGTH} characters")
        try:
            self._compiled = _environment(variables).compile(text)
        except RuntimeError as error:
            raise ExpressionInvalid(_problem(error)) from None

    @staticmethod
    @lru_cache(maxsize=1024)
    def of(text: str, variables: frozenset[str]) -> "Expression":
        """Give an expression, compiled once."""
        return Expression(text, variables)

    def value(self, variables: Variables) -> Any:
        """Give the value as JSON; ExpressionFailed, also if it is too large or no JSON.

        Moments are given as RFC 3339, durations in seconds such as ``1.5s``.
        """
        try:
            found = self._compiled.eval(data=dict(variables))
        except (RuntimeError, TypeError, ValueError) as error:
            raise ExpressionFailed(_problem(error)) from None
        if found.type() == cel.Type.ERROR:
            raise ExpressionFailed(_problem(found.value()))
        value = _json(found.plain_value())
        if len(json.dumps(value)) > MAX_RESULT:
            raise ExpressionFailed(f"the value takes more than {MAX_RESULT} characters")
        return value


@lru_cache(maxsize=8)
def _environment(variables: frozenset[str]) -> Any:
    return cel.NewEnv(variables=dict.fromkeys(sorted(variables), cel.Type.DYN))


def _problem(error: object) -> str:
    return str(error).split("\n")[0][:_LONGEST_PROBLEM]


def _json(value: Any, left: int = DEEPEST) -> Any:
    match value:
        case None | bool() | int():
            return value
        case str():
            return _text(value)
        case float():
            if not math.isfinite(value):
                raise ExpressionFailed("a number is not finite")
            return value
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case timedelta():
            return f"{value.total_seconds():g}s"
        case Mapping():
            deeper = _below(left)
            return {_key(key): _json(each, deeper) for key, each in value.items()}
        case list() | tuple():
            deeper = _below(left)
            return [_json(each, deeper) for each in value]
    raise ExpressionFailed(f"{type(value).__name__} is no JSON")


def _below(left: int) -> int:
    if not left:
        raise ExpressionFailed(f"the value is deeper than {DEEPEST} lists and maps")
    return left - 1


def _text(text: str) -> str:
    # No database keeps it in a text.
    if "\0" in text:
        raise ExpressionFailed("a text holds NUL")
    return text


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise ExpressionFailed("a map has a key that is no text")
    return _text(key)
