"""Messages and enums as JSON Schemas, in the JSON form of Protobuf."""

from collections.abc import Collection
from typing import Any

from google.api import field_behavior_pb2
from google.protobuf.descriptor import (
    Descriptor,
    EnumDescriptor,
    FieldDescriptor,
    OneofDescriptor,
)

from buf.validate import validate_pb2
from gateway.contracts import map_value
from gateway.openapi.bounds import Json, list_bounds, map_bounds, rules_of, value_bounds
from mesh.contract.catalogue import field_option
from mesh.contract.image import comment
from secmesh.options.v1 import field_pb2

_INTEGER = {"type": "integer", "format": "int32"}
_LONG = {"type": "string", "format": "int64", "pattern": "^-?[0-9]{1,19}$"}
_SCALARS: dict[int, Json] = {
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    FieldDescriptor.TYPE_FLOAT: {"type": "number", "format": "float"},
    FieldDescriptor.TYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptor.TYPE_INT32: _INTEGER,
    FieldDescriptor.TYPE_SINT32: _INTEGER,
    FieldDescriptor.TYPE_SFIXED32: _INTEGER,
    FieldDescriptor.TYPE_UINT32: {"type": "integer", "minimum": 0},
    FieldDescriptor.TYPE_FIXED32: {"type": "integer", "minimum": 0},
    FieldDescriptor.TYPE_INT64: _LONG,
    FieldDescriptor.TYPE_SINT64: _LONG,
    FieldDescriptor.TYPE_SFIXED64: _LONG,
    FieldDescriptor.TYPE_UINT64: {"type": "string", "format": "uint64", "pattern": "^[0-9]{1,20}$"},
    FieldDescriptor.TYPE_FIXED64: {
        "type": "string",
        "format": "uint64",
        "pattern": "^[0-9]{1,20}$",
    },
}
_KNOWN: dict[str, Json] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$"},
    "google.protobuf.FieldMask": {
        "type": "string",
        "description": "Field paths separated by commas.",
    },
    "google.protobuf.Struct": {"type": "object", "additionalProperties": True},
    "google.protobuf.Value": {},
    "google.protobuf.ListValue": {"type": "array", "items": {}},
    "google.protobuf.Empty": {"type": "object", "maxProperties": 0},
    "google.protobuf.Any": {
        "type": "object",
        "properties": {"@type": {"type": "string", "description": "URL of the message's type."}},
        "required": ["@type"],
        "additionalProperties": True,
    },
}
_BEHAVIOR = field_behavior_pb2
_SYNTHETIC = "_"
"""Prefix of the oneof that an ``optional`` field is in."""


def description(full_name: str) -> Json:
    """Give a declaration's comment as a description, or nothing."""
    text = comment(full_name)
    return {"description": text} if text else {}


def behaviors(field: FieldDescriptor) -> Collection[int]:
    """Give the field's google.api.field_behavior values."""
    return list(field.GetOptions().Extensions[_BEHAVIOR.field_behavior])


def is_required(field: FieldDescriptor) -> bool:
    """Tell whether a caller must set a field."""
    return rules_of(field).required or _BEHAVIOR.REQUIRED in behaviors(field)


class Schemas:
    """The schemas a document refers to, collected as they are met."""

    def __init__(self) -> None:
        self._found: dict[str, Json] = {}

    def components(self) -> dict[str, Json]:
        """Give all collected schemas, sorted by full name."""
        return dict(sorted(self._found.items()))

    def message(self, message: Descriptor) -> Json:
        """Give a schema that refers to a message, which is collected."""
        known = _KNOWN.get(message.full_name)
        if known is not None:
            return dict(known)
        if message.full_name not in self._found:
            self._found[message.full_name] = {}  # holds the place while a message holds itself
            self._found[message.full_name] = self.object(message)
        return {"$ref": f"#/components/schemas/{message.full_name}"}

    def object(self, message: Descriptor, without: Collection[str] = ()) -> Json:
        """Give the schema of a message itself, without the named fields."""
        fields = [field for field in message.fields if field.name not in without]
        schema: Json = {"type": "object", **description(message.full_name)}
        if fields:
            schema["properties"] = {field.json_name: self.field(field) for field in fields}
        if required := [field.json_name for field in fields if is_required(field)]:
            schema["required"] = required
        choices = [_one_of(oneof) for oneof in message.oneofs if not _synthetic(oneof)]
        if choices:
            schema["allOf"] = choices
        return schema

    def field(self, field: FieldDescriptor) -> Json:
        """Give the schema of a field with its bounds and comment."""
        rules = rules_of(field)
        value = map_value(field)
        if value is not None:
            items = self._value(value, rules.map.values)
            schema = {"type": "object", "additionalProperties": items, **map_bounds(rules.map)}
        elif field.is_repeated:
            items = self._value(field, rules.repeated.items)
            schema = {"type": "array", "items": items, **list_bounds(rules.repeated)}
        else:
            schema = self._value(field, rules)
        return {**schema, **_access(field), **description(field.full_name)}

    def enum(self, enum: EnumDescriptor) -> Json:
        """Give a schema that refers to an enum, which is collected."""
        if enum.full_name not in self._found:
            lines = [
                f"- `{value.name}`: {comment(f'{enum.full_name}.{value.name}')}"
                for value in enum.values
            ]
            text = "\n".join([comment(enum.full_name), "", *lines]).strip()
            names = [value.name for value in enum.values]
            self._found[enum.full_name] = {"type": "string", "enum": names, "description": text}
        return {"$ref": f"#/components/schemas/{enum.full_name}"}

    def _value(self, field: FieldDescriptor, rules: validate_pb2.FieldRules) -> Json:
        bounds = value_bounds(rules, field.enum_type, presence=field.has_presence)
        if field.message_type is not None:
            return {**self.message(field.message_type), **bounds}
        if field.enum_type is not None:
            return {**self.enum(field.enum_type), **bounds}
        return {**_SCALARS[field.type], **bounds}


def _synthetic(oneof: OneofDescriptor) -> bool:
    return len(oneof.fields) == 1 and oneof.name == f"{_SYNTHETIC}{oneof.fields[0].name}"


def _one_of(oneof: OneofDescriptor) -> Json:
    """Allow at most one member of a oneof, or exactly one where the contract asks for it."""
    each: list[Any] = [{"required": [field.json_name]} for field in oneof.fields]
    choice = {"title": oneof.name, **description(f"{oneof.containing_type.full_name}.{oneof.name}")}
    if oneof.GetOptions().Extensions[validate_pb2.oneof].required:
        return {**choice, "oneOf": each}
    return {**choice, "oneOf": [*each, {"not": {"anyOf": each}}]}


def _access(field: FieldDescriptor) -> Json:
    found = behaviors(field)
    if _BEHAVIOR.OUTPUT_ONLY in found:
        return {"readOnly": True}
    secret = field_option(field).sensitivity == field_pb2.SENSITIVITY_SECRET
    return {"writeOnly": True} if secret or _BEHAVIOR.INPUT_ONLY in found else {}
