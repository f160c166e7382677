"""Signed notes (C2SP signed-note, Ed25519), read here by the published format alone.

https://c2sp.org/signed-note: a text of lines, an empty line, then lines of a dash, the key's name
and base64 of 4 bytes that stand for the key and the signature of the text.
"""

import base64
import binascii
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

_ED25519 = b"\x01"
_DASH = "\N{EM DASH} "
_BREAK = "\n\n"
_ID, _KEY, _SIGNATURE = 4, 32, 64


class NoteRefused(Exception):
    """A note, or a key, that is not what it should be; the message says why."""


@dataclass(frozen=True)
class VerifierKey:
    """A public key with the name that it signs by."""

    name: str
    key: bytes

    @classmethod
    def read(cls, text: str) -> "VerifierKey":
        """Read ``name+id+base64``. Raises NoteRefused."""
        name, _, rest = text.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        content = _base64(encoded, "a key")
        found = cls(name, content[1:])
        if not name or content[:1] != _ED25519 or len(found.key) != _KEY:
            raise NoteRefused("a key is name+id+base64 of an Ed25519 key")
        if found.key_id.hex() != key_id:
            raise NoteRefused("a key has another id than it says")
        return found

    @property
    def key_id(self) -> bytes:
        """4 bytes that stand for the key in its signatures."""
        return sha256(self.name.encode() + b"\n" + _ED25519 + self.key).digest()[:_ID]


def signed_text(note: str, keys: list[VerifierKey]) -> str:
    """Give the text of a note that one of the keys signed. Raises NoteRefused."""
    text, found, signatures = note.rpartition(_BREAK)
    if not found:
        raise NoteRefused("it is no signed note")
    text += "\n"
    for line in signatures.splitlines():
        name, _, encoded = line.removeprefix(_DASH).partition(" ")
        content = _base64(encoded, "a signature")
        for key in keys:
            if line.startswith(_DASH) and (key.name, key.key_id) == (name, content[:_ID]):
                _require_signed(key, content[_ID:], text)
                return text
    raise NoteRefused("none of the keys signed it")


def note_digest(note: str) -> str:
    """Give the SHA-256 of a note's text in hexadecimal, by which others name it."""
    return sha256(note.rpartition(_BREAK)[0].encode() + b"\n").hexdigest()


def _require_signed(key: VerifierKey, signature: bytes, text: str) -> None:
    try:
        if len(signature) != _SIGNATURE:
            raise NoteRefused("a signature has another length")
        Ed25519PublicKey.from_public_bytes(key.key).verify(signature, text.encode())
    except InvalidSignature:
        raise NoteRefused(f"the signature of {key.name} is not of this text") from None


def _base64(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise NoteRefused(f"{what} is no base64") from None
