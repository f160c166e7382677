"""JSON as protobuf holds it: whole numbers are ints, as in the text."""

import json
import math
from collections.abc import Mapping
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.struct_pb2 import Struct, Value

_EXACT = 2**53
DEEPEST = 32
"""Lists and objects within each other that are read of another system."""


def from_struct(held: Struct | Value) -> Any:
    """Give the value."""
    return _whole(MessageToDict(held))


def read_json(text: str) -> Any:
    """Read JSON of another system; ValueError for what cannot be kept, be it JSON or not."""
    if "\\u0000" in text:
        raise ValueError("holds NUL")
    try:
        value = json.loads(text)
        _check(value, DEEPEST)
        to_value(value)
    except (RecursionError, OverflowError, ParseError) as error:
        raise ValueError("is too deep or too large") from error
    return value


def _check(value: Any, left: int) -> None:
    if left < 0:
        raise ValueError("is too deep")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("holds a number that JSON has not")
    if isinstance(value, list | dict):
        for each in value.values() if isinstance(value, dict) else value:
            _check(each, left - 1)


def to_value(value: Any) -> Value:
    """Give a Value of JSON."""
    return ParseDict(value, Value())


def to_struct(value: Mapping[str, Any]) -> Struct:
    """Give a Struct of a JSON object."""
    return ParseDict(dict(value), Struct())


def _whole(value: Any) -> Any:
    match value:
        case float() if value.is_integer() and abs(value) <= _EXACT:
            return int(value)
        case dict():
            return {key: _whole(each) for key, each in value.items()}
        case list():
            return [_whole(each) for each in value]
    return value
