"""Numbers that Protobuf's JSON values carry and JSON has not: NaN and the infinities.

Source: struct.proto, "attempting to serialize NaN or Infinity results in error".
"""

import math
from collections.abc import Callable, Iterator
from functools import cache
from typing import TypeAlias

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import ListValue, Struct, Value

from mesh.contract.catalogue import is_map

Find: TypeAlias = Callable[[Message, str], Iterator[str]]
"""Gives the path, after a prefix, of each number of a message that JSON has not."""
MAX_KEY = 64
"""Characters of a key that are told: an answer's trailers are bounded."""


def _of_value(value: Value, path: str) -> Iterator[str]:
    kind = value.WhichOneof("kind")
    if kind == "number_value":
        if not math.isfinite(value.number_value):
            yield path
    elif kind == "struct_value":
        yield from _of_struct(value.struct_value, path)
    elif kind == "list_value":
        yield from _of_list(value.list_value, path)


def _of_struct(struct: Struct, path: str) -> Iterator[str]:
    for key, value in struct.fields.items():
        yield from _of_value(value, f"{path}.{key[:MAX_KEY]}")


def _of_list(values: ListValue, path: str) -> Iterator[str]:
    for number, value in enumerate(values.values):
        yield from _of_value(value, f"{path}[{number}]")


_JSON: dict[str, Callable[..., Iterator[str]]] = {
    Value.DESCRIPTOR.full_name: _of_value,
    Struct.DESCRIPTOR.full_name: _of_struct,
    ListValue.DESCRIPTOR.full_name: _of_list,
}


@cache
def numbers_not_of_json(kind: Descriptor) -> Find | None:
    """Give what finds such numbers in messages of a type.

    None if no message of the type can hold a JSON value: most hold none, and are not looked at.
    """
    plain: list[FieldDescriptor] = []
    choices: dict[str, dict[str, FieldDescriptor]] = {}
    for field in kind.fields:
        if not _holds_json(field):
            continue
        choice = field.containing_oneof
        # An optional field stands alone in its oneof.
        if choice is None or len(choice.fields) == 1:
            plain.append(field)
        else:
            choices.setdefault(choice.name, {})[field.name] = field
    if not plain and not choices:
        return None

    def find(message: Message, prefix: str) -> Iterator[str]:
        for field in plain:
            yield from _in_field(message, field, f"{prefix}{field.name}")
        # Of a hundred alternatives one is set.
        for choice, alternatives in choices.items():
            chosen = alternatives.get(message.WhichOneof(choice) or "")
            if chosen is not None:
                yield from _in_field(message, chosen, f"{prefix}{chosen.name}")

    return find


def _in_field(message: Message, field: FieldDescriptor, path: str) -> Iterator[str]:
    held = getattr(message, field.name)
    if is_map(field):
        for key, value in held.items():
            yield from _in_message(value, f'{path}["{key}"]')
    elif field.is_repeated:
        for number, value in enumerate(held):
            yield from _in_message(value, f"{path}[{number}]")
    elif message.HasField(field.name):
        yield from _in_message(held, path)


def _in_message(value: Message, path: str) -> Iterator[str]:
    walk = _JSON.get(value.DESCRIPTOR.full_name)
    if walk is not None:
        yield from walk(value, path)
        return
    find = numbers_not_of_json(value.DESCRIPTOR)
    if find is not None:
        yield from find(value, f"{path}.")


def _holds_json(field: FieldDescriptor, seen: frozenset[str] = frozenset()) -> bool:
    """Tell whether a field is a JSON value or can hold some; types may hold themselves."""
    kind = field.message_type
    if kind is None or kind.full_name in seen:
        return False
    if kind.full_name in _JSON:
        return True
    seen |= {kind.full_name}
    return any(_holds_json(each, seen) for each in kind.fields)
