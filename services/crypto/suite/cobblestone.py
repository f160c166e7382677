"""Cobblestone-256: the C2SP chunked encryption with HKDF-SHA-512 and AES-256-GCM.

https://c2sp.org/chunked-encryption. Each message has a key of its own, derived from the input
key, a salt and the context, to all three of which the commitment binds it:

    salt (24) | commitment (32) | chunks of 16 KiB, each with its tag (16); the last is shorter
"""

import hmac
import os
from collections.abc import Iterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from services.crypto.errors import ValueUnopenable

KEY_BYTES = 32
OVERHEAD = 24 + 32 + 16
"""Bytes that a message of one chunk grows by."""
RANDOM_BYTES = 24
"""What the salt of a message is made of, beside the message."""
CHUNK = 16_384
_LABEL = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00"
_HEDGE = b"secmesh/pii/1 hedged salt"
_SALT = 24
_COMMITMENT = 32
_TAG = 16
_NONCE_END = KEY_BYTES + 12
_REST = _NONCE_END + _COMMITMENT - SHA512.digest_size
"""Bytes of the commitment in the second block of the derivation."""
_SEALED_CHUNK = CHUNK + _TAG


class Key:
    """One input key, made ready for many messages.

    Its two keyed HMACs are made once and copied for each message, which saves two thirds of the
    derivation's time.
    """

    __slots__ = ("_derivation", "_hedge")

    def __init__(self, secret: bytes) -> None:
        if len(secret) != KEY_BYTES:
            raise ValueError("a key is 32 bytes")
        self._derivation = HMAC(secret, SHA512())
        # Another label than a message's, so that one key serves both (RFC 5869, 3.2).
        self._hedge = HMAC(HKDFExpand(SHA512(), 64, _HEDGE).derive(secret), SHA512())

    def seal(self, plaintext: bytes, context: bytes, random: bytes = b"") -> bytes:
        """Encrypt, and bind to the context.

        The salt is random and hedged: a broken or cloned generator of random numbers repeats it
        only for the same plaintext in the same context. ``random`` are RANDOM_BYTES of
        ``os.urandom`` for this message alone, of who draws those of many at once.
        """
        hedge = self._hedge.copy()
        length = len(context).to_bytes(4, "big")
        hedge.update((random or os.urandom(RANDOM_BYTES)) + length + context + plaintext)
        return self._seal(plaintext, context, hedge.finalize()[:_SALT])

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """Decrypt. Raises ValueUnopenable, whatever is wrong."""
        salt, stated = sealed[:_SALT], sealed[_SALT : _SALT + _COMMITMENT]
        if len(stated) != _COMMITMENT:
            raise ValueUnopenable
        key, nonce, commitment = self._derive(salt, context)
        if not hmac.compare_digest(stated, commitment):
            raise ValueUnopenable
        return open_chunks(key, nonce, sealed[_SALT + _COMMITMENT :])

    def _seal(self, plaintext: bytes, context: bytes, salt: bytes) -> bytes:
        key, nonce, commitment = self._derive(salt, context)
        return salt + commitment + seal_chunks(key, nonce, plaintext)

    def _derive(self, salt: bytes, context: bytes) -> tuple[bytes, bytes, bytes]:
        """Give key, nonce and commitment: 76 bytes of HKDF-Expand (RFC 5869, 2.3)."""
        info = _LABEL + salt + context
        first = self._derivation.copy()
        first.update(info + b"\x01")
        block = first.finalize()
        second = self._derivation.copy()
        second.update(block + info + b"\x02")
        rest = second.finalize()
        commitment = block[_NONCE_END:] + rest[:_REST]
        return block[:KEY_BYTES], block[KEY_BYTES:_NONCE_END], commitment


def random_bytes(count: int) -> Iterator[bytes]:
    """Draw what the salts of so many messages are made of, in one call of the system."""
    drawn = os.urandom(count * RANDOM_BYTES)
    return (drawn[at : at + RANDOM_BYTES] for at in range(0, len(drawn), RANDOM_BYTES))


def seal_chunks(key: bytes, nonce: bytes, plaintext: bytes) -> bytes:
    """Encrypt chunk by chunk, by a key and a nonce that are of this message alone."""
    aead = AESGCM(key)
    if len(plaintext) < CHUNK:
        return aead.encrypt(nonce, plaintext, None)
    return b"".join(
        aead.encrypt(_nonce_of(nonce, number), chunk, None)
        for number, chunk in enumerate(_pieces(plaintext, CHUNK))
    )


def open_chunks(key: bytes, nonce: bytes, body: bytes) -> bytes:
    """Decrypt chunk by chunk. Raises ValueUnopenable."""
    # The last chunk is shorter than the others, or the message was cut.
    if len(body) % _SEALED_CHUNK < _TAG:
        raise ValueUnopenable
    aead = AESGCM(key)
    try:
        if len(body) < _SEALED_CHUNK:
            return aead.decrypt(nonce, body, None)
        return b"".join(
            aead.decrypt(_nonce_of(nonce, number), chunk, None)
            for number, chunk in enumerate(_pieces(body, _SEALED_CHUNK))
        )
    except InvalidTag:
        raise ValueUnopenable from None


def _pieces(data: bytes, size: int) -> Iterator[bytes]:
    """Cut into pieces of a size and a last one that is shorter, empty if need be."""
    for start in range(0, len(data) + 1, size):
        yield data[start : start + size]


def _nonce_of(base: bytes, number: int) -> bytes:
    return (int.from_bytes(base) ^ number).to_bytes(len(base), "big")
