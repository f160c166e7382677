"""Rows that a process was working on when they were backed up belong to none once they are back."""

from collections.abc import Iterable

import psycopg
import sqlalchemy as sa
from psycopg import sql

from mesh.sql.references import TENANT
from mesh.sql.settings import LEASE


def release_leases(
    connection: psycopg.Connection, tables: Iterable[sa.Table], tenant: str | None = None
) -> None:
    """Empty what names a process, in the restored rows of a tenant or of all.

    A process that lives, and is in the middle of such a row as it was later, would take the
    restored one for its own.
    """
    for table in tables:
        for column in (each for each in table.columns if each.info.get(LEASE)):
            name = sql.Identifier(column.name)
            free = sql.SQL("NULL" if column.nullable else "''")
            statement = sql.SQL("UPDATE {} SET {} = {} WHERE {} IS DISTINCT FROM {}").format(
                sql.Identifier(table.name), name, free, name, free
            )
            if tenant is None:
                connection.execute(statement)
            else:
                own = sql.SQL(" AND {} = %s").format(sql.Identifier(TENANT))
                connection.execute(statement + own, [tenant])
