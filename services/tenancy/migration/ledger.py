"""How far each row of a migration is: a file that outlasts interruptions, without any secret."""

import fcntl
import os
import sqlite3
from collections.abc import Mapping
from enum import Enum
from pathlib import Path

_TABLE = """
CREATE TABLE IF NOT EXISTS ledger (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    state TEXT NOT NULL,
    digest TEXT NOT NULL DEFAULT '',
    problem TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (kind, id)
) WITHOUT ROWID
"""
_PLACE = "CREATE TABLE IF NOT EXISTS place (name TEXT NOT NULL)"
_PUT = """
INSERT INTO ledger (kind, id, state, digest, problem) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (kind, id) DO UPDATE
SET state = excluded.state, problem = excluded.problem,
    digest = CASE excluded.digest WHEN '' THEN digest ELSE excluded.digest END
"""


class State(Enum):
    """How far a row is, in this order."""

    EXPORTED = "exported"
    """It was read from the old database."""
    DECRYPTED = "decrypted"
    """Its secret was opened, and the digest of it is known."""
    WRITTEN = "written"
    VERIFIED = "verified"
    """It was read again from where it was written, and is the same."""
    REFUSED = "refused"
    """It cannot be migrated as it is; the problem says why. It is tried again by each run."""


class LedgerUnfit(Exception):
    """A file that cannot be the ledger of this run; the message says why."""


class Ledger:
    """Each entry outlasts the process when its method returns.

    What a power failure takes of the last ones is done once more, which changes nothing.
    """

    def __init__(self, path: Path, place: str = "") -> None:
        """Open or make the file, of its owner alone; LedgerUnfit.

        ``place`` names where rows go to: what one place has says nothing of another.
        """
        # Two processes would write twice as fast as they may. It ends with its process.
        self._lock = os.open(path.with_name(f"{path.name}-lock"), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            self._connection = _opened(path, self._lock)
        except LedgerUnfit:
            os.close(self._lock)
            raise
        found = self._connection.execute("SELECT name FROM place").fetchone()
        if found is None:
            self._connection.execute("INSERT INTO place VALUES (?)", (place,))
        elif found[0] != place:
            self.close()
            raise LedgerUnfit(f"{path} is the ledger of another place: {found[0]}")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
        os.close(self._lock)

    def forget_refused(self) -> None:
        """Forget what was refused: it is tried again, unless the old system has it no more."""
        self._connection.execute("DELETE FROM ledger WHERE state = ?", (State.REFUSED.value,))

    def state(self, kind: str, identity: str) -> State | None:
        """Tell how far a row is; None if it was never seen."""
        found = self._entry(kind, identity)
        return None if found is None else State(found[0])

    def digest(self, kind: str, identity: str) -> str:
        """Give the digest of a row's secret; empty if none is known."""
        found = self._entry(kind, identity)
        return "" if found is None else found[1]

    def put(
        self, kind: str, identity: str, state: State, *, digest: str = "", problem: str = ""
    ) -> None:
        """Note how far a row is; a digest that is known stays."""
        self._connection.execute(_PUT, (kind, identity, state.value, digest, problem))

    def counts(self) -> Mapping[tuple[str, State], int]:
        """Count rows by kind and state."""
        found = self._connection.execute("SELECT kind, state, count(*) FROM ledger GROUP BY 1, 2")
        return {(kind, State(state)): number for kind, state, number in found}

    def problems(self) -> list[tuple[str, str, str]]:
        """Give kind, id and problem of what was refused."""
        statement = "SELECT kind, id, problem FROM ledger WHERE state = ? ORDER BY 1, 2"
        return list(self._connection.execute(statement, (State.REFUSED.value,)))

    def _entry(self, kind: str, identity: str) -> tuple[str, str] | None:
        statement = "SELECT state, digest FROM ledger WHERE kind = ? AND id = ?"
        found: tuple[str, str] | None = self._connection.execute(
            statement, (kind, identity)
        ).fetchone()
        return found


def _opened(path: Path, lock: int) -> sqlite3.Connection:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LedgerUnfit(f"{path} is in use by another process") from None
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    try:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(_TABLE)
        connection.execute(_PLACE)
    except sqlite3.DatabaseError:
        raise LedgerUnfit(f"{path} is no ledger") from None
    return connection
