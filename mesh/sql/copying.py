"""COPY into a temporary table: the fastest way of rows into PostgreSQL, over psycopg.

COPY straight into a table with row-level security is refused by PostgreSQL: rows go into a
staging table of the transaction first, and from there by INSERT or UPDATE.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.errors import DeadlineExceeded, DependencyUnavailable
from mesh.sql.postgres import CANCELED

_STAGED = "staged"
_SCHEMA = "pg_temp"


async def stage(
    connection: AsyncConnection, table: sa.Table, rows: Sequence[Mapping[str, Any]]
) -> sa.TableClause:
    """Copy rows into the transaction's staging table, which then stands for them.

    Each call begins it anew. All rows have the same columns.
    """
    quote = connection.dialect.identifier_preparer.quote
    columns = [table.c[name] for name in rows[0]]
    listed = ", ".join(quote(column.name) for column in columns)
    await connection.exec_driver_sql(f"DROP TABLE IF EXISTS {_SCHEMA}.{_STAGED}")
    await connection.exec_driver_sql(
        f"CREATE TEMPORARY TABLE {_STAGED} (LIKE {quote(table.name)}) ON COMMIT DROP"
    )
    names = list(rows[0])
    writers = [(names.index(column.name), _processor(column, connection)) for column in columns]
    converted = [(place, convert) for place, convert in writers if convert is not None]
    await _copy(
        connection,
        f"COPY {_SCHEMA}.{_STAGED} ({listed}) FROM STDIN",
        [_values(row, converted) for row in rows],
    )
    return sa.table(
        _STAGED, *(sa.column(column.name, column.type) for column in columns), schema=_SCHEMA
    )


def _processor(
    column: "sa.Column[Any]", connection: AsyncConnection
) -> Callable[[Any], Any] | None:
    if isinstance(column.type.dialect_impl(connection.dialect), postgresql.JSONB):
        return None
    dialect = connection.dialect
    found: Callable[[Any], Any] | None = column.type.bind_processor(dialect)
    return found


def _values(
    row: Mapping[str, Any], converted: Sequence[tuple[int, Callable[[Any], Any]]]
) -> Sequence[Any]:
    values = list(row.values())
    for place, convert in converted:
        values[place] = convert(values[place])
    return values


async def _copy(connection: AsyncConnection, statement: str, rows: Sequence[Sequence[Any]]) -> None:
    import psycopg

    raw = await connection.get_raw_connection()
    driver: Any = raw.driver_connection
    try:
        async with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                await copy.write_row(row)
    except psycopg.DataError as error:
        raise sa.exc.DataError(None, None, error) from None
    except psycopg.Error as error:
        # SQLAlchemy does not see what its driver is asked directly.
        if error.sqlstate == CANCELED:
            raise DeadlineExceeded("the call took longer than its deadline") from None
        raise DependencyUnavailable("store") from None
