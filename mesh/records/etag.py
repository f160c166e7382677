"""Etags (AIP-154): what a record holds, in a few characters."""

import hmac

from google.protobuf.message import Message

from mesh.contract.catalogue import Kind, field_option
from mesh.records.fields import copy_field
from mesh.sql.tables import VALID_FROM, VALID_TO

ETAG, CREATED, WRITTEN = "etag", "create_time", "update_time"
"""Fields that the store fills, where an envelope has them."""
_STORED = (ETAG, CREATED, WRITTEN, VALID_FROM, VALID_TO)
_BYTES = 16


def content_of(kind: Kind, record: Message) -> Message:
    """Give a record without what describes its stored version alone."""
    content: Message = type(record)()
    content.CopyFrom(record)
    for field in kind.envelope_fields:
        if field.name in _STORED or field_option(field).bookkeeping:
            content.ClearField(field.name)
    return content


def settle_stored(kind: Kind, old: Message | None, new: Message) -> None:
    """Take from the old record what the store says of one, whatever a caller says."""
    for field in kind.envelope_fields:
        if field.name in _STORED:
            new.ClearField(field.name)
            if old is not None:
                copy_field(old, new, field)


def etag_of(kind: Kind, record: Message, key: bytes) -> str:
    """Give the etag of a record's content, its secrets included.

    Keyed (HMAC-SHA256, RFC 2104), so that it cannot be used to try out secrets.
    """
    content = content_of(kind, record).SerializeToString(deterministic=True)
    return hmac.digest(key, content, "sha256")[:_BYTES].hex()
