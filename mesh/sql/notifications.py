"""What transactions of PostgreSQL announce when they commit (NOTIFY), heard by a process."""

import asyncio
from collections.abc import AsyncIterator

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from mesh.sql.iam_password import signed


async def announce(connection: AsyncConnection, channel: str, said: str) -> None:
    """Tell all who listen, once the transaction is committed."""
    await connection.execute(sa.select(sa.func.pg_notify(channel, said)))


async def notifications(engine: AsyncEngine, channel: str) -> AsyncIterator[str | None]:
    """Give None once the process listens, then what each announcement says.

    On a connection of its own; raises psycopg.Error when that is lost.
    """
    import psycopg  # takes a while to load, and SQLite needs none of it

    url = await asyncio.to_thread(signed, engine.url.set(drivername="postgresql"))
    _, parts = url.get_dialect()().create_connect_args(url)
    async with await psycopg.AsyncConnection.connect(**parts, autocommit=True) as connection:
        await connection.execute(f"LISTEN {channel}")
        yield None
        async for each in connection.notifies():
            yield each.payload
