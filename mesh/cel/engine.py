"""The one place that talks to Google's CEL: parsing, type-checking and literals."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import cache, lru_cache
from typing import Any

from cel.expr import checked_pb2
from cel_expr_python import cel  # type: ignore[import-untyped]  # ships stubs without py.typed
from google.protobuf.any_pb2 import Any as PackedMessage
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError

from mesh.cel.source import Source
from mesh.cel.types import (
    CelType,
    ListType,
    MapType,
    MessageType,
    OpaqueType,
    Type,
    from_datetime,
    from_timedelta,
)
from mesh.errors import FilterInvalid

TOO_DEEP = "is nested too deeply"

_ERROR = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): ([^\n]*)")
_NOISE = re.compile(r" \(in container '[^']*'\)| \[[A-Z_]+\]$")
_OPERATOR = re.compile(r"'(@in|[!-]_|_(?:[-+*/%<>]|[<>=!]=|&&|\|\||\[_\]|\?_:_)_?)'")
_LONGEST_PROBLEM = 300
_KEPT = 4
"""Environments of CEL itself that are kept: each takes 0.12 MiB, and 1 ms to make anew."""


def display(function: str) -> str:
    """Write a function of CEL's parser as people do: ``_&&_`` is ``&&``, ``@in`` is ``in``."""
    if function[0].isalpha():
        return function
    return function.lstrip("@").replace("_", "")


class Checker:
    """Parses and type-checks conditions against declared variables."""

    def __init__(
        self, variables: Mapping[str, Type], make_pool: Callable[[], DescriptorPool]
    ) -> None:
        self._variables = dict(variables)
        self._make_pool = make_pool
        # What is declared wrong is refused here, not when it is used.
        _environment(self)

    def environment(self) -> Any:
        """Make the environment of CEL itself."""
        return cel.NewEnv(
            descriptor_pool=self._make_pool(),
            variables={name: declared(kind) for name, kind in self._variables.items()},
        )

    def check(self, source: Source) -> checked_pb2.CheckedExpr:
        """Give the typed tree of a condition; raises FilterInvalid with its position."""
        try:
            compiled = _environment(self).compile(source.text)
        except RuntimeError as error:
            raise _refusal(source, str(error)) from None
        checked = checked_pb2.CheckedExpr()
        try:
            PackedMessage.FromString(compiled.serialize()).Unpack(checked)
        except DecodeError:
            # protobuf nests messages 100 deep; each level of the tree takes two or more.
            raise source.refusal(f"the condition {TOO_DEEP}", 0) from None
        return checked


@lru_cache(maxsize=_KEPT)
def _environment(checker: Checker) -> Any:
    return checker.environment()


def declared(kind: Type) -> Any:
    match kind:
        case CelType():
            return getattr(cel.Type, kind.name)
        case ListType():
            return cel.Type.List(declared(kind.item))
        case MapType():
            return cel.Type.Map(declared(kind.key), declared(kind.value))
        case OpaqueType("bytes"):
            return cel.Type.BYTES
        case OpaqueType("uint"):
            return cel.Type.UINT
        case OpaqueType():
            return cel.Type(kind.name)
        case MessageType():
            return cel.Type(kind.descriptor.full_name)


def _refusal(source: Source, text: str) -> FilterInvalid:
    """Read CEL's report; only its first error counts, later ones often follow from it."""
    if "recursion" in text:
        return source.refusal(f"the condition {TOO_DEEP}", 0)
    match = _ERROR.search(text)
    if match is None:
        return source.refusal(_NOISE.sub("", text.split("\n")[0]), 0)
    problem = _OPERATOR.sub(lambda found: f"'{display(found[1])}'", _NOISE.sub("", match[3]))
    return source.refusal(
        problem[:_LONGEST_PROBLEM], source.offset_at(int(match[1]), int(match[2]))
    )


@cache
def _parser(function: str) -> Callable[[str], object]:
    environment = cel.NewEnv(variables={"text": cel.Type.STRING})
    expression = environment.compile(f"{function}(text)")

    def parse(text: str) -> object:
        return expression.eval(data={"text": text}).value()

    return parse


def parse_literal(function: str, text: str) -> int | None:
    """Read the text of ``timestamp()`` or ``duration()`` as CEL does.

    Gives microseconds (finer parts are cut off), or None if the text is none.
    """
    value = _parser(function)(text)
    if isinstance(value, datetime):
        return from_datetime(value)
    return from_timedelta(value) if isinstance(value, timedelta) else None
