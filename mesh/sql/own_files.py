"""Files and folders of data that are their owner's alone, whatever the umask was."""

import logging
import os
import stat
from collections.abc import Iterable
from pathlib import Path

_LOG = logging.getLogger(__name__)
OTHERS = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class OpenToOthers(ValueError):
    """A file of data that others may read, and that cannot be closed to them."""


def close_to_others(files: Iterable[Path]) -> None:
    """Take others' rights on files away, and log whose were; those that are missing are passed.

    Raises OpenToOthers for a file that belongs to somebody else.
    """
    for file in files:
        try:
            mode = stat.S_IMODE(file.stat().st_mode)
            if not mode & OTHERS:
                continue
            file.chmod(mode & ~OTHERS)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise OpenToOthers(
                f"{file}: others may use this file (mode {mode:04o}), and it cannot be made its "
                f"owner's alone: {error.strerror}"
            ) from error
        _LOG.warning(
            "others could use a file of data: it is its owner's alone now",
            extra={"fields": {"file": str(file), "mode": f"{mode:04o}"}},
        )


def make_folder(folder: Path) -> None:
    """Make a folder of mode 0700 if it is missing; log a warning if others may write in one."""
    was_there = folder.is_dir()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if was_there:
        warn_of_folder(folder)


def warn_of_folder(folder: Path) -> None:
    """Log a warning if others may replace the files of a folder."""
    try:
        mode = folder.stat().st_mode
    except OSError:
        return
    # In a sticky folder everyone's files are their own.
    if mode & _OTHERS_WRITE and not mode & stat.S_ISVTX:
        _LOG.warning(
            "others may write in a folder of data: it should be of mode 0700",
            extra={"fields": {"folder": os.fspath(folder), "mode": f"{stat.S_IMODE(mode):04o}"}},
        )
