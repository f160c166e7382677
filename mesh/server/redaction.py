"""Writes messages for logs with what the contract calls PII or SECRET masked."""

import functools
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from mesh.contract.catalogue import field_option, is_map
from secmesh.options.v1 import field_pb2

MASK = "[masked]"
_MAX_TEXT = 256
_HIDDEN = frozenset({field_pb2.SENSITIVITY_PII, field_pb2.SENSITIVITY_SECRET})
# Their contents have no contract that could say what may be shown.
_OPAQUE = frozenset(
    {
        "google.protobuf.Any",
        "google.protobuf.Struct",
        "google.protobuf.Value",
        "google.protobuf.ListValue",
        "google.api.HttpBody",
    }
)


def redacted(message: Message) -> dict[str, Any]:
    """Give a message as plain data that may be logged.

    Sensitive fields and messages without a contract are masked, bytes are given by their length,
    long texts are cut.
    """
    if message.DESCRIPTOR.full_name in _OPAQUE:
        return {"@type": message.DESCRIPTOR.full_name, "value": MASK}
    return {field.name: _shown(field, value) for field, value in message.ListFields()}


@functools.cache
def _is_hidden(field: FieldDescriptor) -> bool:
    return field_option(field).sensitivity in _HIDDEN


def _shown(field: FieldDescriptor, value: Any) -> Any:
    if _is_hidden(field):
        return MASK
    if is_map(field):
        # The value's own field, as the entry message declares it.
        entry = field.message_type.fields_by_name["value"]  # type: ignore[union-attr] # a map has one
        return {str(key): _single(entry, each) for key, each in value.items()}
    if field.is_repeated:
        return [_single(field, each) for each in value]
    return _single(field, value)


def _single(field: FieldDescriptor, value: Any) -> Any:
    if isinstance(value, Message):
        return redacted(value)
    if isinstance(value, bytes):
        return f"[{len(value)} bytes]"
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return known.name if known is not None else value
    if isinstance(value, str) and len(value) > _MAX_TEXT:
        return f"{value[:_MAX_TEXT]}... [{len(value)} characters]"
    return value
