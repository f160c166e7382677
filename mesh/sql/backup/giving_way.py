"""Restores give way to those who write: a writer that waits for one is never ended for it.

Both lock many tables or rows one after another. Of those that wait for each other PostgreSQL ends
one after ``deadlock_timeout``, a second; a restore whose waits are all much shorter lets go first.
"""

import time

import psycopg
from psycopg import sql
from psycopg.errors import DeadlockDetected, LockNotAvailable

IN_THE_WAY = (DeadlockDetected, LockNotAvailable)
"""What a restore meets that is to let go."""
LOCK_WAIT = "15s"
"""Longest wait for another restore."""
_SHORT_WAIT = "150ms"
_PAUSE_SECONDS = 0.1
"""In which writers go on."""
PATIENCE_SECONDS = 30.0
"""After which a restore that finds no gap is given up."""


class Gap:
    """The time in which a restore looks for a gap between writers."""

    def __init__(self) -> None:
        self._deadline = time.monotonic() + PATIENCE_SECONDS

    def wait(self) -> bool:
        """Let writers go on; tell whether to try again."""
        if time.monotonic() > self._deadline:
            return False
        time.sleep(_PAUSE_SECONDS)
        return True


def wait_shortly(connection: psycopg.Connection) -> None:
    """Let each wait for a lock be short, to the end of the transaction."""
    connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(_SHORT_WAIT))


def lock_tables(connection: psycopg.Connection, names: sql.Composable) -> None:
    """Let writers of tables wait, and not their readers; psycopg.Error if there is no gap."""
    gap = Gap()
    while True:
        try:
            # A savepoint: what was locked of several tables is let go if one cannot be.
            with connection.transaction():
                wait_shortly(connection)
                connection.execute(sql.SQL("LOCK TABLE {} IN EXCLUSIVE MODE").format(names))
        except IN_THE_WAY:
            if not gap.wait():
                raise
        else:
            return
