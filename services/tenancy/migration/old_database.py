"""The old system's database: read page by page, or written by the reverse export."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import fields
from typing import TypeVar

import psycopg
from psycopg import sql

from services.tenancy.migration.old_rows import OldRow, columns

_PAGE = 500
R = TypeVar("R", bound=OldRow)


class OldDatabase:
    """Its tables over one connection. Raises psycopg.Error."""

    def __init__(self, connection: "psycopg.AsyncConnection[tuple[object, ...]]") -> None:
        self._connection = connection

    @classmethod
    async def open(cls, url: str) -> "OldDatabase":
        """Connect; each statement is a transaction of its own, so that none lasts for hours."""
        return cls(await psycopg.AsyncConnection.connect(url, autocommit=True))

    async def close(self) -> None:
        """Let go of the connection."""
        await self._connection.close()

    async def rows(self, kind: type[R]) -> AsyncIterator[R]:
        """Give all rows of a table by key."""
        names = columns(kind)
        # Ids may be of the type uuid; their texts are compared here as they are there.
        key = sql.SQL('{}::text COLLATE "C"').format(sql.Identifier(names[0]))
        statement = sql.SQL("SELECT {} FROM {} WHERE {} > %s ORDER BY {} LIMIT %s").format(
            sql.SQL(", ").join(map(sql.Identifier, names)),
            sql.Identifier(kind.TABLE),
            key,
            key,
        )
        last = ""
        while True:
            cursor = await self._connection.execute(statement, (last, _PAGE))
            page = await cursor.fetchall()
            for values in page:
                yield _row(kind, values)
            if len(page) < _PAGE:
                return
            last = str(page[-1][0])

    async def one(self, kind: type[R], key: str) -> R | None:
        """Give the row of a key; None if there is none."""
        names = columns(kind)
        statement = sql.SQL("SELECT {} FROM {} WHERE {}::text = %s").format(
            sql.SQL(", ").join(map(sql.Identifier, names)),
            sql.Identifier(kind.TABLE),
            sql.Identifier(names[0]),
        )
        cursor = await self._connection.execute(statement, (key,))
        found = await cursor.fetchone()
        return None if found is None else _row(kind, found)

    async def put(self, rows: Sequence[OldRow]) -> None:
        """Write rows of one table in place of those of their keys."""
        names = columns(type(rows[0]))
        changed = [sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in names[1:]]
        statement = sql.SQL(
            "INSERT INTO {} ({}) VALUES ({}) ON CONFLICT ({}) DO UPDATE SET {}"
        ).format(
            sql.Identifier(rows[0].TABLE),
            sql.SQL(", ").join(map(sql.Identifier, names)),
            sql.SQL(", ").join([sql.Placeholder()] * len(names)),
            sql.Identifier(names[0]),
            sql.SQL(", ").join(changed),
        )
        async with self._connection.cursor() as cursor:
            await cursor.executemany(
                statement, [tuple(getattr(row, name) for name in names) for row in rows]
            )


def _row(kind: type[R], values: Sequence[object]) -> R:
    make: Callable[..., R] = kind
    typed = zip(fields(kind), values, strict=True)
    return make(*(_text(each) if field.type is str else each for field, each in typed))


def _text(value: object) -> str:
    """Give the text that a column stands for, whose type may be another one there."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return "" if value is None else str(value)
