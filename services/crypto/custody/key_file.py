"""Keys kept in a file: what a KMS and a keeper of secrets are where there is neither.

One key a line, ``<key id> <state> <base64 of 32 bytes>`` (RFC 4648); lines that begin with ``#``
count for nothing. The file is read again when it was changed, so that a key is disabled by
changing its state.
"""

import base64
import binascii
import os
import re
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

from mesh.sealing.secret_file import (
    SecretFileError,
    create_secret_file,
    read_secret_file,
    replace_secret_file,
)
from services.crypto.suite.cobblestone import KEY_BYTES

_KEY_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_WORDS = 3


class KeyFileError(ValueError):
    """A file of keys that cannot be used; the message names no key."""


class FileKey(NamedTuple):
    """One line."""

    enabled: bool
    secret: bytes


class KeySource(Protocol):
    """Where keys are kept that this process uses itself."""

    def keys(self) -> Mapping[str, FileKey]:
        """Give the keys by id as they are now. Raises KeyFileError."""

    @property
    def principal(self) -> str:
        """Who can read them. Raises KeyFileError."""


class KeyFile:
    """A file of keys as it is now."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._keys: Mapping[str, FileKey] = {}

    def keys(self) -> Mapping[str, FileKey]:
        """Give the keys by id. Raises KeyFileError."""
        try:
            status = self._path.stat()
        except OSError as error:
            raise KeyFileError(f"the file of keys cannot be read: {error}") from error
        stamp = (status.st_mtime_ns, status.st_ino)
        if stamp != self._stamp:
            self._keys, self._stamp = _read(self._path), stamp
        return self._keys

    @property
    def principal(self) -> str:
        """Who can read the file: its owner."""
        try:
            return f"uid:{self._path.stat().st_uid}"
        except OSError as error:
            raise KeyFileError(f"the file of keys cannot be read: {error}") from error


def create_key_file(path: Path, key_ids: Iterable[str]) -> bool:
    """Make a file of new keys; False, and nothing is changed, if it is there."""
    keys = {key_id: FileKey(True, secrets.token_bytes(KEY_BYTES)) for key_id in key_ids}
    return create_secret_file(path, key_lines(keys))


def write_key_file(path: Path, keys: Mapping[str, FileKey]) -> None:
    """Put these keys in the place of those in the file."""
    replace_secret_file(path, key_lines(keys))


def key_lines(keys: Mapping[str, FileKey]) -> list[str]:
    """Write keys as a file or a secret has them, a line each."""
    return [
        f"{key_id} {'enabled' if key.enabled else 'disabled'} "
        f"{base64.b64encode(key.secret).decode()}\n"
        for key_id, key in keys.items()
    ]


def _read(path: Path) -> Mapping[str, FileKey]:
    try:
        content = read_secret_file(path)
    except SecretFileError as error:
        raise KeyFileError(str(error)) from error
    return keys_of(content, str(path))


def keys_of(content: bytes, source: str) -> Mapping[str, FileKey]:
    """Read keys by id. Raises KeyFileError, which names the source and no key."""
    keys: dict[str, FileKey] = {}
    for number, line in enumerate(content.splitlines(), start=1):
        words = line.decode("ascii", "replace").split()
        if not words or words[0].startswith("#"):
            continue
        key = _key(words)
        if key is None or words[0] in keys:
            problem = "is not a new key id, enabled or disabled, and base64 of 32 bytes"
            raise KeyFileError(f"{source}: line {number} {problem}")
        keys[words[0]] = key
    if not keys:
        raise KeyFileError(f"{source}: holds no key")
    return keys


def _key(words: list[str]) -> FileKey | None:
    if len(words) != _WORDS or not _KEY_ID.fullmatch(words[0]):
        return None
    if words[1] not in ("enabled", "disabled"):
        return None
    try:
        secret = base64.b64decode(words[2], validate=True)
    except binascii.Error:
        return None
    return FileKey(words[1] == "enabled", secret) if len(secret) == KEY_BYTES else None


def process_owner() -> str:
    """Name the user that this process runs as, as ``KeyFile.principal`` does an owner."""
    return f"uid:{os.geteuid()}"
