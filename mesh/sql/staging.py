"""Rows of one transaction in a temporary table, for statements that work on sets of them.

PostgreSQL alone: rows go there by COPY in the binary form. The table is made once and emptied for
each set, since making one costs more than a hundred rows.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.storage import MICROSECONDS
from mesh.errors import DeadlineExceeded, DependencyUnavailable
from mesh.sql.postgres import CANCELED
from mesh.sql.types import Json, Timestamp

_EPOCH = 946_684_800 * MICROSECONDS
"""2000-01-01 UTC, from which PostgreSQL counts."""
_JSONB_VERSION = "\x01"
Form = Callable[[Any], Any]
"""Gives what is sent of a stored value that is not None."""


def form(column: "sa.Column[Any]") -> Form | None:
    """Give the way of a column's stored values into a staged row; None if they go as they are."""
    if isinstance(column.type, Timestamp):
        return _since_2000
    return _JSONB_VERSION.__add__ if isinstance(column.type, Json) else None


def _since_2000(micros: int) -> int:
    return micros - _EPOCH


class Staging:
    """Some columns of a table, as a temporary table of one transaction."""

    def __init__(self, table: sa.Table, columns: Sequence[str], number: int = 0) -> None:
        """Stage columns of a table; ``number`` tells several of one transaction apart."""
        self._columns = [table.c[name] for name in columns]
        self._of = table.name
        self._name = f"staged_{number}"
        self.rows = sa.table(
            self._name, *(sa.column(each.name, each.type) for each in self._columns)
        )
        """Stands for the rows in statements."""

    async def make(self, connection: AsyncConnection) -> None:
        """Make the table, which goes with the transaction."""
        quote = connection.dialect.identifier_preparer.quote
        listed = ", ".join(quote(column.name) for column in self._columns)
        await connection.exec_driver_sql(
            f"CREATE TEMPORARY TABLE {self._name} ON COMMIT DROP AS "  # noqa: S608  # our own names
            f"SELECT {listed} FROM {quote(self._of)} WITH NO DATA"
        )

    async def fill(self, connection: AsyncConnection, rows: Iterable[Sequence[Any]]) -> None:
        """Replace the rows; their values are as ``form`` gives them, in the order of columns.

        Raises sqlalchemy.exc.DataError for a value that the database cannot keep.
        """
        import psycopg

        await connection.exec_driver_sql(f"TRUNCATE {self._name}")
        driver: Any = (await connection.get_raw_connection()).driver_connection
        statement = f"COPY {self._name} FROM STDIN (FORMAT BINARY)"
        types = [_type(column, connection.dialect) for column in self._columns]
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


def _type(column: "sa.Column[Any]", dialect: sa.Dialect) -> str:
    """Give the type whose binary form the staged values of a column have."""
    if isinstance(column.type, Timestamp):
        return "bigint"
    if isinstance(column.type, Json):
        return "text"
    return column.type.compile(dialect).partition(" COLLATE ")[0].lower()
