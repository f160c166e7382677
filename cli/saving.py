"""Documents in files of the user's."""

import os
import shutil
from pathlib import Path
from uuid import uuid4


def save(path: Path, data: bytes) -> None:
    """Write a document to a file, which is whole or as it was; OSError names the file."""
    place = path.resolve()
    try:
        if place.exists() and not place.is_file():
            place.write_bytes(data)  # a pipe or a terminal has nothing to keep
            return
        partial = place.with_name(f".{place.name[:100]}.{uuid4().hex}")
        try:
            partial.touch(mode=0o600)
            partial.write_bytes(data)
            _keep_mode(place, partial)
            partial.replace(place)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def _keep_mode(old: Path, new: Path) -> None:
    """Let a file be read by whom the one before it could be, or as any new file."""
    if old.exists():
        shutil.copymode(old, new)
        return
    mask = os.umask(0)
    os.umask(mask)
    new.chmod(0o666 & ~mask)
