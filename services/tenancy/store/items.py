"""Messages to items and back: the contract is the schema, read from its descriptors.

An item has the ids of its resource name as ``<variable>_id``, each field that is set under
its proto name (enums by name, timestamps and durations as whole microseconds, messages and
lists as M and L) and its ``version``, from which the etag is derived.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from google.api import resource_pb2
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from mesh.contract.catalogue import NAME, field_option, is_map
from mesh.contract.names import NamePattern
from secmesh.options.v1 import field_pb2
from services.tenancy.clock import MICROSECONDS
from services.tenancy.store.port import Change, Remove, Set
from services.tenancy.store.tables import PK, SK
from services.tenancy.store.values import Item, Value, same

VERSION = "version"
"""Counts the writes of an item from 1; every condition of an update is on it."""
ETAG = "etag"
_TIMESTAMP, _DURATION = "google.protobuf.Timestamp", "google.protobuf.Duration"
_DOCUMENTS = (
    "google.protobuf.Struct",
    "google.protobuf.Value",
    "google.protobuf.ListValue",
    "google.protobuf.Any",
    "google.protobuf.FieldMask",
)
"""What protobuf's JSON writes better than M and L."""
_ETAG = re.compile(r"v([1-9][0-9]{0,17})")
M = TypeVar("M", bound=Message)


class ItemCodec(Generic[M]):
    """Turns messages of one type into items and items into messages.

    Of a message with fields of SECRET sensitivity those are left out: a secret never
    stands in an item.
    """

    def __init__(self, message: type[M]) -> None:
        """Take the class of a message; one with a ``name`` needs a google.api.resource pattern."""
        self._new = message
        descriptor = message.DESCRIPTOR
        fields = descriptor.fields_by_name
        patterns = descriptor.GetOptions().Extensions[resource_pb2.resource].pattern
        self.pattern = NamePattern(patterns[0]) if patterns and NAME in fields else None
        if self.pattern is None and NAME in fields:
            raise TypeError(f"{descriptor.full_name} has a name and no resource pattern")
        self._derived = frozenset({NAME, ETAG} & set(fields))

    def item(self, message: M, *, version: int = 1) -> Item:
        """Give the attributes of a message without ``pk``, ``sk`` and keys of indexes.

        Raises ValueError for a name that does not fit the pattern.
        """
        item = self._ids(message)
        item |= _written(message, self._derived)
        item[VERSION] = version
        return item

    def message(self, item: Mapping[str, Value]) -> M:
        """Give the message of an item, with its name and etag; other attributes are left out."""
        made = self._new()
        _read_into(made, item, self._derived)
        if self.pattern is not None:
            ids = (str(item[f"{variable}_id"]) for variable in self.pattern.variables)
            setattr(made, NAME, self.pattern.format(*ids))
        if ETAG in self._derived:
            setattr(made, ETAG, etag_of(version_of(item)))
        return made

    def _ids(self, message: M) -> Item:
        if self.pattern is None:
            return {}
        ids = self.pattern.parse(getattr(message, NAME))
        if ids is None:
            raise ValueError(f"no name of the form {self.pattern.text}")
        return {
            f"{variable}_id": i for variable, i in zip(self.pattern.variables, ids, strict=True)
        }


def etag_of(version: int) -> str:
    """Give the etag of a version, opaque to callers."""
    return f"v{version}"


def version_of_etag(etag: str) -> int | None:
    """Give the version that an etag stands for; None if it is none that was given out."""
    match = _ETAG.fullmatch(etag)
    return int(match[1]) if match else None


def version_of(item: Mapping[str, Value]) -> int:
    """Give the version of an item."""
    return integer(item, VERSION)


def integer(item: Mapping[str, Value], attribute: str, default: int = 0) -> int:
    """Give a number of an item; TypeError if it is something else."""
    value = item.get(attribute, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{attribute} is no number")
    return value


def text(item: Mapping[str, Value], attribute: str, default: str = "") -> str:
    """Give a text of an item; TypeError if it is something else."""
    value = item.get(attribute, default)
    if not isinstance(value, str):
        raise TypeError(f"{attribute} is no text")
    return value


def changes(before: Mapping[str, Value], after: Mapping[str, Value]) -> list[Change]:
    """Give the changes that make one item of another: keys of indexes included, its own not."""
    own = {PK, SK}
    made: list[Change] = [
        Set(name, value)
        for name, value in after.items()
        if name not in own and (name not in before or not same(before[name], value))
    ]
    gone = before.keys() - after.keys() - own
    return [*made, *(Remove(name) for name in sorted(gone))]


def _written(message: Message, derived: frozenset[str] = frozenset()) -> dict[str, Value]:
    return {
        field.name: _writer(field)(value)
        for field, value in message.ListFields()
        if field.name not in derived and not _is_secret(field)
    }


def _is_secret(field: FieldDescriptor) -> bool:
    return bool(field_option(field).sensitivity == field_pb2.SENSITIVITY_SECRET)


def _writer(field: FieldDescriptor) -> Callable[[Any], Value]:
    if is_map(field) and field.message_type is not None:
        one = _one_writer(field.message_type.fields_by_name["value"])
        return lambda entries: {str(key): one(entries[key]) for key in entries}
    one = _one_writer(field)
    if field.is_repeated:
        return lambda values: [one(each) for each in values]
    return one


def _one_writer(field: FieldDescriptor) -> Callable[[Any], Value]:
    if field.message_type is not None:
        return _message_writer(field.message_type)
    if field.enum_type is not None:
        names = field.enum_type.values_by_number
        # A number of a newer contract is kept as it is.
        return lambda number: names[number].name if number in names else int(number)
    if field.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        # Numbers of an item are whole; repr is the shortest text that reads back equal.
        return repr
    return _as_it_is


def _as_it_is(value: Value) -> Value:
    return value


def _message_writer(kind: Descriptor) -> Callable[[Any], Value]:
    if kind.full_name in (_TIMESTAMP, _DURATION):
        return lambda time: int(time.seconds) * MICROSECONDS + int(time.nanos) // 1000
    if kind.full_name in _DOCUMENTS:
        return lambda document: json_format.MessageToJson(document, indent=None)
    return _written


def _read_into(
    message: Message, item: Mapping[str, Value], derived: frozenset[str] = frozenset()
) -> None:
    for field in message.DESCRIPTOR.fields:
        if field.name in item and field.name not in derived:
            _read_field(message, field, item[field.name])


def _read_field(message: Message, field: Any, value: Any) -> None:
    target = getattr(message, field.name)
    if is_map(field):
        _read_map(target, field.message_type, value)
    elif field.is_repeated:
        for each in value:
            if field.message_type is not None:
                _read_message(target.add(), each)
            else:
                target.append(_scalar(field, each))
    elif field.message_type is not None:
        target.SetInParent()
        _read_message(target, value)
    else:
        setattr(message, field.name, _scalar(field, value))


def _read_map(target: Any, entry: Descriptor, values: Mapping[str, Any]) -> None:
    key_field, value_field = entry.fields_by_name["key"], entry.fields_by_name["value"]
    for name, value in values.items():
        key = _map_key(key_field, name)
        if value_field.message_type is not None:
            _read_message(target[key], value)
        else:
            target[key] = _scalar(value_field, value)


def _map_key(field: FieldDescriptor, name: str) -> str | int | bool:
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return name
    return name == "True" if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL else int(name)


def _read_message(message: Any, value: Any) -> None:
    kind = message.DESCRIPTOR.full_name
    if kind == _DURATION:
        # Seconds and nanos of a duration have one sign.
        seconds = abs(value) // MICROSECONDS * (1 if value >= 0 else -1)
        message.seconds, message.nanos = seconds, (value - seconds * MICROSECONDS) * 1000
    elif kind == _TIMESTAMP:
        seconds, micros = divmod(value, MICROSECONDS)
        message.seconds, message.nanos = seconds, micros * 1000
    elif kind in _DOCUMENTS:
        json_format.Parse(value, message)
    else:
        _read_into(message, value)


def _scalar(field: FieldDescriptor, value: Any) -> Any:
    if field.enum_type is not None:
        # A name that a newer contract gave is unspecified to this one.
        known = field.enum_type.values_by_name
        return value if isinstance(value, int) else known[value].number if value in known else 0
    if field.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return float(value)
    return value
