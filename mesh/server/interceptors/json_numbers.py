"""Numbers that Protobuf's JSON values carry and JSON has not: NaN and the infinities.

Source: google/protobuf/struct.proto, which says that a Value with one of them is an error.
"""

import math
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import ListValue, Struct, Value

from mesh.contract.catalogue import is_map
from mesh.contract.storage import message_type

_JSON = frozenset(each.DESCRIPTOR.full_name for each in (Struct, Value, ListValue))
_SUSPECT = re.compile(rb"\x11.{6}[\xf0-\xff][\x7f\xff]", re.DOTALL)
"""How such a number is written: tag of number_value, and an exponent of ones (IEEE 754)."""


def numbers_beyond_json(message: Message) -> Iterator[str]:
    """Give the paths of the JSON values of a message that hold a number which JSON has not."""
    # The bytes are searched first: to walk a large document takes a hundred times as long.
    if holds_json(message.DESCRIPTOR) and _SUSPECT.search(message.SerializePartialToString()):
        yield from _found(message, "")


@cache
def holds_json(kind: Descriptor) -> bool:
    """Tell whether messages of a type can hold a JSON value, at any depth."""
    seen, waiting = {kind.full_name}, [kind]
    while waiting:
        current = waiting.pop()
        if current.full_name in _JSON:
            return True
        for field in current.fields:
            below = field.message_type
            if below is not None and below.full_name not in seen:
                seen.add(below.full_name)
                waiting.append(below)
    return False


def _found(message: Message, prefix: str) -> Iterator[str]:
    for field, value in message.ListFields():
        if field.message_type is None or not holds_json(message_type(field)):
            continue
        for subscript, each in _each(field, value):
            path = f"{prefix}{field.name}{subscript}"
            if each.DESCRIPTOR.full_name not in _JSON:
                yield from _found(each, f"{path}.")
            elif _beyond(each):
                yield path


def _each(field: FieldDescriptor, value: Any) -> Iterator[tuple[str, Message]]:
    """Give the messages of a field, each with what follows the field's name in its path."""
    if is_map(field):
        quote = '"' if message_type(field).fields_by_name["key"].type == field.TYPE_STRING else ""
        yield from ((f"[{quote}{key}{quote}]", value[key]) for key in sorted(value))
    elif field.is_repeated:
        yield from ((f"[{number}]", each) for number, each in enumerate(value))
    else:
        yield "", value


def _beyond(message: Message) -> bool:
    match message:
        case Value() if message.WhichOneof("kind") == "number_value":
            return not math.isfinite(message.number_value)
        case Value(struct_value=inside) if message.HasField("struct_value"):
            return _beyond(inside)
        case Value(list_value=inside) if message.HasField("list_value"):
            return _beyond(inside)
        case Struct():
            return any(map(_beyond, message.fields.values()))
        case ListValue():
            return any(map(_beyond, message.values))
    return False
