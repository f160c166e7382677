"""The file of the keys that seal and hash.

One key a line, ``<key id> <base64 of 32 bytes>`` (RFC 4648); empty lines and lines that
begin with ``#`` count for nothing. The first key seals, all open. Keys that are called ``pepper``
or ``pepper-...`` are those of keyed hashes and seal nothing: the first of them makes hashes, what
all of them made is known.
"""

import base64
import binascii
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from mesh.sealing.secret_file import (
    SecretFileError,
    create_secret_file,
    read_secret_file,
    replace_secret_file,
)

KEY_BYTES = 32
PEPPER = "pepper"
_KEY_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


class KeyRingError(ValueError):
    """A file of keys that cannot be used; the message names no key."""


@dataclass(frozen=True, init=False)
class KeyRing:
    """Master keys by id."""

    sealing: Mapping[str, bytes] = field(repr=False)
    """32 bytes each; the first seals."""
    peppers: Mapping[str, bytes] = field(repr=False)
    """32 bytes each; the first makes keyed hashes. Bytes alone are the pepper of that name."""

    def __init__(self, sealing: Mapping[str, bytes], peppers: Mapping[str, bytes] | bytes) -> None:
        """Take the keys; KeyRingError."""
        named = {PEPPER: peppers} if isinstance(peppers, bytes) else peppers
        if not sealing or not named:
            raise KeyRingError("no key seals, or none hashes")
        for key_id, key in (*sealing.items(), *named.items()):
            if not _KEY_ID.fullmatch(key_id) or len(key) != KEY_BYTES:
                raise KeyRingError("a key is not an id and 32 bytes")
        if any(map(is_pepper, sealing)) or not all(map(is_pepper, named)):
            raise KeyRingError("a key seals or hashes by its name")
        object.__setattr__(self, "sealing", MappingProxyType(dict(sealing)))
        object.__setattr__(self, "peppers", MappingProxyType(dict(named)))

    @property
    def first(self) -> str:
        """The id of the key that seals."""
        return next(iter(self.sealing))


def is_pepper(key_id: str) -> bool:
    """Tell whether a key is one of keyed hashes."""
    return key_id == PEPPER or key_id.startswith(f"{PEPPER}-")


def read_keys(path: Path) -> KeyRing:
    """Read a file of keys; KeyRingError unless its owner alone may read and write it."""
    try:
        content = read_secret_file(path)
    except SecretFileError as error:
        raise KeyRingError(str(error)) from error
    keys: dict[str, bytes] = {}
    for number, line in enumerate(content.splitlines(), start=1):
        words = line.decode("ascii", "replace").split()
        if not words or words[0].startswith("#"):
            continue
        key = _key(words)
        if key is None or words[0] in keys:
            raise KeyRingError(f"{path}: line {number} is not a new key id and base64 of 32 bytes")
        keys[words[0]] = key
    peppers = {key_id: key for key_id, key in keys.items() if is_pepper(key_id)}
    sealing = {key_id: key for key_id, key in keys.items() if not is_pepper(key_id)}
    if not peppers or not sealing:
        raise KeyRingError(f"{path}: needs a key that seals, and the key {PEPPER!r}")
    return KeyRing(sealing, peppers)


def _key(words: list[str]) -> bytes | None:
    if len(words) != len(("id", "key")) or not _KEY_ID.fullmatch(words[0]):
        return None
    try:
        key = base64.b64decode(words[1], validate=True)
    except binascii.Error:
        return None
    return key if len(key) == KEY_BYTES else None


def create_keys(path: Path) -> None:
    """Make a file of new keys, of mode 0600; a file that is there is left as it is."""
    create_secret_file(path, [_line(f"k{secrets.token_hex(4)}"), _line(PEPPER)])


def add_key(path: Path, *, hashes: bool) -> str:
    """Put a new key last in a file and give its id: it opens, or is known, and makes nothing yet.

    KeyRingError for what is no file of keys; it is left as it is then.
    """
    content, word = _content(path), secrets.token_hex(4)
    key_id = f"{PEPPER}-{word}" if hashes else f"k{word}"
    end = "" if content.endswith("\n") else "\n"
    replace_secret_file(path, [content, end, _line(key_id)])
    return key_id


def put_first(path: Path, key_id: str) -> None:
    """Let a key of a file seal, or hash, from now on; KeyRingError if there is none of this id."""
    keys = read_keys(path)
    if key_id not in keys.sealing.keys() | keys.peppers.keys():
        raise KeyRingError(f"{path}: has no key {key_id!r}")
    lines = [f"{each}\n" for each in _content(path).splitlines()]
    chosen = [each for each in lines if each.split()[:1] == [key_id]]
    replace_secret_file(path, [*chosen, *(each for each in lines if each not in chosen)])


def _content(path: Path) -> str:
    read_keys(path)
    return read_secret_file(path).decode("ascii", "replace")


def _line(key_id: str) -> str:
    return f"{key_id} {base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}\n"
