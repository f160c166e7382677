"""The JSON form of messages, lists and maps (see ``mesh.sql.types``)."""

import re
from collections.abc import Iterator
from functools import cache, cached_property
from operator import itemgetter
from typing import Any

import orjson
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from mesh.contract.catalogue import field_option
from mesh.contract.storage import Storage, is_kept_plain, item_storage, message_type, storage_of
from mesh.sql.values import Convert, no_nul, scalar_decoder, scalar_encoder
from secmesh.options.v1 import field_pb2

_ITEMS = itemgetter(slice(None))
"""Copies a repeated field into a list, twice as fast as ``list``."""
_NUL_MARK = r"\u0000"
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
"""The escape of NUL; after an odd number of backslashes the same letters are plain text."""
_BOOL_KEYS = {"true": True, "false": False}


def is_secret(field: FieldDescriptor) -> bool:
    """Tell whether a value is never shown again once it is written."""
    return field_option(field).sensitivity == field_pb2.SENSITIVITY_SECRET


def is_askable(field: FieldDescriptor) -> bool:
    """Tell whether conditions and aggregates may read a value: it is shown, and kept plain."""
    return not is_secret(field) and is_kept_plain(field)


def to_json(field: FieldDescriptor, *, nul_free: bool = False) -> Convert:
    """Give the way from a field's value to JSON text; ``nul_free`` if it surely has no NUL."""
    encode, name = value_encoder(field) or _same, field.full_name
    if nul_free:
        return lambda value: orjson.dumps(encode(value)).decode()

    def write(value: Any) -> str:
        text = orjson.dumps(encode(value)).decode()
        if _NUL_MARK in text and _NUL.search(text):
            raise no_nul(name)
        return text

    return write


def from_json(field: FieldDescriptor, *, secrets: bool) -> Convert:
    """Give the way from JSON text to what a message's constructor takes."""
    decode = value_decoder(field, secrets=secrets)
    if decode is None:
        return orjson.loads
    return lambda text: decode(orjson.loads(text))


def value_encoder(field: FieldDescriptor) -> Convert | None:
    """Give the way from a field's value to JSON-able values; None if it is one already."""
    storage = storage_of(field)
    if storage is Storage.MAP:
        return _map_encoder(field)
    item = _item_encoder(field)
    if storage is not Storage.LIST:
        return item
    if item is None:
        return _ITEMS
    return lambda values: [item(value) for value in values]


def value_decoder(field: FieldDescriptor, *, secrets: bool) -> Convert | None:
    """Give the way back, to what a message's constructor takes; None if nothing changes."""
    storage = storage_of(field)
    if storage is Storage.MAP:
        return _map_decoder(field, secrets=secrets)
    item = _item_decoder(field, secrets=secrets)
    if storage is not Storage.LIST or item is None:
        return item
    return lambda values: [item(value) for value in values]


def _item_encoder(field: FieldDescriptor) -> Convert | None:
    if item_storage(field) is Storage.MESSAGE:
        return _form(message_type(field)).encode
    return scalar_encoder(field, binary=False)


def _item_decoder(field: FieldDescriptor, *, secrets: bool) -> Convert | None:
    if item_storage(field) is Storage.MESSAGE:
        form = _form(message_type(field))
        return form.decode if secrets else form.decode_without_secrets
    return scalar_decoder(field, binary=False)


def _map_encoder(field: FieldDescriptor) -> Convert:
    key, value = _entry(field)
    encode = _item_encoder(value)
    name = _bool_key if key.type == FieldDescriptor.TYPE_BOOL else str
    if encode is None:
        return lambda entries: {name(each): entries[each] for each in sorted(entries)}
    return lambda entries: {name(each): encode(entries[each]) for each in sorted(entries)}


def _entry(field: FieldDescriptor) -> tuple[FieldDescriptor, FieldDescriptor]:
    """Give the key and value fields of a map."""
    fields = message_type(field).fields_by_name
    return fields["key"], fields["value"]


def _bool_key(key: bool) -> str:
    return "true" if key else "false"


def _map_decoder(field: FieldDescriptor, *, secrets: bool) -> Convert | None:
    key, value = _entry(field)
    decode = _map_value_decoder(value, secrets=secrets)
    read_key = _key_decoder(key)
    if decode is None and read_key is str:
        return None
    item: Convert = decode or _same
    return lambda entries: {read_key(each): item(entry) for each, entry in entries.items()}


def _map_value_decoder(value: FieldDescriptor, *, secrets: bool) -> Convert | None:
    decode = _item_decoder(value, secrets=secrets)
    storage = item_storage(value)
    if value.message_type is None or storage is Storage.OPAQUE or decode is None:
        return decode
    # Constructors take dicts for messages anywhere but in maps.
    make = message_factory.GetMessageClass(value.message_type)
    return lambda entry: make(**decode(entry))


def _key_decoder(key: FieldDescriptor) -> Convert:
    if key.type == FieldDescriptor.TYPE_STRING:
        return str
    return _BOOL_KEYS.__getitem__ if key.type == FieldDescriptor.TYPE_BOOL else int


def _same(value: Any) -> Any:
    return value


@cache
def _form(message: Descriptor) -> "_MessageForm":
    return _MessageForm(message)


class _MessageForm:
    """A message of our own as a JSON object; made when first used, so it may hold itself."""

    def __init__(self, message: Descriptor) -> None:
        self._message = message

    def encode(self, message: Any) -> dict[str, Any]:
        written: dict[str, Any] = {}
        for name, optional, convert in self._encoders:
            if optional and not message.HasField(name):
                continue
            value = getattr(message, name)
            written[name] = value if convert is None else convert(value)
        return written

    def decode(self, written: dict[str, Any]) -> dict[str, Any]:
        return _converted(written, self._decoders)

    def decode_without_secrets(self, written: dict[str, Any]) -> dict[str, Any]:
        return _converted(written, self._public_decoders)

    @cached_property
    def _encoders(self) -> tuple[tuple[str, bool, Convert | None], ...]:
        return tuple(
            (field.name, field.has_presence, value_encoder(field)) for field in self._message.fields
        )

    @cached_property
    def _decoders(self) -> dict[str, Convert | None]:
        return {field.name: value_decoder(field, secrets=True) for field in self._message.fields}

    @cached_property
    def _public_decoders(self) -> dict[str, Convert | None]:
        return {
            field.name: value_decoder(field, secrets=False)
            for field in self._message.fields
            if not is_secret(field)
        }


def _converted(written: dict[str, Any], decoders: dict[str, Convert | None]) -> dict[str, Any]:
    return dict(_entries(written, decoders))


def _entries(
    written: dict[str, Any], decoders: dict[str, Convert | None]
) -> Iterator[tuple[str, Any]]:
    # Keys that are no field any more, and secrets where they may not be shown, are left out.
    for name, value in written.items():
        if name in decoders:
            convert = decoders[name]
            yield name, value if convert is None else convert(value)
