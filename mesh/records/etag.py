"""Etags (AIP-154): what a record holds, in a few characters."""

from functools import cache
from hashlib import blake2b

from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from mesh.contract.catalogue import NAME, Kind, field_option
from mesh.records.fields import behaves, copy_field
from mesh.sql.tables import VALID_FROM, VALID_TO

ETAG, CREATED, WRITTEN = "etag", "create_time", "update_time"
"""Fields that the store fills, where an envelope has them."""
_STORED = (ETAG, CREATED, WRITTEN, VALID_FROM, VALID_TO)
_BYTES = 16
_BODY = "body"
"""The oneof of an envelope that holds its bodies."""


@cache
def stored_fields(envelope: Descriptor | None) -> dict[str, FieldDescriptor]:
    """Give the fields of an envelope that the store fills, by name."""
    fields = envelope.fields if envelope is not None else ()
    return {field.name: field for field in fields if field.name in _STORED}


@cache
def callers_fields(envelope: Descriptor | None) -> tuple[FieldDescriptor, ...]:
    """Give the fields around a body, beside the name, that callers write."""
    fields = envelope.fields if envelope is not None else ()
    return tuple(
        field
        for field in fields
        if (field.containing_oneof is None or field.containing_oneof.name != _BODY)
        and field.name not in (NAME, *stored_fields(envelope))
        and not behaves(field, field_behavior_pb2.OUTPUT_ONLY)
    )


@cache
def _bookkeeping(envelope: Descriptor | None) -> tuple[str, ...]:
    """Name the fields of an envelope that tell how a record was come by."""
    fields = envelope.fields if envelope is not None else ()
    return tuple(field.name for field in fields if field_option(field).bookkeeping)


def content_of(kind: Kind, record: Message) -> Message:
    """Give a record without what describes its stored version alone."""
    content: Message = type(record)()
    content.CopyFrom(record)
    for name in (*stored_fields(kind.envelope), *_bookkeeping(kind.envelope)):
        content.ClearField(name)
    return content


def same_content(kind: Kind, old: Message, new: Message) -> bool:
    """Tell whether a record holds what the old one does, whose stored fields it has."""
    if not _bookkeeping(kind.envelope):
        return old == new
    return content_of(kind, old) == content_of(kind, new)


def settle_stored(kind: Kind, old: Message | None, new: Message) -> None:
    """Take from the old record what the store says of one, whatever a caller says."""
    for name, field in stored_fields(kind.envelope).items():
        new.ClearField(name)
        if old is not None:
            copy_field(old, new, field)


def etag_of(kind: Kind, record: Message, key: bytes) -> str:
    """Give the etag of a record's content, its secrets included.

    Keyed (BLAKE2b, RFC 7693), so that it cannot be used to try out secrets.
    """
    return _etag_of_content(content_of(kind, record), key)


def etag_of_new(kind: Kind, record: Message, key: bytes) -> str:
    """Give the etag of a record of which nothing is stored yet, without a copy of it."""
    if _bookkeeping(kind.envelope):
        return etag_of(kind, record, key)
    return _etag_of_content(record, key)


class BodyEtags:
    """Etags of one kind's records that hold a name and a body alone, as streams bring them.

    The same as those of ``etag_of``, which writes a whole record: its bytes are put together here
    from those of its body, so that no record is made.
    """

    def __init__(self, kind: Kind, key: bytes) -> None:
        if kind.body_field is None:
            raise ValueError(f"{kind.collection} has no bodies")
        envelope = kind.message.fields_by_name
        self._name = _tag(envelope[NAME])
        self._body = _tag(envelope[kind.body_field])
        self._begun = blake2b(digest_size=_BYTES, key=key)

    def of(self, name: str, body: bytes) -> str:
        """Give the etag of the record of this name and body, which was written by ``bytes_of``."""
        called = name.encode()
        tagged = self._begun.copy()
        tagged.update(
            b"".join((self._name, _length(called), called, self._body, _length(body), body))
        )
        return tagged.hexdigest()


def bytes_of(message: Message) -> bytes:
    """Write a message, the same bytes each time."""
    return message.SerializeToString(deterministic=True)


def _tag(field: FieldDescriptor) -> bytes:
    """Write the number of a field that holds bytes (Protobuf's wire type 2)."""
    return _varint(field.number << 3 | 2)


def _length(data: bytes) -> bytes:
    size = len(data)
    return _SHORT[size] if size < len(_SHORT) else _varint(size)


def _varint(number: int) -> bytes:
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)


_SHORT = tuple(_varint(size) for size in range(1024))
"""Most lengths, written beforehand."""


def _etag_of_content(content: Message, key: bytes) -> str:
    return blake2b(bytes_of(content), digest_size=_BYTES, key=key).hexdigest()
