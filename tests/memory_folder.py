"""A folder in memory, for what writes many small files and nobody wants to keep.

A new database is nine hundred files: a disk that others write to took up to thirty times as long.
"""

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")  # noqa: S108  # folders made in it have names of chance
ENOUGH = 8 << 30
"""Bytes that must be free there, and of the machine's memory."""
PREFIX = "secmesh-test-"
_held: list[int] = []
"""Locks of the folders of this process, until it ends however it ends."""


def quick_folder(memory: Path = MEMORY, enough: int = ENOUGH) -> Path:
    """Make a folder in memory if there is plenty of it, else where temporary files lie.

    What killed processes left in memory is removed: nobody else would before the next start.
    """
    if not memory.is_dir() or min(shutil.disk_usage(memory).free, _available()) < enough:
        return Path(tempfile.mkdtemp(prefix=PREFIX))
    turn = os.open(memory, os.O_RDONLY)
    try:
        fcntl.flock(turn, fcntl.LOCK_EX)
        for left in memory.glob(f"{PREFIX}*"):
            _remove_unless_held(left)
        made = Path(tempfile.mkdtemp(prefix=PREFIX, dir=memory))
        _held.append(os.open(made, os.O_RDONLY))
        fcntl.flock(_held[-1], fcntl.LOCK_EX)
    finally:
        os.close(turn)
    return made


def _remove_unless_held(folder: Path) -> None:
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    else:
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


def _available() -> int:
    """Give the bytes of memory that programs can still have; none where Linux does not tell."""
    told = Path("/proc/meminfo")
    for line in told.read_text().splitlines() if told.exists() else ():
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            return int(rest.split()[0]) << 10
    return 0
