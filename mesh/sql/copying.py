"""COPY into a temporary table: the fastest way of rows into PostgreSQL, over psycopg.

COPY straight into a table with row-level security is refused by PostgreSQL: rows go into a
staging table of the transaction first, and from there by INSERT or UPDATE. Rows are sent in
the binary form, which costs Python and PostgreSQL a fraction of the text form.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.storage import MICROSECONDS
from mesh.errors import DeadlineExceeded, DependencyUnavailable
from mesh.sql.postgres import CANCELED
from mesh.sql.references import ID
from mesh.sql.types import Json, Timestamp

_STAGED = "staged"
_SCHEMA = "pg_temp"
_EPOCH = 946_684_800 * MICROSECONDS
"""2000-01-01 UTC, from which PostgreSQL counts."""
_JSONB_VERSION = "\x01"
_MANY = 200
"""Rows from which a statement of its own for what they have in common is worth while."""

Values = Sequence[Any]


async def stage(
    connection: AsyncConnection, table: sa.Table, rows: Sequence[Mapping[str, Any]]
) -> sa.FromClause:
    """Copy rows into the transaction's staging table; give what then stands for them.

    Each call begins it anew. All rows have the same columns, in the same order, one of which is
    the id. What many rows have in common, such as the fields that none of them sets, is a part
    of what stands for them and not copied once for each.
    """
    names = list(rows[0])
    given = dict(zip(names, zip(*[row.values() for row in rows], strict=True), strict=True))
    common = _common(given) if len(rows) >= _MANY else {}
    columns = [table.c[name] for name in names if name not in common]
    await _make(connection, table, columns)
    copied = [_sent(given[column.name], column) for column in columns]
    await _copy(
        connection,
        f"COPY {_SCHEMA}.{_STAGED} FROM STDIN (FORMAT BINARY)",
        [_binary_type(column, connection.dialect) for column in columns],
        zip(*copied, strict=True),
    )
    staged = sa.table(
        _STAGED, *(sa.column(column.name, column.type) for column in columns), schema=_SCHEMA
    )
    if not common:
        return staged
    whole: list[sa.ColumnElement[Any]] = [
        _always(common[name], table.c[name]).label(name) if name in common else staged.c[name]
        for name in names
    ]
    return sa.select(*whole).select_from(staged).subquery()


def _common(given: Mapping[str, Values]) -> dict[str, Any]:
    """Give the values that are the same in all rows, by column."""
    return {
        name: values[0]
        for name, values in given.items()
        # The last is asked first: of most columns it tells.
        if name != ID and values[0] == values[-1] and values.count(values[0]) == len(values)
    }


def _always(value: Any, column: "sa.Column[Any]") -> sa.ColumnElement[Any]:
    """Give one value for all rows, of the column's type even if it is NULL."""
    return sa.cast(sa.literal(value, column.type), column.type)


async def _make(
    connection: AsyncConnection, table: sa.Table, columns: "Sequence[sa.Column[Any]]"
) -> None:
    quote = connection.dialect.identifier_preparer.quote
    listed = ", ".join(quote(column.name) for column in columns)
    like = f"SELECT {listed} FROM {quote(table.name)}"  # noqa: S608  # names of the contract
    await connection.exec_driver_sql(
        f"DROP TABLE IF EXISTS {_SCHEMA}.{_STAGED}; "
        f"CREATE TEMPORARY TABLE {_STAGED} ON COMMIT DROP AS {like} WITH NO DATA"
    )


def _binary_type(column: "sa.Column[Any]", dialect: sa.Dialect) -> str:
    """Give the type whose binary form the values of a column are sent in."""
    if isinstance(column.type, Timestamp):
        return "bigint"
    if isinstance(column.type, Json):
        return "text"
    return column.type.compile(dialect).partition(" COLLATE ")[0].lower()


def _sent(values: Values, column: "sa.Column[Any]") -> Values:
    """Give a column's values as they are sent."""
    if isinstance(column.type, Timestamp):
        return [None if value is None else value - _EPOCH for value in values]
    if isinstance(column.type, Json):
        return [None if value is None else _JSONB_VERSION + value for value in values]
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
