"""SQLite as an engine: one file, one writer at a time, readers beside it."""

import os
import shutil
import sqlite3
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from mesh.sql.own_files import OpenToOthers, close_to_others, warn_of_folder
from mesh.sql.pool import SparingPool
from mesh.sql.settings import WRITE, EngineUrlError, Pool
from mesh.sql.sqlite_cursor import connect

_PRAGMAS = (
    # Milliseconds to wait for a writer in another process.
    "busy_timeout=15000",
    # Readers do not wait for the writer.
    "journal_mode=WAL",
    # A power cut may cost the last commits, never the file; a killed process costs nothing.
    "synchronous=NORMAL",
    # KiB for each of many connections; what they read again is in the kernel's cache.
    "cache_size=-512",
    "foreign_keys=ON",
)
_KEPT = 3
"""Connections kept, for a writer, an evaluation and a reader; each parses the whole schema."""
_BESIDE = ("", "-wal", "-shm", "-journal")
"""What SQLite adds to the name of a database for the files beside it."""


def open_sqlite(url: sa.URL, pool: Pool) -> AsyncEngine:
    """Open a file, or without a name a scratch database of this process."""
    scratch = None
    if not url.database or url.database == ":memory:":
        scratch = tempfile.mkdtemp(prefix="secmesh-")
        url = url.set(database=str(Path(scratch) / "scratch.db"))
    engine = create_async_engine(
        url.set(drivername="sqlite+aiosqlite"),
        # Parameters hold tenants' data: they stay out of every error text.
        hide_parameters=True,
        poolclass=SparingPool,
        pool_logging_name=pool.name,
        pool_size=min(pool.size, _KEPT),
        max_overflow=pool.size + pool.overflow - min(pool.size, _KEPT),
        pool_timeout=pool.wait_seconds,
    )
    if scratch is not None:
        weakref.finalize(engine.sync_engine, shutil.rmtree, scratch, ignore_errors=True)
    target = engine.sync_engine
    file = _File(str(url.database))
    sa.event.listen(target, "do_connect", file.prepare)
    sa.event.listen(target, "do_connect", connect)
    sa.event.listen(target, "connect", _configure if pool.reads_tables else _make_bare)
    sa.event.listen(target, "connect", file.note)
    sa.event.listen(target, "checkout", file.require_same)
    sa.event.listen(target, "begin", _begin)
    return engine


class _File:
    """The file of a database: made once, and never written to after it was taken away.

    SQLite goes on writing to a file that was removed or replaced, and all of it is lost.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._made = False

    def prepare(self, *_: Any) -> None:
        """Create the file for its owner alone, before the driver starts a thread for it."""
        create = 0 if self._made else os.O_CREAT
        try:
            os.close(os.open(self._path, create | os.O_RDWR, 0o600))
        except OSError as error:
            raise sqlite3.OperationalError("the database file cannot be opened") from error
        if not self._made:
            self._close_to_others()
        self._made = True

    def _close_to_others(self) -> None:
        """Take others' rights away that a copy or a tool left; EngineUrlError if it cannot be."""
        try:
            # SQLite makes the files beside it with the rights of the database.
            close_to_others(self._path.with_name(self._path.name + each) for each in _BESIDE)
        except OpenToOthers as error:
            raise EngineUrlError(str(error)) from error
        warn_of_folder(self._path.parent)

    def note(self, _connection: Any, record: Any) -> None:
        record.info["file"] = self._identity()

    def require_same(self, _connection: Any, record: Any, _proxy: Any) -> None:
        """Have the pool open the file anew if it is not the one this connection has."""
        if record.info.get("file") != self._identity():
            raise sa.exc.DisconnectionError("the database file is another")

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino


def _configure(connection: Any, _record: Any) -> None:
    _make_ready(connection, _PRAGMAS)


def _make_bare(connection: Any, _record: Any) -> None:
    _make_ready(connection, ())


def _make_ready(connection: Any, pragmas: Sequence[str]) -> None:
    try:
        # The driver must not begin transactions by itself: see _begin.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()
    except BaseException:
        # The pool does not know the connection yet, so nothing else would end its thread.
        connection.close()
        raise


def _begin(connection: sa.Connection) -> None:
    """Take the write lock at once, so that no transaction fails half-way for want of it."""
    write = connection.get_execution_options().get(WRITE, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def violated_check(error: sa.exc.IntegrityError) -> str | None:
    """Give the name of the CHECK (or ``table.column`` of the NOT NULL) that a row breaks."""
    return _after(error, "CHECK constraint failed: ") or _after(
        error, "NOT NULL constraint failed: "
    )


def violates_unique(error: sa.exc.IntegrityError) -> bool:
    """Tell whether a row exists already under the same key."""
    return _after(error, "UNIQUE constraint failed: ") is not None


def violates_reference(error: sa.exc.IntegrityError) -> bool:
    """Tell whether a row refers to none, or is still referred to."""
    return _after(error, "FOREIGN KEY constraint failed") is not None


def _after(error: sa.exc.IntegrityError, prefix: str) -> str | None:
    text = str(error.orig)
    return text.removeprefix(prefix) if text.startswith(prefix) else None
