"""Valid records of every kind of a contract, made from descriptors, bounds and references.

Nothing here knows a kind: what is added to the contract is filled in by the same rules. The same
kind and tag always give the same body.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from google.api import field_behavior_pb2
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from buf.validate import validate_pb2
from mesh.contract.catalogue import Kind, field_option, is_map, load_catalogue
from mesh.records.fields import behaves
from mesh.server.interceptors.validation import violations_of
from secmesh.security.v1.vocabulary_operation_pb2 import DefinitionStatus
from services.security.findings.machine import finding_machines
from services.security.mfa.guard import WITHHELD
from tests.service.security_texts import text_of

START = 1_767_225_600
"""Seconds since 1970 of 2026-01-01, from which all moments are counted."""
_DEPTH = 3
"""Messages within messages that are filled."""
_TEXT, _BYTES = FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES
_REALS = {FieldDescriptor.TYPE_DOUBLE: "double", FieldDescriptor.TYPE_FLOAT: "float"}
_WHOLES = {
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_UINT32: "uint32",
}

_CATALOGUE = load_catalogue("secmesh.security.v1")
_LATER = {
    f"{_CATALOGUE.kinds[collection].descriptor.full_name}.status": {
        state.number for state in machine.states.values() if not state.first
    }
    for collection, machine in finding_machines(_CATALOGUE).items()
    if not all(state.first for state in machine.states.values())
} | {
    f"{_CATALOGUE.kinds[collection].descriptor.full_name}.{name}": values
    for collection, fields in WITHHELD.items()
    for name, values in fields.items()
}
_LATER["secmesh.security.v1.Workflow.status"] = {DefinitionStatus.DEFINITION_STATUS_ACTIVE}
"""Values that no new record can have, by field; none: the field cannot be set."""


@dataclass(frozen=True)
class Tag:
    """What makes the values of one record different from those of another."""

    text: str

    def digits(self, field: FieldDescriptor) -> str:
        """Give 64 hexadecimal digits that belong to a field of this record."""
        return sha256(f"{self.text}/{field.full_name}".encode()).hexdigest()


def rules_of(field: FieldDescriptor) -> validate_pb2.FieldRules:
    """Give the bounds of a field."""
    return field.GetOptions().Extensions[validate_pb2.field]


def is_required(field: FieldDescriptor) -> bool:
    """Tell whether a record without the field is refused."""
    return behaves(field, field_behavior_pb2.REQUIRED)


def is_given(field: FieldDescriptor) -> bool:
    """Tell whether callers may say what is in a field."""
    withheld = field.full_name in _LATER and not _LATER[field.full_name]
    return not withheld and not behaves(field, field_behavior_pb2.OUTPUT_ONLY)


def body_of(kind: Kind, tag: Tag, names: Mapping[str, str], *, whole: bool = True) -> Message:
    """Make a body that meets every rule of its kind.

    ``names`` are what its references hold, by field; those without one stay empty. Without
    ``whole`` the fields that may be missing are missing.
    """
    body: Message = message_factory.GetMessageClass(kind.descriptor)()
    fields = [field for field in kind.descriptor.fields if is_given(field)]
    optional = [field for field in fields if not is_required(field)]
    for field in fields:
        if is_required(field):
            _set(body, field, tag, names)
    broken = len(violations_of(body))
    for field in optional:
        if not whole and not broken:
            break
        before = type(body)()
        before.CopyFrom(body)
        _set(body, field, tag, names)
        now = len(violations_of(body))
        if now > broken or (not whole and now == broken):
            # A rule over several fields, such as "one of these".
            body.CopyFrom(before)
        else:
            broken = now
    if broken:
        raise AssertionError(f"{kind.collection}: {violations_of(body)}")
    return body


def filled(descriptor: Descriptor, tag: Tag, mark: str = "") -> Message:
    """Make any message within its bounds, its free texts being a mark if there is one."""
    made: Message = message_factory.GetMessageClass(descriptor)()
    for field in descriptor.fields:
        _fill(made, field, tag, 0)
        rules = rules_of(field).string
        free = field.type == _TEXT and not field.is_repeated and not rules.HasField("pattern")
        if mark and free and (not rules.max_len or rules.max_len >= len(mark)):
            setattr(made, field.name, mark)
    return made


def sample_value(field: FieldDescriptor, tag: Tag) -> Any:
    """Give a value of a plain field within its bounds."""
    return _value(field, tag, 0)


def other_value(field: FieldDescriptor, tag: Tag) -> Any:
    """Give another value of a plain field than the one that a record of this tag has."""
    for number in range(20):
        value = _value(field, Tag(f"{tag.text}-{number}"), 0)
        if value != _value(field, tag, 0):
            return value
    raise AssertionError(f"{field.full_name} has one value only")


def wanted_references(kind: Kind, *, whole: bool) -> Iterator[tuple[str, str]]:
    """Give the references that a body is to hold, with the collections they point into."""
    for field in kind.descriptor.fields:
        target = field_option(field).references
        if not target or target == kind.collection or not is_given(field):
            continue
        if whole or is_required(field) or _may_be_needed(kind):
            yield field.name, target


def _may_be_needed(kind: Kind) -> bool:
    """Tell whether a rule of the message asks for fields that may be missing by themselves."""
    options = kind.descriptor.GetOptions()
    return bool(options.Extensions[validate_pb2.message].cel)


def _set(body: Message, field: FieldDescriptor, tag: Tag, names: Mapping[str, str]) -> None:
    if field_option(field).references:
        if field.name in names:
            setattr(body, field.name, names[field.name])
        return
    _fill(body, field, tag, 0)


def _fill(body: Message, field: FieldDescriptor, tag: Tag, depth: int) -> None:
    held: Any = getattr(body, field.name)
    if is_map(field):
        _fill_map(held, field, tag, depth)
    elif field.is_repeated:
        for number in range(max(1, rules_of(field).repeated.min_items)):
            _append(held, field, Tag(f"{tag.text}+{number}"), depth)
    elif field.message_type is not None:
        held.SetInParent()
        _fill_message(held, field, tag, depth)
    else:
        setattr(body, field.name, _value(field, tag, depth))


def _append(held: Any, field: FieldDescriptor, tag: Tag, depth: int) -> None:
    if field.message_type is not None:
        _fill_message(held.add(), field, tag, depth)
    else:
        held.append(_value(field, tag, depth))


def _fill_map(held: Any, field: FieldDescriptor, tag: Tag, depth: int) -> None:
    entry = field.message_type
    if entry is None:
        return
    key, value = entry.fields_by_name["key"], entry.fields_by_name["value"]
    name = text_of(rules_of(field).map.keys.string, tag.digits(key)) if key.type == _TEXT else 1
    if value.message_type is not None:
        _fill_message(held[name], value, tag, depth)
    elif value.type == _TEXT:
        held[name] = text_of(rules_of(field).map.values.string, tag.digits(value))
    else:
        held[name] = _value(value, tag, depth)


def _fill_message(held: Any, field: FieldDescriptor, tag: Tag, depth: int) -> None:
    message: Descriptor | None = field.message_type
    if message is None:
        return
    if message.full_name == "google.protobuf.Timestamp":
        held.seconds = START + field.number * 60 + int(tag.digits(field)[:4], 16) * 3600
    elif message.full_name == "google.protobuf.Duration":
        held.seconds = 60
    elif message.full_name == "google.protobuf.Struct":
        held.update({"said": tag.digits(field)[:8]})
    elif depth < _DEPTH:
        chosen: set[str] = set()
        for inner in message.fields:
            oneof = inner.containing_oneof
            if oneof is not None and len(oneof.fields) > 1:
                if oneof.name in chosen:
                    continue
                chosen.add(oneof.name)
            _fill(held, inner, tag, depth + 1)


def _value(field: FieldDescriptor, tag: Tag, depth: int) -> Any:
    """Give a value of a scalar or enum field, or an item of such a list."""
    rules = rules_of(field).repeated.items if field.is_repeated else rules_of(field)
    digits = tag.digits(field)
    if field.enum_type is not None:
        forbidden = {0, *rules.enum.not_in, *_LATER.get(field.full_name, ())}
        numbers = [each.number for each in field.enum_type.values if each.number not in forbidden]
        return numbers[int(digits[:4], 16) % len(numbers)]
    if field.type == _TEXT:
        return text_of(rules.string, digits)
    if field.type == _BYTES:
        return bytes.fromhex(digits)[: rules.bytes.max_len or 32]
    if field.type in _REALS:
        least, most = _range(getattr(rules, _REALS[field.type]), 1000)
        return least + (most - least) * (int(digits[:4], 16) % 64) / 64
    if field.type in _WHOLES:
        least, most = _range(getattr(rules, _WHOLES[field.type]), 1_000_000)
        return int(least) + int(digits[:8], 16) % (int(most - least) + 1)
    return int(digits[0], 16) % 2 == 0


def _range(rules: Any, width: int) -> tuple[float, float]:
    """Give the least and the greatest value that bounds allow."""
    least = rules.gte if rules.HasField("gte") else rules.gt + 1 if rules.HasField("gt") else 0
    if rules.HasField("lte"):
        return least, rules.lte
    return least, rules.lt - 1 if rules.HasField("lt") else least + width
