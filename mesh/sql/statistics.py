"""How much is stored, and in which database."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.sql import engine as dialect
from mesh.sql.store import Store
from mesh.sql.tables import VALID_FROM, KindTable


@dataclass(frozen=True)
class Size:
    """Rows of one collection, of all or of one group of them."""

    group: str
    """Value of the column that rows were grouped by; empty without one."""
    current: int
    past: int
    content_bytes: int
    oldest: int | None
    """Earliest ``valid_from`` in microseconds since 1970; None without history or rows."""
    newest: int | None


@dataclass(frozen=True)
class Database:
    """The database of a store."""

    version: str
    size: int
    """Bytes, indexes and all tenants included."""


async def sizes(
    store: Store,
    collection: str,
    tenant: str,
    *,
    by: str = "",
    connection: AsyncConnection | None = None,
) -> Sequence[Size]:
    """Count a tenant's rows, in groups by the values of a column if one is named."""
    target = store.target(collection)
    group = target.table.c[by] if by else sa.literal("")
    everything = sa.func.count()
    current = everything if target.current is None else everything.filter(target.current)
    times: list[sa.ColumnElement[Any]] = [sa.null(), sa.null()]
    if target.kind.option.history:
        opened = target.table.c[VALID_FROM]
        times = [sa.func.min(opened), sa.func.max(opened)]
    columns = [group, current, everything, _content_bytes(store, target), *times]
    labelled = [column.label(f"c{place}") for place, column in enumerate(columns)]
    statement = store.select(collection, tenant, past=True).with_only_columns(*labelled)
    if by:
        statement = statement.group_by(group).order_by(group)
    rows = await store.fetch(statement, connection)
    return [Size(row.c0, row.c1, row.c2 - row.c1, row.c3 or 0, row.c4, row.c5) for row in rows]


def _content_bytes(store: Store, target: KindTable) -> sa.ColumnElement[Any]:
    """Sum what the values take; PostgreSQL measures whole rows, as it compressed them."""
    if store.database == dialect.POSTGRESQL:
        row: sa.ColumnElement[Any] = sa.literal_column(f'"{target.table.name}".*')
        return sa.func.sum(sa.func.pg_column_size(row), type_=sa.BigInteger())
    lengths = [
        sa.func.coalesce(sa.func.length(sa.cast(column, sa.LargeBinary())), 0)
        for column in target.table.c
    ]
    return sa.func.sum(sum(lengths[1:], start=lengths[0]), type_=sa.BigInteger())


async def describe_database(store: Store, connection: AsyncConnection | None = None) -> Database:
    """Tell the version and the size of the database."""
    if store.database == dialect.POSTGRESQL:
        size = sa.func.pg_database_size(sa.func.current_database())
        statement = sa.select(sa.func.current_setting("server_version"), size)
    else:
        count, page = (
            sa.select(sa.column(name)).select_from(_pragma(name)).scalar_subquery()
            for name in ("page_count", "page_size")
        )
        statement = sa.select(sa.func.sqlite_version(), count * page)
    version, bytes_in_all = map(str, (await store.fetch(statement, connection))[0])
    return Database(version, int(bytes_in_all))


def _pragma(name: str) -> Any:
    """Give a pragma's one row as a table (SQLite's table-valued functions)."""
    return getattr(sa.func, f"pragma_{name}")().table_valued(name)
