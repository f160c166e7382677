"""The file of the keys that seal and hash.

One key a line, ``<key id> <base64 of 32 bytes>`` (RFC 4648); empty lines and lines that
begin with ``#`` count for nothing. The first key seals, all open. The key ``pepper`` is that of
keyed hashes and seals nothing: whoever changes it makes new hashes of what is compared.
"""

import base64
import binascii
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from mesh.sealing.secret_file import SecretFileError, create_secret_file, read_secret_file

KEY_BYTES = 32
PEPPER = "pepper"
_KEY_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


class KeyRingError(ValueError):
    """A file of keys that cannot be used; the message names no key."""


@dataclass(frozen=True)
class KeyRing:
    """Master keys by id."""

    sealing: Mapping[str, bytes] = field(repr=False)
    """32 bytes each; the first seals."""
    pepper: bytes = field(repr=False)
    """32 bytes."""

    def __post_init__(self) -> None:
        if not self.sealing:
            raise KeyRingError("no key seals")
        for key_id, key in (*self.sealing.items(), (PEPPER, self.pepper)):
            if not _KEY_ID.fullmatch(key_id) or len(key) != KEY_BYTES:
                raise KeyRingError("a key is not an id and 32 bytes")
        object.__setattr__(self, "sealing", MappingProxyType(dict(self.sealing)))

    @property
    def first(self) -> str:
        """The id of the key that seals."""
        return next(iter(self.sealing))


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
    if PEPPER not in keys or len(keys) == 1:
        raise KeyRingError(f"{path}: needs a key that seals, and the key {PEPPER!r}")
    pepper = keys.pop(PEPPER)
    return KeyRing(keys, pepper)


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
    ids = (f"k{secrets.token_hex(4)}", PEPPER)
    lines = [
        f"{key_id} {base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}\n" for key_id in ids
    ]
    create_secret_file(path, lines)
