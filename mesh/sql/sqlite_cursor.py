"""One statement, one trip to the thread of its SQLite connection.

aiosqlite keeps a thread for each connection. SQLAlchemy's adapter asks it for a cursor, the
execution, the rows and the end one by one, and each trip there and back costs more than most
statements.
"""

import sqlite3
from collections import deque
from collections.abc import Sequence
from typing import Any

from sqlalchemy.dialects.sqlite.aiosqlite import (
    AsyncAdapt_aiosqlite_connection,
    AsyncAdapt_aiosqlite_cursor,
)


class _Outcome:
    """What is known of a statement that was executed."""

    __slots__ = ("arraysize", "description", "lastrowid", "rowcount")

    def __init__(self, cursor: sqlite3.Cursor | None = None) -> None:
        self.description = None if cursor is None else cursor.description
        self.lastrowid = None if cursor is None else cursor.lastrowid
        self.rowcount = -1 if cursor is None else cursor.rowcount
        self.arraysize = 1

    def close(self) -> None:
        """Do nothing: SQLite's cursor was closed as its rows were read."""


class SingleTripCursor(AsyncAdapt_aiosqlite_cursor):
    """Executes, reads the rows and closes in one trip."""

    __slots__ = ()
    _awaitable_cursor_close = False

    def _make_new_cursor(self, _connection: Any) -> Any:
        return _Outcome()

    def _aenter_cursor(self, cursor: Any) -> Any:
        return cursor

    async def _execute_async(self, operation: Any, parameters: Any) -> None:
        await self._taken(_execute, operation, () if parameters is None else parameters)

    async def _executemany_async(self, operation: Any, seq_of_parameters: Any) -> None:
        await self._taken(_execute_many, operation, seq_of_parameters)

    async def _taken(self, what: Any, operation: Any, parameters: Any) -> None:
        connection: Any = self._connection
        told: Any
        async with self._adapt_connection._execute_mutex:
            # The driver has no public way to run several steps in its thread at once.
            told = await connection._execute(what, connection._conn, operation, parameters)
        self._cursor, self._rows = told


class SingleTripConnection(AsyncAdapt_aiosqlite_connection):
    """A connection with such cursors."""

    __slots__ = ()
    _cursor_cls = SingleTripCursor


def connect(dialect: Any, _record: Any, arguments: Sequence[Any], options: Any) -> Any:
    """Make a connection, as SQLAlchemy's event ``do_connect`` asks for it."""
    dbapi = dialect.loaded_dbapi
    made = dbapi.connect(*arguments, **options)
    return SingleTripConnection(dbapi, made.driver_connection)


def _execute(
    connection: sqlite3.Connection, operation: str, parameters: Any
) -> tuple[_Outcome, deque[Any]]:
    cursor = connection.cursor()
    try:
        cursor.execute(operation, parameters)
        rows = deque(cursor.fetchall()) if cursor.description else deque[Any]()
        return _Outcome(cursor), rows
    finally:
        cursor.close()


def _execute_many(
    connection: sqlite3.Connection, operation: str, parameters: Any
) -> tuple[_Outcome, deque[Any]]:
    cursor = connection.cursor()
    try:
        cursor.executemany(operation, parameters)
        return _Outcome(cursor), deque()
    finally:
        cursor.close()
