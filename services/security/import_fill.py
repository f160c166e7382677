"""Makes records of the contract from plain values, within the bounds that the contract states.

Texts and lists that are too long are cut: a finding is worth more than the end of its
description. What identifies a record is never cut, and any other value that the contract does
not allow is refused with the name of its field.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from buf.validate import validate_pb2
from mesh.contract.catalogue import Kind, field_option, is_map
from mesh.errors import FieldInvalid

_UNSPECIFIED = "UNSPECIFIED"
_WELL_KNOWN = "google.protobuf."
Write = Callable[[Any, Any, str], None]
"""Writes a value into its field of a message; the path is for what is refused."""
Convert = Callable[[Any, str], Any]
"""Gives what a field holds for a value."""


def fill(kind: Kind, record: Any, values: Mapping[str, object]) -> None:
    """Fill a record's body, and its envelope where the body has no field of a name.

    Raises FieldInvalid for what has no place, and what cannot be held by it.
    """
    body = getattr(record, kind.body_field or "")
    body.SetInParent()
    writers = _writers_of_body(kind.descriptor, tuple(kind.option.natural_key))
    for name, value in values.items():
        write = writers.get(name)
        if write is None:
            _fill(record, name, value, name)
        else:
            write(body, value, name)


@cache
def _writers_of_body(body: Descriptor, natural_key: tuple[str, ...]) -> Mapping[str, Write]:
    whole = _identifying(body, natural_key)
    return {field.name: write_field(field, whole=field.name in whole) for field in body.fields}


def identifying(kind: Kind) -> frozenset[str]:
    """Name the fields by which records of a kind are known: what they hold is never cut."""
    return _identifying(kind.descriptor, tuple(kind.option.natural_key))


@cache
def _identifying(body: Descriptor, natural_key: tuple[str, ...]) -> frozenset[str]:
    unique = (field.name for field in body.fields if field_option(field).unique)
    return frozenset((*natural_key, *unique))


@cache
def _writers(message: Descriptor) -> Mapping[str, Write]:
    return {field.name: write_field(field) for field in message.fields}


def bounds(field: FieldDescriptor) -> validate_pb2.FieldRules:
    """Give the bounds that the contract states of a field."""
    rules: validate_pb2.FieldRules = field.GetOptions().Extensions[validate_pb2.field]
    return rules


def _fill(message: Any, name: str, value: Any, path: str) -> None:
    write = _writers(message.DESCRIPTOR).get(name)
    if write is None:
        raise FieldInvalid.of(path, "is no field of the contract", "FIELD_UNKNOWN")
    write(message, value, path)


def write_field(field: FieldDescriptor, *, whole: bool = False) -> Write:
    """Give the way of values into a field, chosen once; ``whole`` texts are not cut."""
    write = _unguarded(field, whole=whole)

    def guarded(message: Any, value: Any, path: str) -> None:
        try:
            write(message, value, path)
        except (ValueError, TypeError, json_format.ParseError) as error:
            raise FieldInvalid.of(path, "cannot hold what the report says") from error

    return guarded


def _unguarded(field: FieldDescriptor, *, whole: bool) -> Write:
    name = field.name
    if is_map(field):
        fill_map = _map_filler(field)
        return lambda message, value, path: fill_map(getattr(message, name), value, path)
    if field.is_repeated:
        fill_list = _list_filler(field)
        return lambda message, value, path: fill_list(getattr(message, name), value, path)
    if field.message_type is not None:
        return lambda message, value, path: _fill_message(getattr(message, name), value, path)
    convert = converter(field, bounds(field), whole=whole)
    if convert is None:
        return lambda message, value, _path: setattr(message, name, value)
    return lambda message, value, path: setattr(message, name, convert(value, path))


def _fill_message(held: Any, value: Any, path: str) -> None:
    held.SetInParent()
    if isinstance(held, Timestamp) and isinstance(value, str):
        held.CopyFrom(_moment(value))
    elif held.DESCRIPTOR.full_name.startswith(_WELL_KNOWN):
        json_format.ParseDict(value, held)
    else:
        for name, inner in value.items():
            _fill(held, name, inner, f"{path}.{name}")


@lru_cache(maxsize=1024)
def _moment(text: str) -> Timestamp:
    """Read a time (RFC 3339); most findings of a report were seen at the same."""
    moment = Timestamp()
    moment.FromJsonString(text)
    return moment


def _list_filler(field: FieldDescriptor) -> Write:
    rules = bounds(field).repeated
    most = rules.max_items if rules.HasField("max_items") else None
    convert = None if field.message_type is not None else converter(field, rules.items)

    def fill_list(held: Any, values: Sequence[Any], path: str) -> None:
        kept = values[:most]
        if field.message_type is not None:
            for place, value in enumerate(kept):
                _fill_message(held.add(), value, f"{path}[{place}]")
        elif convert is None:
            held.extend(kept)
        else:
            held.extend(convert(value, f"{path}[{place}]") for place, value in enumerate(kept))

    return fill_list


def _map_filler(field: FieldDescriptor) -> Write:
    rules, entry = bounds(field).map, field.message_type
    most = rules.max_pairs if rules.HasField("max_pairs") else None
    key_of = _text(_most(rules.keys.string))
    convert = converter(entry.fields_by_name["value"], rules.values) if entry is not None else None

    def fill_map(held: Any, values: Mapping[str, Any], path: str) -> None:
        for name, value in list(values.items())[:most]:
            key = key_of(name, path)
            held[key] = value if convert is None else convert(value, f"{path}.{key}")

    return fill_map


def converter(
    field: FieldDescriptor, rules: validate_pb2.FieldRules, *, whole: bool = False
) -> Convert | None:
    """Give the way of one value into a field or an item of it; None if it goes as it is."""
    if field.enum_type is not None:
        return _enum(field.enum_type)
    if field.type == FieldDescriptor.TYPE_STRING:
        return _text(None if whole else _most(rules.string))
    return None


def _enum(enum: EnumDescriptor) -> Convert:
    """Give the numbers of values by their names without the prefix."""
    prefix = enum.values_by_number[0].name.removesuffix(_UNSPECIFIED)
    numbers = {value.name: value.number for value in enum.values if value.number}

    def convert(value: str, path: str) -> int:
        found = numbers.get(f"{prefix}{value}")
        if found is None:
            problem = f"is no value of {enum.name}: {value[:40]!r}"
            raise FieldInvalid.of(path, problem, "ENUM_UNKNOWN")
        return found

    return convert


def _most(rules: validate_pb2.StringRules) -> int | None:
    return rules.max_len if rules.HasField("max_len") else None


def _text(most: int | None) -> Convert:
    """Give texts that a database can keep, cut where that is allowed."""

    def convert(value: str, _path: str) -> str:
        # PostgreSQL has no NUL in texts, protobuf no half of a surrogate pair.
        if not value.isascii() or "\0" in value:
            value = value.replace("\0", "\ufffd").encode(errors="replace").decode()
        return value[:most]

    return convert


def plain(kind: Kind, message: Message, names: Sequence[str]) -> list[Any]:
    """Give the values of fields that a body has; None for those it lacks or that are absent."""
    body = getattr(message, kind.body_field or "")
    known = body.DESCRIPTOR.fields_by_name
    return [
        getattr(body, name) if name in known and body.HasField(name) else None for name in names
    ]
