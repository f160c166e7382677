"""Partitions of log kinds."""

import sqlalchemy as sa

from mesh.sql.engine import POSTGRESQL

_PARTITIONS = sa.text(
    "SELECT relname FROM pg_class WHERE relispartition AND relkind IN ('r', 'p') "
    "AND relnamespace = current_schema()::regnamespace"
)


def partition_names(connection: sa.Connection) -> frozenset[str]:
    """Give the tables that are parts of another."""
    if connection.dialect.name != POSTGRESQL:
        return frozenset()
    return frozenset(connection.execute(_PARTITIONS).scalars())
