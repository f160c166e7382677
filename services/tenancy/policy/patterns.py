"""Wildcards and variables of IAM policies.

In an action or a condition ``*`` stands for any characters and ``?`` for one. In an ARN they do
not reach over the first five colons, but for a ``*`` that ends a part. A variable's value is
taken as it is: a star in a tag is a star.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

Context = Mapping[str, tuple[str, ...]]
"""Condition keys in lower case, with their values; a key that is not there is absent."""
_TOKEN = re.compile(r"\$\{([^}]*)\}|([*?:])|([^*?:$]+|\$)")
_WITH_DEFAULT = re.compile(r"\s*([^,\s]+)\s*,\s*'([^']*)'\s*")
_SIGNS = {"*": "*", "?": "?", "$": "$"}
"""``${*}`` and the like stand for the sign itself."""
_ARN_COLONS = 5
_ANY, _IN_PART = {"*": ".*", "?": "."}, {"*": "[^:]*", "?": "[^:]"}


class VariableAbsent(Exception):
    """A variable without a default, of which the request says nothing."""


def matches(pattern: str, value: str, context: Context, *, cased: bool = True) -> bool:
    """Tell whether a pattern of a condition or an action meets a value. VariableAbsent."""
    written = "".join(_ANY.get(sign, text) for sign, text in _tokens(pattern, context))
    return _compiled(written, cased).fullmatch(value) is not None


def matches_arn(pattern: str, arn: str, context: Context) -> bool:
    """Tell whether a pattern of ARNs meets one. VariableAbsent."""
    if pattern == "*":
        return True
    tokens = list(_tokens(pattern, context))
    made, colons = [], 0
    for at, (sign, text) in enumerate(tokens):
        colons += sign == ":"
        ends_part = at + 1 == len(tokens) or tokens[at + 1][0] == ":"
        reaches = colons >= _ARN_COLONS or (sign == "*" and ends_part)
        made.append((_ANY if reaches else _IN_PART).get(sign, text))
    return colons >= _ARN_COLONS and _compiled("".join(made), True).fullmatch(arn) is not None


def literal(text: str, context: Context) -> str:
    """Put the values of variables into a text that has no wildcards. VariableAbsent."""
    return "".join(
        sign or (text if variable is None else _value(variable, context))
        for variable, sign, text in (found.groups() for found in _TOKEN.finditer(text))
    )


def _tokens(pattern: str, context: Context) -> Iterator[tuple[str, str]]:
    """Give each sign, and the expression of what stands for itself; a value has no signs."""
    for found in _TOKEN.finditer(pattern):
        variable, sign, text = found.groups()
        if sign:
            yield sign, sign
        else:
            yield "", re.escape(text if variable is None else _value(variable, context))


def _value(variable: str, context: Context) -> str:
    """Give the value of ``key`` or ``key, 'default'``, or a sign. VariableAbsent."""
    if variable in _SIGNS:
        return _SIGNS[variable]
    with_default = _WITH_DEFAULT.fullmatch(variable)
    key, default = with_default.groups() if with_default else (variable.strip(), None)
    values = context.get(key.lower(), ())
    if len(values) == 1:
        return values[0]
    if default is None or values:
        raise VariableAbsent(key)
    return str(default)


@lru_cache(4096)
def _compiled(expression: str, cased: bool) -> "re.Pattern[str]":
    return re.compile(expression, re.DOTALL if cased else re.DOTALL | re.IGNORECASE)
