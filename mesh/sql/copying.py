"""COPY into a temporary table: the fastest way of rows into PostgreSQL, over psycopg.

COPY straight into a table with row-level security is refused by PostgreSQL: rows go into a
staging table of the transaction first, and from there by INSERT or UPDATE. Rows are sent in
the binary form, which costs Python and PostgreSQL a fraction of the text form.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.errors import DeadlineExceeded, DependencyUnavailable
from mesh.sql.postgres import CANCELED
from mesh.sql.types import MICROSECONDS, Json, Timestamp

_STAGED = "staged"
_SCHEMA = "pg_temp"
_EPOCH = 946_684_800 * MICROSECONDS
"""2000-01-01 UTC, from which PostgreSQL counts."""
_JSONB_VERSION = "\x01"

Convert = Callable[[Any], Any]


async def stage(
    connection: AsyncConnection, table: sa.Table, rows: Sequence[Mapping[str, Any]]
) -> sa.TableClause:
    """Copy rows into the transaction's staging table, which then stands for them.

    Each call begins it anew. All rows have the same columns, in the same order.
    """
    quote = connection.dialect.identifier_preparer.quote
    columns = [table.c[name] for name in rows[0]]
    listed = ", ".join(quote(column.name) for column in columns)
    await connection.exec_driver_sql(
        f"DROP TABLE IF EXISTS {_SCHEMA}.{_STAGED}; "
        f"CREATE TEMPORARY TABLE {_STAGED} (LIKE {quote(table.name)}) ON COMMIT DROP"
    )
    forms = [_form(column, connection.dialect) for column in columns]
    converted = [(place, convert) for place, (_, convert) in enumerate(forms) if convert]
    await _copy(
        connection,
        f"COPY {_SCHEMA}.{_STAGED} ({listed}) FROM STDIN (FORMAT BINARY)",
        [name for name, _ in forms],
        (_values(row, converted) for row in rows),
    )
    return sa.table(
        _STAGED, *(sa.column(column.name, column.type) for column in columns), schema=_SCHEMA
    )


def _form(column: "sa.Column[Any]", dialect: sa.Dialect) -> tuple[str, Convert | None]:
    """Give the type whose binary form a column takes, and the way of a value there."""
    if isinstance(column.type, Timestamp):
        return "bigint", _since_2000
    if isinstance(column.type, Json):
        return "text", _JSONB_VERSION.__add__
    return column.type.compile(dialect).partition(" COLLATE ")[0].lower(), None


def _since_2000(micros: int) -> int:
    return micros - _EPOCH


def _values(row: Mapping[str, Any], converted: Sequence[tuple[int, Convert]]) -> Sequence[Any]:
    values = list(row.values())
    for place, convert in converted:
        value = values[place]
        if value is not None:
            values[place] = convert(value)
    return values


async def _copy(
    connection: AsyncConnection,
    statement: str,
    types: Sequence[str],
    rows: Iterable[Sequence[Any]],
) -> None:
    import psycopg

    raw = await connection.get_raw_connection()
    driver: Any = raw.driver_connection
    try:
        async with driver.cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types(types)
            for row in rows:
                await copy.write_row(row)
    except psycopg.DataError as error:
        raise sa.exc.DataError(None, None, error) from None
    except psycopg.Error as error:
        # SQLAlchemy does not see what its driver is asked directly.
        if error.sqlstate == CANCELED:
            raise DeadlineExceeded("the call took longer than its deadline") from None
        raise DependencyUnavailable("store") from None
