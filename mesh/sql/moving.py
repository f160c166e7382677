"""Moves a whole store from SQLite into an empty PostgreSQL database.

Nobody writes the source meanwhile: its one place for a writer is held. Rows go over table by table
in the order of their keys, some hundred in a transaction that notes them in a ledger beside them,
so that a move which was killed goes on where it was; what was noted is compared with the source
first. In the end both stores are read whole: rows and digests of content must agree, table by
table. Until then nobody can serve the target.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from mesh.sql.change_table import CHANGES, FLOORS
from mesh.sql.content_digest import RowDigest
from mesh.sql.copying import stage
from mesh.sql.engine import POSTGRESQL, SQLITE, WRITE, translated
from mesh.sql.members import MEMBER_OF
from mesh.sql.moving_ledger import Copied, copied, drop_ledger, lock_target, make_ledger, note
from mesh.sql.moving_target import prepare_target, require_current, require_room
from mesh.sql.references import TENANT
from mesh.sql.settings import SILENT
from mesh.sql.tables import Tables

CHUNK = 500
"""Rows that are copied in one transaction."""
Told = Callable[[str, int], None]
"""Hears of a table that was copied and verified, and of its rows."""
Guard = Callable[[AsyncConnection], Awaitable[None]]
"""Reads the source, and raises if it must not be moved now."""


class MoveRefused(Exception):
    """A store was not moved, or not to its end; the message says why, without data."""


class Move:
    """A move of one store; the engines are disposed of by the caller."""

    def __init__(self, source: AsyncEngine, target: AsyncEngine, tables: Tables) -> None:
        """MoveRefused for other databases than SQLite and PostgreSQL, in this order."""
        if (source.dialect.name, target.dialect.name) != (SQLITE, POSTGRESQL):
            raise MoveRefused("a store is moved from SQLite to PostgreSQL")
        self._source = source
        self._target = target
        self._tables = tables
        # Tables of values are filled by the triggers of those that they belong to. The feed of
        # changes begins anew: its places are numbered by transactions of its own database.
        self._moved = [
            each
            for each in tables.metadata.sorted_tables
            if MEMBER_OF not in each.info and each.name not in (CHANGES, FLOORS)
        ]

    async def count(self, guard: Guard) -> dict[str, int]:
        """Tell how many rows of which table would be moved, and write nothing. MoveRefused."""
        await self._reach_target()
        async with self._held(guard) as source:
            async with self._target.connect() as target:
                if problem := await target.run_sync(require_room, self._tables):
                    raise MoveRefused(problem)
            return {each.name: (await source.scalars(_counted(each))).one() for each in self._moved}

    async def run(self, guard: Guard, told: Told) -> int:
        """Move all rows, or the rest of them, and give how many there are. MoveRefused."""
        await self._reach_target()
        async with self._held(guard) as source, self._alone():
            await self._prepare()
            whole = {each.name: await self._copy(source, each) for each in self._moved}
            for each in self._moved:
                await self._verify(each, whole[each.name])
                told(each.name, whole[each.name].rows)
            await self._finish(await self._tenants(source))
        return sum(each.rows for each in whole.values())

    async def _reach_target(self) -> None:
        """Raise MoveRefused if there is no way to the target, before the source is held."""
        try:
            async with self._target.connect():
                pass
        except (sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
            raise MoveRefused(
                "the target cannot be reached: see whether its server runs, and whether host, "
                "database, user and password are right"
            ) from error

    @asynccontextmanager
    async def _held(self, guard: Guard) -> AsyncIterator[AsyncConnection]:
        """Read a source that nobody else writes."""
        with translated():
            async with self._source.connect() as connection:
                await connection.execution_options(**{WRITE: True})
                async with _begun(connection):
                    if problem := await connection.run_sync(require_current, self._tables):
                        raise MoveRefused(problem)
                    await guard(connection)
                    yield connection

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Be the only one who moves into the target."""
        async with self._target.connect() as connection:
            # No transaction is left open for hours.
            await connection.execution_options(isolation_level="AUTOCOMMIT", **{WRITE: True})
            if not await lock_target(connection):
                raise MoveRefused("another process moves a store into this database")
            yield

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[AsyncConnection]:
        async with self._target.connect() as connection:
            await connection.execution_options(**{WRITE: True})
            async with connection.begin():
                # Nobody watches yet, and those of the source are told to list again.
                await connection.execute(sa.select(sa.func.set_config(SILENT, "on", True)))
                yield connection

    async def _prepare(self) -> None:
        async with self._writing() as connection:
            if problem := await connection.run_sync(prepare_target, self._tables):
                raise MoveRefused(problem)
            await connection.run_sync(make_ledger)

    async def _copy(self, source: AsyncConnection, table: sa.Table) -> Copied:
        """Copy what of a table is not there yet; give its rows and their digest in the source."""
        async with self._target.connect() as connection:
            now = await copied(connection, table.name)
        if now.rows and await _digest(source, table, now.rows) != now:
            # The source was written since the move was killed.
            await self._forget(table)
            now = Copied()
        digest = RowDigest(list(table.columns))
        async for rows in _chunks(source, _ordered(table).offset(now.rows)):
            content = now.digest
            for row in rows:
                content = digest.add(content, row)
            now = Copied(now.rows + len(rows), content)
            await self._add(table, rows, now)
        return now

    async def _add(self, table: sa.Table, rows: Sequence[Sequence[Any]], now: Copied) -> None:
        """Write rows, and beside them how much of the table there is then."""
        names = [column.name for column in table.columns]
        try:
            async with self._writing() as connection:
                staged = await stage(
                    connection, table, [dict(zip(names, row, strict=True)) for row in rows]
                )
                await connection.execute(
                    sa.insert(table).from_select(names, sa.select(*(staged.c[n] for n in names)))
                )
                await note(connection, table.name, now)
        except (sa.exc.DataError, sa.exc.IntegrityError) as error:
            raise MoveRefused(
                f"{table.name}: PostgreSQL does not take a row of this table; `check-store` tells "
                "which rows break the contract"
            ) from error

    async def _verify(self, table: sa.Table, expected: Copied) -> None:
        """Read a table of the target whole and compare; MoveRefused."""
        async with self._target.connect() as connection:
            found = await _digest(connection, table)
        if found == expected:
            return
        await self._forget(table)
        raise MoveRefused(
            f"{table.name}: {found.rows} rows of the target are not the {expected.rows} of the "
            "source; they were removed, and moving again copies them anew"
        )

    async def _forget(self, table: sa.Table) -> None:
        """Delete the copies of a table and of all that come after it, which may refer to it."""
        async with self._writing() as connection:
            for each in reversed(self._moved[self._moved.index(table) :]):
                await connection.execute(sa.delete(each))
                await note(connection, each.name, Copied())

    async def _tenants(self, source: AsyncConnection) -> set[str]:
        found: set[str] = set()
        for table in self._tables.metadata.tables.values():
            if TENANT in table.c:
                chosen = sa.select(table.c[TENANT]).distinct()
                found.update((await source.execute(chosen)).scalars())
        return found

    async def _finish(self, tenants: set[str]) -> None:
        """Let the target be served."""
        # Only who moves a store loads the driver's blocking side.
        from mesh.sql.backup.postgres import begin_anew

        watched = tenants if self._tables.changes is not None else ()
        await asyncio.to_thread(begin_anew, self._target.url, self._moved, watched)
        async with self._writing() as connection:
            await drop_ledger(connection)
            await connection.exec_driver_sql("ANALYZE")


@asynccontextmanager
async def _begun(source: AsyncConnection) -> AsyncIterator[None]:
    """Take the place of the one writer of the source. MoveRefused if somebody else has it."""
    transaction = source.begin()
    try:
        await transaction.start()
    except sa.exc.OperationalError as error:
        raise MoveRefused(
            "the SQLite file is being written by another process, or cannot be read: stop the "
            "service, and let another move end"
        ) from error
    try:
        yield
    finally:
        await transaction.rollback()


async def _digest(connection: AsyncConnection, table: sa.Table, rows: int | None = None) -> Copied:
    """Read a table, or so many of its first rows, and digest its content."""
    now, digest = Copied(), RowDigest(list(table.columns))
    async for part in _chunks(connection, _ordered(table).limit(rows)):
        content = now.digest
        for row in part:
            content = digest.add(content, row)
        now = Copied(now.rows + len(part), content)
    return now


async def _chunks(
    connection: AsyncConnection, chosen: sa.Select[Any]
) -> AsyncIterator[Sequence[sa.Row[Any]]]:
    result = await connection.stream(chosen.execution_options(yield_per=CHUNK))
    async for rows in result.partitions(CHUNK):
        yield rows


def _ordered(table: sa.Table) -> sa.Select[Any]:
    return sa.select(table).order_by(*table.primary_key.columns)


def _counted(table: sa.Table) -> sa.Select[int]:
    return sa.select(sa.func.count()).select_from(table)
