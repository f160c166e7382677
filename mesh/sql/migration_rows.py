"""The rows of a table that stand in the way of a change; each function gives how many."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql import visitors

from mesh.sql.tables import NEEDED


def nulls(connection: sa.Connection, column: sa.Column[Any]) -> int:
    """Count the rows without a value."""
    return _count(connection, sa.select(column).where(column.is_(None)))


def breaking(
    connection: sa.Connection, check: sa.CheckConstraint, values: Mapping[str, Any]
) -> int:
    """Count the rows that break a CHECK, given the values of columns that are yet to be added."""

    def replace(element: Any, **_: Any) -> Any:
        if isinstance(element, sa.Column) and element.name in values:
            return sa.literal(values[element.name], element.type)
        return None

    condition = visitors.replacement_traverse(check.sqltext, {}, replace)
    return _count(
        connection, sa.select(sa.literal(1)).select_from(check.table).where(sa.not_(condition))
    )


def repeated(connection: sa.Connection, index: sa.Index, where: Any) -> int:
    """Count the values that a unique index would hold twice.

    Rows that lack what the index needs (``mesh.sql.tables.NEEDED``) are never equal.
    """
    columns = list(dict.fromkeys(index.columns))
    needed = index.info.get(NEEDED, [column.name for column in columns])
    groups = (
        sa.select(sa.literal(1))
        .select_from(columns[0].table)
        .where(*(column.is_not(None) for column in columns if column.name in needed))
        .group_by(*columns)
        .having(sa.func.count() > 1)
    )
    return _count(connection, groups if where is None else groups.where(where))


def orphans(connection: sa.Connection, reference: sa.ForeignKeyConstraint) -> int:
    """Count the rows that refer to none; rows with NULL refer to nothing."""
    parent = reference.referred_table.alias()
    pairs = [(each.parent, parent.c[each.column.name]) for each in reference.elements]
    exists = sa.exists().where(*(ours == theirs for ours, theirs in pairs))
    return _count(
        connection,
        sa.select(sa.literal(1))
        .select_from(reference.table)
        .where(*(ours.is_not(None) for ours, _ in pairs), ~exists),
    )


def count(connection: sa.Connection, table: str) -> int:
    """Count the rows of a table."""
    return _count(connection, sa.select(sa.literal(1)).select_from(sa.table(table)))


def _count(connection: sa.Connection, rows: sa.Select[Any]) -> int:
    found: int = connection.execute(
        sa.select(sa.func.count()).select_from(rows.subquery())
    ).scalar_one()
    return found
