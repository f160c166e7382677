"""JSON as protobuf holds it: whole numbers are ints, as in the text."""

from collections.abc import Mapping
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Struct, Value

_EXACT = 2**53


def from_struct(held: Struct | Value) -> Any:
    """Give the value."""
    return _whole(MessageToDict(held))


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
