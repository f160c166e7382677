"""SQLite as an engine: one file, one writer at a time, readers beside it."""

import os
import shutil
import sqlite3
import tempfile
import weakref
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from mesh.sql.settings import WRITE, Pool

_PRAGMAS = (
    # Milliseconds to wait for a writer in another process.
    "busy_timeout=15000",
    # Readers do not wait for the writer.
    "journal_mode=WAL",
    # A power cut may cost the last commits, never the file; a killed process costs nothing.
    "synchronous=NORMAL",
    "foreign_keys=ON",
)


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
        pool_size=pool.size,
        max_overflow=pool.overflow,
        pool_timeout=pool.wait_seconds,
    )
    if scratch is not None:
        weakref.finalize(engine.sync_engine, shutil.rmtree, scratch, ignore_errors=True)
    target = engine.sync_engine
    sa.event.listen(target, "do_connect", _make_private)
    sa.event.listen(target, "connect", _configure)
    sa.event.listen(target, "begin", _begin)
    return engine


def _make_private(_dialect: Any, _record: Any, arguments: list[Any], _named: Any) -> None:
    """Create the file for its owner alone, before the driver starts a thread for it."""
    try:
        os.close(os.open(arguments[0], os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise sqlite3.OperationalError("the database file cannot be opened") from error


def _configure(connection: Any, _record: Any) -> None:
    try:
        # The driver must not begin transactions by itself: see _begin.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in _PRAGMAS:
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
