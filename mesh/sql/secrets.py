"""Messages without the fields that are never shown."""

from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from mesh.contract.catalogue import is_map
from mesh.sql.document import is_secret


def descriptor_of(message: Any) -> Descriptor:
    """Give the type of a message."""
    descriptor: Descriptor = message.DESCRIPTOR
    return descriptor


@cache
def holds_secrets(message: Descriptor) -> bool:
    """Tell whether a message has fields of SECRET sensitivity, at any depth."""
    return _holds_secrets(message, set())


def _holds_secrets(message: Descriptor, seen: set[Descriptor]) -> bool:
    if message in seen:
        return False
    seen.add(message)
    return any(
        is_secret(field)
        or (field.message_type is not None and _holds_secrets(field.message_type, seen))
        for field in message.fields
    )


def drop_secrets(message: Message) -> None:
    """Clear the fields of SECRET sensitivity, at any depth."""
    if not holds_secrets(descriptor_of(message)):
        return
    for field, value in message.ListFields():
        if is_secret(field):
            message.ClearField(field.name)
        elif field.message_type is not None and holds_secrets(field.message_type):
            for each in _messages(field, value):
                drop_secrets(each)


def _messages(field: FieldDescriptor, value: Any) -> list[Message]:
    if is_map(field):
        return [value[key] for key in value]
    return list(value) if field.is_repeated else [value]
