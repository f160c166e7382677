"""Files of secrets: their owner's alone, and never seen half written."""

import os
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path

OTHERS = stat.S_IRWXG | stat.S_IRWXO
LONGEST = 65_536
"""Bytes of a file of keys."""


class SecretFileError(ValueError):
    """A file of secrets that cannot be read or is not its owner's alone; names no secret."""


def read_secret_file(path: Path) -> bytes:
    """Read a file of at most ``LONGEST`` bytes, of mode 0600 or less. Raises SecretFileError."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(LONGEST + 1)
    except OSError as error:
        raise SecretFileError(f"the file of keys cannot be read: {error}") from error
    if not stat.S_ISREG(mode) or mode & OTHERS:
        raise SecretFileError(f"{path}: must be a file of mode 0600, its owner's alone")
    if len(content) > LONGEST:
        raise SecretFileError(f"{path}: is longer than {LONGEST} bytes")
    return content


def create_secret_file(path: Path, lines: Iterable[str]) -> bool:
    """Make a file of mode 0600; False, and nothing is changed, if it is there."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = _drafted(path, lines)
    try:
        # Linked into place when it is whole: no other process ever reads half of it.
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink(missing_ok=True)
    return True


def replace_secret_file(path: Path, lines: Iterable[str]) -> None:
    """Put another file of mode 0600 in its place."""
    draft = _drafted(path, lines)
    try:
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _drafted(path: Path, lines: Iterable[str]) -> Path:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
    return draft
