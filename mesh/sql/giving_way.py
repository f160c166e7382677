"""Changes of tables that are in use: they give way to callers, and are tried again.

A change locks several tables one after another, and so do callers. Of those that wait for each
other PostgreSQL ends one once it has waited for ``deadlock_timeout``, a second: a caller, if that
one began to wait first. A change whose waits are all much shorter is never waited for so long.
"""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.sql.engine import lock_schema
from mesh.sql.postgres import DEADLOCK, LOCKED, sqlstate

_WAIT_MILLISECONDS = 150
"""For each lock."""
_PAUSE_SECONDS = 0.1
"""In which callers go on who waited meanwhile."""
_PATIENCE_SECONDS = 30.0
"""After which whoever asked for the change is told that the store does not answer."""
T = TypeVar("T")


async def giving_way(connection: AsyncConnection, change: Callable[[sa.Connection], T]) -> T:
    """Make a change in a transaction of its own, one at a time over all processes.

    Raises sqlalchemy.exc.DBAPIError if the tables are in use for too long.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            async with connection.begin():
                await connection.run_sync(_begin)
                return await connection.run_sync(change)
        except sa.exc.DBAPIError as error:
            if sqlstate(error) not in (LOCKED, DEADLOCK) or time.monotonic() > deadline:
                raise
        await asyncio.sleep(_PAUSE_SECONDS)


def _begin(connection: sa.Connection) -> None:
    # Other changes are waited for as long as it takes: they are no callers.
    lock_schema(connection)
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {_WAIT_MILLISECONDS}")
