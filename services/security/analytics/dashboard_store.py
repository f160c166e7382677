"""Finds dashboards of all tenants, as the owner of the tables."""

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from mesh.sql.references import ID
from mesh.sql.store import TENANT, Store

DASHBOARDS = "analytics_dashboards"


async def labelled(store: Store, label: str, values: Collection[str]) -> list[tuple[str, str]]:
    """Give the dashboards whose label has one of these values: their names, with the value."""
    columns = store.target(DASHBOARDS).table.c
    value = columns.labels.op("->>", return_type=sa.Text())(sa.literal(label, sa.Text()))
    statement: sa.Select[Any] = (
        sa.select(columns[TENANT], columns[ID], value)
        .where(value.in_(sorted(values)))
        .order_by(columns[TENANT], columns[ID])
    )
    async with store.whole() as connection:
        rows: Sequence[Any] = await store.fetch(statement, connection)
    return [(f"tenants/{row[0]}/{DASHBOARDS}/{row[1]}", str(row[2])) for row in rows]
