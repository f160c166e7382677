"""Writes entries into the database: COPY straight into the parts, as the role that appends."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from itertools import groupby
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.crypto.audit.copy_form import LISTED, copied
from services.crypto.audit.parts import part_of
from services.crypto.audit.sealing import Stored, segment_of
from services.crypto.tables import AUDIT_CHECKPOINTS

SECONDS = 10.0
"""Longest wait for one COPY; whether it was done is not known then."""
_NEWEST = sa.select(AUDIT_CHECKPOINTS.c.note).order_by(AUDIT_CHECKPOINTS.c.size.desc()).limit(1)


class AppendRefused(Exception):
    """The database took none of the entries."""


class AppendInDoubt(Exception):
    """The database may have taken the entries: the connection ended before it said so."""


class AppendStore:
    """The table of entries, as who may only add to it."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def newest_checkpoint(self) -> str:
        """Give the newest checkpoint, empty if there is none; AppendRefused."""
        try:
            async with self._engine.connect() as connection:
                return await connection.scalar(_NEWEST) or ""
        except (sa.exc.DBAPIError, sa.exc.TimeoutError, OSError) as error:
            raise AppendRefused(str(error)) from error

    async def append(self, entries: Sequence[Stored]) -> None:
        """Add entries, all or none, durable on return; AppendRefused, AppendInDoubt."""
        # Their moments never fall: all are of one month if the ends are.
        ends = {segment_of(entries[at].entry.accessed_at) for at in (0, -1)}
        try:
            connection = await self._engine.connect()
            if len(ends) == 1:
                # One COPY is a transaction by itself, and takes two trips to the server less.
                await connection.execution_options(isolation_level="AUTOCOMMIT")
        except (sa.exc.DBAPIError, sa.exc.TimeoutError, OSError) as error:
            raise AppendRefused(str(error)) from error
        driver = await _driver(connection)
        try:
            async with asyncio.timeout(SECONDS), _transaction(driver):
                await copy_entries(driver, entries)
        except (psycopg.Error, TimeoutError) as error:
            if driver.broken or driver.closed or isinstance(error, TimeoutError):
                await connection.invalidate()
                raise AppendInDoubt(str(error)) from error
            raise AppendRefused(str(error)) from error
        finally:
            await connection.close()


def _transaction(driver: "psycopg.AsyncConnection[Any]") -> AbstractAsyncContextManager[Any]:
    return nullcontext() if driver.autocommit else driver.transaction()


async def append_within(connection: AsyncConnection, entries: Sequence[Stored]) -> None:
    """Add entries in a transaction of the caller, who may write all of the audit."""
    await copy_entries(await _driver(connection), entries)


async def copy_entries(driver: "psycopg.AsyncConnection[Any]", entries: Sequence[Stored]) -> None:
    """Copy entries within the transaction that is open."""
    for segment, of_segment in groupby(
        entries, key=lambda each: segment_of(each.entry.accessed_at)
    ):
        statement = f"COPY {part_of(segment)} ({LISTED}) FROM STDIN (FORMAT BINARY)"
        async with driver.cursor() as cursor, cursor.copy(statement) as copy:
            await copy.write(copied(of_segment))


async def _driver(connection: AsyncConnection) -> "psycopg.AsyncConnection[Any]":
    raw = await connection.get_raw_connection()
    found: Any = raw.driver_connection
    driver: psycopg.AsyncConnection[Any] = found
    return driver
