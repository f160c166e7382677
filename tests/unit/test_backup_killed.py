"""A process that is killed while it backs up or restores leaves one whole store."""

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from mesh.sql.backup.folder import BackupFolder
from mesh.sql.backup.progress import Progress
from mesh.sql.backup.sqlite import SqliteDump

ROWS = 4000
ACT = """
import os, signal, sys
from pathlib import Path
from mesh.sql.backup import sqlite
from mesh.sql.backup.progress import Progress

class Killed(Progress):
    steps = int(sys.argv[4])
    def move(self, done, total):
        Killed.steps -= 1
        if not Killed.steps:
            os.kill(os.getpid(), signal.SIGKILL)

sqlite.STEP_PAGES = 8
dump = sqlite.SqliteDump(Path(sys.argv[2]), ["t"])
if sys.argv[1] == "dump":
    dump.dump(Path(sys.argv[3]), Killed())
else:
    dump.load(Path(sys.argv[3]), {"t": int(sys.argv[5])}, Killed())
"""


def fill(path: Path, word: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, word TEXT)")
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO t (word) VALUES (?)", [(word * 50,)] * ROWS)
        connection.execute("COMMIT")


def words(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (ROWS,)
        return {row[0][:3] for row in connection.execute("SELECT DISTINCT word FROM t")}


def act(what: str, live: Path, other: Path, steps: int) -> int:
    arguments = [sys.executable, "-c", ACT, what, str(live), str(other), str(steps), str(ROWS)]
    return subprocess.run(arguments, check=False, timeout=60).returncode


@pytest.mark.parametrize("steps", [1, 2, 15])
def test_a_killed_restore_leaves_the_old_store(tmp_path: Path, steps: int) -> None:
    live, source, copy = (tmp_path / name for name in ("live.db", "source.db", "copy.db"))
    fill(live, "old")
    fill(source, "new")
    copy.touch()
    SqliteDump(source, ["t"]).dump(copy, Progress())
    assert act("load", live, copy, steps) == -signal.SIGKILL
    assert words(live) == {"old"}
    # Nothing is in the way of another try.
    SqliteDump(live, ["t"]).load(copy, {"t": ROWS}, Progress())
    assert words(live) == {"new"}


def test_a_killed_backup_counts_as_nothing(tmp_path: Path) -> None:
    live = tmp_path / "live.db"
    fill(live, "old")
    folder = BackupFolder(tmp_path / "backups")
    with folder.locked():
        partial = folder.partial("20260101t000000-00000000")
    assert act("dump", live, partial, 2) == -signal.SIGKILL
    assert partial.exists()
    assert folder.all() == []
    # Data without a manifest is what a process killed between the two leaves.
    orphan = folder.path / "20260101t000000-00000001.backup"
    orphan.touch()
    with folder.locked():
        assert not partial.exists()
        assert not orphan.exists()
    assert words(live) == {"old"}


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    code = (
        "import sys, os, signal; from pathlib import Path\n"
        "from mesh.sql.backup.folder import BackupFolder\n"
        "with BackupFolder(Path(sys.argv[1])).locked(): os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    with BackupFolder(tmp_path).locked():
        assert (tmp_path / ".lock").exists()
