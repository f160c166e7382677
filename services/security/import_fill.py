"""Makes records of the contract from plain values, within the bounds that the contract states.

Texts and lists that are too long are cut: a finding is worth more than the end of its
description. What identifies a record is never cut, and any other value that the contract does
not allow is refused with the name of its field.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from buf.validate import validate_pb2
from mesh.contract.catalogue import Kind, field_option, is_map
from mesh.errors import FieldInvalid

_UNSPECIFIED = "UNSPECIFIED"
_WELL_KNOWN = "google.protobuf."


def fill(kind: Kind, record: Any, values: Mapping[str, object]) -> None:
    """Fill a record's body, and its envelope where the body has no field of a name.

    Raises FieldInvalid for what has no place, and what cannot be held by it.
    """
    body = getattr(record, kind.body_field or "")
    body.SetInParent()
    identifying = _identifying(kind.descriptor, tuple(kind.option.natural_key))
    for name, value in values.items():
        inside = name in kind.descriptor.fields_by_name
        holder = body if inside else record
        _fill(holder, name, value, name, whole=name in identifying)


@cache
def _identifying(body: Descriptor, natural_key: tuple[str, ...]) -> frozenset[str]:
    unique = (field.name for field in body.fields if field_option(field).unique)
    return frozenset((*natural_key, *unique))


@cache
def _rules(field: FieldDescriptor) -> validate_pb2.FieldRules:
    """Give the bounds of a field."""
    rules: validate_pb2.FieldRules = field.GetOptions().Extensions[validate_pb2.field]
    return rules


def _fill(message: Any, name: str, value: Any, path: str, *, whole: bool = False) -> None:
    field = message.DESCRIPTOR.fields_by_name.get(name)
    if field is None:
        raise FieldInvalid.of(path, "is no field of the contract", "FIELD_UNKNOWN")
    rules = _rules(field)
    try:
        if is_map(field):
            _fill_map(getattr(message, name), field, value, path)
        elif field.is_repeated:
            _fill_list(getattr(message, name), field, value, path)
        elif field.message_type is not None:
            _fill_message(getattr(message, name), value, path)
        else:
            setattr(message, name, _scalar(field, rules, value, path, whole=whole))
    except (ValueError, TypeError, json_format.ParseError) as error:
        raise FieldInvalid.of(path, "cannot hold what the report says") from error


def _fill_message(held: Any, value: Any, path: str) -> None:
    held.SetInParent()
    if held.DESCRIPTOR.full_name.startswith(_WELL_KNOWN):
        json_format.ParseDict(value, held)
        return
    for name, inner in value.items():
        _fill(held, name, inner, f"{path}.{name}")


def _fill_list(held: Any, field: FieldDescriptor, values: Sequence[Any], path: str) -> None:
    rules = _rules(field).repeated
    kept = values[: rules.max_items] if rules.HasField("max_items") else values
    for place, value in enumerate(kept):
        if field.message_type is not None:
            _fill_message(held.add(), value, f"{path}[{place}]")
        else:
            held.append(_scalar(field, rules.items, value, f"{path}[{place}]"))


def _fill_map(held: Any, field: FieldDescriptor, values: Mapping[str, Any], path: str) -> None:
    rules = _rules(field).map
    entry = field.message_type
    if entry is None:
        return
    kept = list(values.items())
    for name, value in kept[: rules.max_pairs] if rules.HasField("max_pairs") else kept:
        key = _text(name, rules.keys.string)
        held[key] = _scalar(entry.fields_by_name["value"], rules.values, value, f"{path}.{key}")


def _scalar(
    field: FieldDescriptor,
    rules: validate_pb2.FieldRules,
    value: Any,
    path: str,
    *,
    whole: bool = False,
) -> Any:
    if field.enum_type is not None:
        return _enum(field.enum_type, value, path)
    if field.type == FieldDescriptor.TYPE_STRING:
        return _text(value, None if whole else rules.string)
    return value


def _enum(enum: EnumDescriptor, value: str, path: str) -> int:
    """Give the number of a value by its name without the prefix."""
    prefix = enum.values_by_number[0].name.removesuffix(_UNSPECIFIED)
    found = enum.values_by_name.get(f"{prefix}{value}")
    if found is None or found.number == 0:
        raise FieldInvalid.of(path, f"is no value of {enum.name}: {value[:40]!r}", "ENUM_UNKNOWN")
    return int(found.number)


def _text(value: str, rules: validate_pb2.StringRules | None) -> str:
    """Give a text that a database can keep, cut where that is allowed."""
    # PostgreSQL has no NUL in texts, protobuf no half of a surrogate pair.
    text = value.replace("\0", "\ufffd").encode(errors="replace").decode()
    if rules is not None and rules.HasField("max_len"):
        return text[: rules.max_len]
    return text


def plain(kind: Kind, message: Message, names: Sequence[str]) -> list[Any]:
    """Give the values of fields that a body has; None for those it lacks or that are absent."""
    body = getattr(message, kind.body_field or "")
    known = body.DESCRIPTOR.fields_by_name
    return [
        getattr(body, name) if name in known and body.HasField(name) else None for name in names
    ]
