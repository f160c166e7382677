"""Signed notes and checkpoints of a log (C2SP signed-note and tlog-checkpoint), with Ed25519.

A checkpoint's lines are its origin, the size of the tree and the root in base64; further lines
are ours: ``previous`` and the SHA-256 of the checkpoint before, ``ranges`` and the SHA-256 of the
list of the entries that came in with it.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_ED25519 = b"\x01"
_DASH = "\N{EM DASH} "
_BREAK = "\n\n"
_ID = 4
_SIGNATURE = 64
_HEAD_LINES = 3
_ROOT = 32


class NoteBroken(ValueError):
    """A note that is not what its form or its signature says; the message says which."""


@dataclass(frozen=True)
class PublicKey:
    """A key that signs notes, with the name that it signs by."""

    name: str
    key: bytes
    """32 bytes."""

    @property
    def key_id(self) -> bytes:
        """4 bytes that stand before each of its signatures."""
        return sha256(self.name.encode() + b"\n" + _ED25519 + self.key).digest()[:_ID]

    def encoded(self) -> str:
        """Write it as C2SP's verifier keys are, ``name+id+base64``."""
        content = base64.b64encode(_ED25519 + self.key).decode()
        return f"{self.name}+{self.key_id.hex()}+{content}"

    @classmethod
    def decoded(cls, text: str) -> "PublicKey":
        """Read a verifier key; NoteBroken."""
        name, _, rest = text.strip().partition("+")
        key_id, _, content = rest.partition("+")
        raw = _decoded(content, "a verifier key")
        found = cls(name, raw[1:])
        good = bool(name) and raw[:1] == _ED25519 and len(found.key) == _ROOT
        if not good or found.key_id.hex() != key_id:
            raise NoteBroken("a verifier key is name+id+base64 of an Ed25519 key")
        return found


class Signer:
    """Signs notes by a name without spaces and plus signs."""

    def __init__(self, name: str, seed: bytes) -> None:
        if not name or any(sign.isspace() or sign == "+" for sign in name):
            raise ValueError("the name of a signer has no spaces and no plus signs")
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = PublicKey(name, self._key.public_key().public_bytes_raw())

    def sign(self, text: str) -> str:
        """Give a text, which ends with a line break, as a signed note."""
        if not text.endswith("\n") or _BREAK in text:
            raise ValueError("the text of a note is lines, none of them empty")
        signature = base64.b64encode(self.public.key_id + self._key.sign(text.encode())).decode()
        return f"{text}\n{_DASH}{self.public.name} {signature}\n"


def opened(note: str, keys: Sequence[PublicKey]) -> str:
    """Give the text of a note that one of the keys signed; NoteBroken.

    Signatures by keys that are not known are passed over; one by a known key must be good.
    """
    text, found, signatures = note.rpartition(_BREAK)
    if not found or not signatures.endswith("\n"):
        raise NoteBroken("a note is a text, an empty line and signatures")
    text += "\n"
    good = False
    for line in signatures.removesuffix("\n").split("\n"):
        name, _, encoded = line.removeprefix(_DASH).partition(" ")
        content = _decoded(encoded, "a signature")
        if not line.startswith(_DASH) or len(content) <= _ID:
            raise NoteBroken("a signature is not a dash, a name and base64")
        for key in keys:
            if (key.name, key.key_id) == (name, content[:_ID]):
                _require_signed(key, content[_ID:], text)
                good = True
    if not good:
        raise NoteBroken("no known key signed this note")
    return text


def _decoded(text: str, what: str) -> bytes:
    """Read base64 of which there is one writing; NoteBroken."""
    try:
        content = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise NoteBroken(f"{what} is no base64") from error
    if base64.b64encode(content).decode() != text:
        raise NoteBroken(f"{what} is no base64")
    return content


def _require_signed(key: PublicKey, signature: bytes, text: str) -> None:
    try:
        if len(signature) != _SIGNATURE:
            raise NoteBroken("a signature has another length")
        Ed25519PublicKey.from_public_bytes(key.key).verify(signature, text.encode())
    except InvalidSignature as error:
        raise NoteBroken(f"the signature of {key.name} is not of this text") from error


@dataclass(frozen=True)
class Checkpoint:
    """How many entries there were, and the root over them."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()
    """Lines, each ``word value``."""

    def text(self) -> str:
        """Write what is signed."""
        root = base64.b64encode(self.root).decode()
        return "".join(f"{line}\n" for line in (self.origin, self.size, root, *self.extensions))

    def value(self, word: str) -> str:
        """Give the value of an extension; empty if there is none."""
        found = [line.partition(" ") for line in self.extensions]
        return next((value for name, _, value in found if name == word), "")

    @classmethod
    def parsed(cls, text: str) -> "Checkpoint":
        """Read the text of a note; NoteBroken."""
        origin, *rest = text.removesuffix("\n").split("\n")
        if len(rest) < _HEAD_LINES - 1:
            raise NoteBroken("a checkpoint is an origin, a size and a root")
        size, root, *extensions = rest
        raw = _decoded(root, "a root")
        # One number has one writing.
        if not size.isascii() or not size.isdecimal() or str(int(size)) != size:
            raise NoteBroken("a size is no number")
        if len(raw) != _ROOT:
            raise NoteBroken("a root has another length")
        return cls(origin, int(size), raw, tuple(extensions))


def digest(note: str) -> str:
    """Give the SHA-256 of a note's text in hexadecimal: how later notes name it."""
    return sha256(note.rpartition(_BREAK)[0].encode() + b"\n").hexdigest()
