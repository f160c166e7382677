"""Single values of a record as JSON text."""

from collections.abc import Mapping

import orjson
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from mesh.sql.document import is_secret


def json_values(message: Message) -> Mapping[str, str | None]:
    """Give the value of each field as JSON text, in the form of the REST gateway.

    By field name; None where a field is absent, or without presence and empty.
    """
    written = MessageToDict(message)
    return {
        field.name: orjson.dumps(written[field.json_name]).decode()
        if field.json_name in written
        else None
        for field in message.DESCRIPTOR.fields
    }


def holds_secret(field: FieldDescriptor, seen: frozenset[str] = frozenset()) -> bool:
    """Tell whether a field, or one inside it at any depth, is of SECRET sensitivity."""
    if is_secret(field):
        return True
    message = field.message_type
    if message is None or message.full_name in seen:
        return False
    inside = seen | {message.full_name}
    return any(holds_secret(each, inside) for each in message.fields)
