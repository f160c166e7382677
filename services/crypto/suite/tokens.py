"""Tokens that stand for values: AES-256-SIV (RFC 5297), so equal values give equal tokens.

A token is a sealed value without salt: header (16) | synthetic IV (16) | ciphertext. It is bound
to environment, tenant, table and field, not to a user: two users with one value have one token.
"""

from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from services.crypto.errors import ValueUnopenable
from services.crypto.suite.context import canonical
from services.crypto.suite.header import HEADER_BYTES, Header, Suite, read_header

_LABEL = b"secmesh/token/1"


class TokenPlace(NamedTuple):
    """Where equal values have equal tokens."""

    environment: str
    tenant: str
    table: str
    field: str
    field_number: int


class TokenKey:
    """One version of the key of a field's tokens."""

    __slots__ = ("_cipher", "version")

    def __init__(self, version: int, secret: bytes) -> None:
        self.version = version
        # SIV takes two keys of 256 bits.
        self._cipher = AESSIV(HKDFExpand(SHA512(), 64, _LABEL).derive(secret))

    def token(self, place: TokenPlace, value: bytes) -> bytes:
        """Make the token of a value of at least one byte."""
        header = Header(Suite.TOKEN, False, place.field_number, self.version).pack()
        return header + self._cipher.encrypt(value, [_context(place, header)])

    def value(self, place: TokenPlace, token: bytes) -> bytes:
        """Give the value of a token. Raises ValueUnopenable, whatever is wrong."""
        header = read_header(token)
        if header.suite is not Suite.TOKEN or header.field_number != place.field_number:
            raise ValueUnopenable
        try:
            packed = token[:HEADER_BYTES]
            return self._cipher.decrypt(token[HEADER_BYTES:], [_context(place, packed)])
        except (InvalidTag, ValueError):
            raise ValueUnopenable from None


def _context(place: TokenPlace, header: bytes) -> bytes:
    texts = (place.environment, place.tenant, place.table, place.field)
    return canonical(_LABEL, *(text.encode() for text in texts), header)
