"""A field's value sealed for its place: tier 2 by one layer, tier 3 by two."""

from functools import lru_cache
from typing import NamedTuple

from services.crypto.errors import ValueUnopenable
from services.crypto.suite.cobblestone import CHUNK, Key
from services.crypto.suite.context import Subject
from services.crypto.suite.header import HEADER_BYTES, Header, Suite, Tier, read_header
from services.crypto.suite.padding import pad, unpad


class FieldRule(NamedTuple):
    """How the values of one field are kept."""

    name: str
    number: int
    """Stands in the header, 1 to 65,535; never used again for another field."""
    tier: Tier
    """Of values that are sealed from now on."""
    least_tier: Tier
    """Of values that still open: the contract's, below which no configuration goes."""
    padding: int = 0
    """Bytes that lengths are rounded up to a multiple of; 0 leaves them as they are."""


class UserKey(NamedTuple):
    """One version of a user's key."""

    version: int
    key: Key


class InnerValue(NamedTuple):
    """What the custodian of the app key seals or opens."""

    subject: Subject
    field: str
    header: Header
    """``Header.inner``: names the version of the app key."""
    body: bytes
    """The padded plaintext, or the inner layer around it."""


def seal_field(
    key: UserKey, subject: Subject, rule: FieldRule, plaintext: bytes, random: bytes = b""
) -> bytes:
    """Seal a value by the user's key alone: tier 2. For ``random`` see ``Key.seal``."""
    body = pad(plaintext, rule.padding) if rule.padding else plaintext
    header = _header(len(body) < CHUNK, rule.padding > 0, rule.number, key.version)
    return header + key.key.seal(body, subject.outer_context(rule.name, header), random)


@lru_cache(4096)
def _header(one_chunk: bool, padded: bool, number: int, version: int) -> bytes:
    suite = Suite.FIELD if one_chunk else Suite.STREAM
    return Header(suite, padded, number, version).pack()


def inner_of_plaintext(
    app_key_version: int, subject: Subject, rule: FieldRule, plaintext: bytes
) -> InnerValue:
    """Give what the app key's custodian seals of a value of tier 3."""
    header = Header(Suite.NESTED, rule.padding > 0, rule.number, 0, app_key_version)
    body = pad(plaintext, rule.padding) if rule.padding else plaintext
    return InnerValue(subject, rule.name, header, body)


def seal_around(key: UserKey, inner: InnerValue, sealed: bytes, random: bytes = b"") -> bytes:
    """Seal by the user's key around what the app key's custodian sealed: tier 3."""
    header = inner.header.under(key.version)
    return _seal(key, inner.subject, inner.field, header, sealed, random)


def read_field_header(rule: FieldRule, blob: bytes) -> Header:
    """Read which keys a value is sealed by.

    Raises ValueUnopenable if it is of another field, or of a lower tier than the field's least.
    """
    header = read_header(blob)
    if (
        header.suite is Suite.TOKEN
        or header.field_number != rule.number
        or header.tier < rule.least_tier
    ):
        raise ValueUnopenable
    return header


def open_outer(key: UserKey, subject: Subject, rule: FieldRule, blob: bytes) -> bytes:
    """Open the user's layer: the padded plaintext of tier 2, the inner layer of tier 3."""
    context = subject.outer_context(rule.name, blob[:HEADER_BYTES])
    return key.key.open(blob[HEADER_BYTES:], context)


def inner_of_blob(subject: Subject, rule: FieldRule, header: Header, layer: bytes) -> InnerValue:
    """Give what the app key's custodian opens of a value of tier 3."""
    return InnerValue(subject, rule.name, header.inner, layer)


def plaintext_of(header: Header, body: bytes) -> bytes:
    """Take the padding off what was opened last."""
    return unpad(body) if header.padded else body


def seal_again(
    key: UserKey, subject: Subject, rule: FieldRule, header: Header, layer: bytes
) -> bytes:
    """Seal the user's layer again by another version of the key; an inner layer stays closed."""
    return _seal(key, subject, rule.name, header.under(key.version), layer)


def seal_inner(app_key: Key, value: InnerValue, random: bytes = b"") -> bytes:
    """Seal the inner layer, as the custodian of the app key does."""
    return app_key.seal(value.body, _inner_context(value), random)


def open_inner(app_key: Key, value: InnerValue) -> bytes:
    """Open the inner layer, as the custodian of the app key does. Raises ValueUnopenable."""
    return app_key.open(value.body, _inner_context(value))


def _inner_context(value: InnerValue) -> bytes:
    return value.subject.inner_context(value.field, value.header.pack())


def _seal(
    key: UserKey, subject: Subject, field: str, header: Header, body: bytes, random: bytes = b""
) -> bytes:
    packed = header.pack()
    return packed + key.key.seal(body, subject.outer_context(field, packed), random)
