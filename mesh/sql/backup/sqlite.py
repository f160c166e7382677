"""Copies of a SQLite store, by SQLite's online backup API in both directions."""

import secrets
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from mesh.sql.backup.errors import BackupBroken, BackupProblem
from mesh.sql.backup.progress import Phase, Progress
from mesh.sql.change_table import (
    CHANGES,
    EPOCH,
    EPOCH_BYTES,
    FLOORS,
    SEQUENCE,
    TENANT,
    TRANSACTION,
)

STEP_PAGES = 256
"""Pages copied between two looks at whether to go on."""
_WAIT_SECONDS = 15.0
"""Longest wait for another writer."""


class SqliteDump:
    """Copies a file that others read and write meanwhile.

    The copy is one snapshot. A restore is one transaction of the live file: until its
    commit all readers see the old store, afterwards the new one, and a killed process
    leaves what was committed last.
    """

    def __init__(self, path: Path, tables: Sequence[str]) -> None:
        self._path = path
        self._tables = tables

    def dump(self, target: Path, progress: Progress) -> dict[str, int]:
        """Write the store to a file that exists and is empty; give the rows by table."""
        progress.enter(Phase.WRITING)
        try:
            with closing(_open(self._path, "ro")) as source, closing(_open(target, "rw")) as copy:
                # The snapshot is held from the first read on, so that writers do not
                # make the copy begin anew.
                source.execute("BEGIN")
                rows = _count(source, self._tables)
                source.backup(copy, pages=STEP_PAGES, progress=_told(progress))
                # One file, without a log beside it.
                copy.execute("PRAGMA journal_mode=DELETE")
        except sqlite3.Error as error:
            raise BackupProblem(_words(error)) from error
        return rows

    def inspect(self, file: Path, progress: Progress) -> dict[str, int]:
        """Read a backup whole and give its rows by table; BackupBroken."""
        progress.enter(Phase.CHECKING)
        try:
            with closing(_open(file, "ro", immutable=True)) as copy:
                copy.set_progress_handler(_goes_on(progress), 1_000_000)
                for [problem] in copy.execute("PRAGMA integrity_check(1)"):
                    if problem != "ok":
                        raise BackupBroken("the database in it is damaged")
                return _count(copy, self._tables)
        except sqlite3.Error as error:
            raise BackupBroken(f"it cannot be read: {_words(error)}") from error

    def load(self, file: Path, rows: dict[str, int], progress: Progress) -> None:
        """Replace the live store by a backup with these rows; all of it or nothing."""
        progress.enter(Phase.RESTORING)
        try:
            with (
                closing(_open(file, "ro", immutable=True)) as source,
                closing(_open(self._path, "rw")) as live,
            ):
                # The commit must survive a power cut, not only the process.
                live.execute("PRAGMA synchronous=FULL")
                if _count(source, self._tables) != rows:
                    raise BackupBroken("its rows are not those that were written")
                source.backup(live, pages=STEP_PAGES, progress=_told(progress), sleep=0.05)
                if CHANGES in self._tables:
                    _begin_epoch(live)
                # Readers of the old state may hold the log: it is only trimmed if they let it.
                live.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error as error:
            raise BackupProblem(_words(error)) from error


def _begin_epoch(live: sqlite3.Connection) -> None:
    """Let the revisions of before the restore, whose numbers come again, be of another epoch."""
    columns = {row[1] for row in live.execute(f"PRAGMA table_info({FLOORS})")}
    if EPOCH not in columns:
        # A file of before there were epochs; it is to be migrated first.
        return
    epoch = secrets.token_hex(EPOCH_BYTES)
    live.execute(
        f"INSERT INTO {FLOORS} ({TENANT}, {TRANSACTION}, {SEQUENCE}, {EPOCH}) "  # noqa: S608  # names of the feed
        f"SELECT DISTINCT {TENANT}, 0, 0, ? FROM {CHANGES} WHERE true "
        f"ON CONFLICT ({TENANT}) DO NOTHING",
        [epoch],
    )
    live.execute(f"UPDATE {FLOORS} SET {EPOCH} = ?", [epoch])  # noqa: S608  # names of the feed


def _open(path: Path, mode: str, *, immutable: bool = False) -> sqlite3.Connection:
    # Without it SQLite would look for a log beside the backup.
    fixed = "&immutable=1" if immutable else ""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}{fixed}",
        uri=True,
        timeout=_WAIT_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )


def _count(connection: sqlite3.Connection, tables: Sequence[str]) -> dict[str, int]:
    # Names of tables come from the contract, never from callers.
    return {
        table: connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]  # noqa: S608  # see above
        for table in tables
    }


def _told(progress: Progress) -> Callable[[int, int, int], None]:
    def step(_status: int, remaining: int, total: int) -> None:
        progress.move(total - remaining, total)

    return step


def _goes_on(progress: Progress) -> Callable[[], int]:
    return lambda: int(progress.stopped)


def _words(error: sqlite3.Error) -> str:
    return str(getattr(error, "sqlite_errorname", None) or type(error).__name__)
