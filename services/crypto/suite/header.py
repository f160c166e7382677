"""The first 16 bytes of a sealed value: which suite, tier, field and keys it is of.

    "SM" | format u8 = 1 | suite u8 | tier u8 | flags u8 | field number u16
    | user key version u32 | app key version u32            (all big-endian)

The header is part of the context that keys are derived from, so no bit of it can be changed.
"""

import struct
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

from services.crypto.errors import ValueUnopenable

HEADER_BYTES = 16
TIER_AT = 4
"""The place of the byte that says the tier."""
MAX_VERSION = (1 << 32) - 1
_MAGIC = b"SM"
_FORMAT = 1
_PADDED = 0x01
_REMEMBERED = 4096
"""Headers."""
_LAYOUT = struct.Struct(">2sBBBBHII")


class Suite(IntEnum):
    """How the bytes after the header are made."""

    FIELD = 0x01
    """Cobblestone-256, one chunk."""
    NESTED = 0x02
    """Cobblestone-256 by the user's key around Cobblestone-256 by the app key."""
    STREAM = 0x03
    """Cobblestone-256, several chunks."""
    TOKEN = 0x10
    """AES-256-SIV (RFC 5297): equal values give equal tokens."""


class Tier(IntEnum):
    """How strongly a field is kept."""

    CLEAR = 1
    SEALED = 2
    DOUBLE = 3


TIER_OF = {
    Suite.FIELD: Tier.SEALED,
    Suite.NESTED: Tier.DOUBLE,
    Suite.STREAM: Tier.SEALED,
    Suite.TOKEN: Tier.SEALED,
}


class Header(NamedTuple):
    """What a sealed value says of itself."""

    suite: Suite
    padded: bool
    field_number: int
    """1 to 65,535."""
    key_version: int
    """Version of the user's key, of the token key in tokens; from 1, and 0 in an inner context."""
    app_key_version: int = 0
    """From 1 in nested values, else 0."""

    @property
    def tier(self) -> Tier:
        """The tier that the suite serves."""
        return TIER_OF[self.suite]

    def pack(self) -> bytes:
        """Write the 16 bytes."""
        return _packed(self)

    @property
    def inner(self) -> "Header":
        """The same header as the inner layer knows it, whatever the user's key around it."""
        return self.under(0)

    def under(self, key_version: int) -> "Header":
        """The same header with another version of the user's key."""
        return Header(self.suite, self.padded, self.field_number, key_version, self.app_key_version)


@lru_cache(_REMEMBERED)
def _packed(header: Header) -> bytes:
    flags = _PADDED if header.padded else 0
    numbers = (header.field_number, header.key_version, header.app_key_version)
    return _LAYOUT.pack(_MAGIC, _FORMAT, header.suite, header.tier, flags, *numbers)


def read_header(blob: bytes) -> Header:
    """Read the header of a sealed value. Raises ValueUnopenable if it has none that is whole."""
    return _parsed(blob[:HEADER_BYTES])


# Values of one field and version have one header: a batch reads it once.
@lru_cache(_REMEMBERED)
def _parsed(packed: bytes) -> Header:
    if len(packed) < HEADER_BYTES:
        raise ValueUnopenable
    magic, form, suite, tier, flags, field, version, app = _LAYOUT.unpack(packed)
    if magic != _MAGIC or form != _FORMAT or suite not in TIER_OF or flags & ~_PADDED:
        raise ValueUnopenable
    header = Header(Suite(suite), bool(flags), field, version, app)
    if tier != header.tier or not version or bool(app) != (header.suite is Suite.NESTED):
        raise ValueUnopenable
    return header
