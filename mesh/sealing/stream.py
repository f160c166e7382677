"""Whole files encrypted in chunks, so that none of it is believed before it was authenticated.

Form 1 is a header and chunks of 64 KiB, of which the last may be shorter or empty:

    "secmesh sealed file 1" LF | length of key id (1 byte) | key id | salt (32 bytes)
    | commitment (32 bytes) | chunks, each AES-256-GCM ciphertext and tag (NIST SP 800-38D)

Key and commitment: 64 bytes of HKDF-SHA-256 (RFC 5869) of the master key, with the salt, over a
label, the header up to the salt and the context. A key is of one file alone. The nonce of a chunk
is its number (11 bytes, big-endian) and 1 for the last chunk, else 0: the STREAM construction
(Hoang, Reyhanitabar, Rogaway, Vizar, "Online Authenticated-Encryption and its Nonce-Reuse
Misuse-Resistance", 2015). So no chunk can be changed, moved, left out, cut off or added.
"""

import hmac
import secrets
from collections.abc import Callable, Iterator
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mesh.sealing.canonical import length_prefixed
from mesh.sealing.keyring import KeyRing

CHUNK = 65_536
"""Bytes of a chunk before it is encrypted."""
_MAGIC = b"secmesh sealed file 1\n"
_LABEL = b"secmesh sealed file"
_SALT, _COMMITMENT, _KEY, _TAG = 32, 32, 32, 16
_COUNTER, _LENGTH = 11, 4
Moved = Callable[[int], None]
"""Hears of bytes that were read."""


class StreamBroken(ValueError):
    """A file that is not what was encrypted; the message holds nothing of it."""


class StreamKeyUnknown(ValueError):
    """A file whose key is not among those that there are, or is another of the same name."""


def encrypt(
    source: BinaryIO, target: BinaryIO, keys: KeyRing, context: tuple[str, ...], moved: Moved
) -> None:
    """Encrypt a file by the first key of a ring, bound to ``context``."""
    header = _MAGIC + bytes([len(keys.first)]) + keys.first.encode()
    salt = secrets.token_bytes(_SALT)
    key, commitment = _derive(keys.sealing[keys.first], salt, header, context)
    target.write(header + salt + commitment)
    cipher = AESGCM(key)
    for number, (chunk, last) in enumerate(_chunks(source, CHUNK)):
        target.write(cipher.encrypt(_nonce(number, last=last), chunk, None))
        moved(len(chunk))


def decrypt(
    source: BinaryIO, keys: KeyRing, context: tuple[str, ...], moved: Moved
) -> Iterator[bytes]:
    """Give what was encrypted, chunk by chunk: each is authentic, the whole only in the end.

    Raises StreamBroken for what was changed, cut or put together of parts, and
    StreamKeyUnknown.
    """
    cipher = AESGCM(_key_of(source, keys, context))
    for number, (chunk, last) in enumerate(_chunks(source, CHUNK + _TAG)):
        try:
            plain = cipher.decrypt(_nonce(number, last=last), chunk, None)
        except (InvalidTag, ValueError):
            place = number * CHUNK
            raise StreamBroken(f"it was changed or cut, from byte {place} of its content") from None
        moved(len(chunk))
        yield plain


def _key_of(source: BinaryIO, keys: KeyRing, context: tuple[str, ...]) -> bytes:
    """Read the header and give the key of the file."""
    magic, length = source.read(len(_MAGIC)), source.read(1)
    if magic != _MAGIC or not length:
        raise StreamBroken("it is no encrypted file")
    key_id = source.read(length[0])
    salt, stated = source.read(_SALT), source.read(_COMMITMENT)
    if len(stated) != _COMMITMENT:
        raise StreamBroken("it ends in its header")
    name = key_id.decode("ascii", "replace")
    master = keys.sealing.get(name)
    if master is None:
        raise StreamKeyUnknown("the key that it was encrypted with is not among the keys")
    key, commitment = _derive(master, salt, magic + length + key_id, context)
    if not hmac.compare_digest(stated, commitment):
        raise StreamKeyUnknown(
            f"the key {name} does not open it: that key is another one now, or the file is not "
            "the one that it is said to be"
        )
    return key


def _chunks(source: BinaryIO, size: int) -> Iterator[tuple[bytes, bool]]:
    """Give a file in chunks, and of each whether it is the last; an empty file is one."""
    chunk = source.read(size)
    while True:
        following = source.read(size)
        yield chunk, not following
        if not following:
            return
        chunk = following


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(_COUNTER, "big") + bytes([last])


def _derive(
    master: bytes, salt: bytes, header: bytes, context: tuple[str, ...]
) -> tuple[bytes, bytes]:
    parts = (header, *(each.encode() for each in context))
    info = _LABEL + length_prefixed(parts, width=_LENGTH)
    made = HKDF(SHA256(), _KEY + _COMMITMENT, salt, info).derive(master)
    return made[:_KEY], made[_KEY:]
