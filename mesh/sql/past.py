"""The past of records whose versions are not kept, as the change feed tells it (PostgreSQL).

A record that changed after a moment was, at that moment, what it was before its first change
since; all others are what they are. Of one record the sequence is the order of its changes,
since each writer has the row to itself. The moment of a change is that of its statement.
"""

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from mesh.errors import ReadTimeGone
from mesh.sql.change_table import AFTER, BEFORE, COLLECTION, RECORD, SEQUENCE, TENANT, TIME
from mesh.sql.references import ID
from mesh.sql.sightings import GROUP, Rows, sightings_of
from mesh.sql.tables import KindTable

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rows_at(target: KindTable, changes: sa.Table, tenant: str, micros: int) -> sa.Subquery:
    """Give a tenant's rows as they were at a moment, in microseconds since 1970.

    The columns are those of the table that are ever shown.
    """
    table, columns = target.table, changes.c
    shown = [table.c[name] for name in target.codec.public_columns]
    later = (
        columns[TENANT] == tenant,
        columns[COLLECTION] == target.kind.collection,
        columns[TIME] > micros,
    )
    unchanged = ~sa.exists().where(*later, columns[RECORD] == table.c[ID])
    first: Any = (
        sa.select(columns[RECORD], columns[BEFORE], columns[AFTER])
        .ext(postgresql.distinct_on(columns[RECORD]))
        .where(*later)
        .order_by(columns[RECORD], columns[SEQUENCE])
        .subquery("first")
    )
    name = postgresql.dialect().identifier_preparer.quote(table.name)  # type: ignore[no-untyped-call]  # SQLAlchemy's own
    row: Any = sa.literal_column(f"NULL::{name}")
    # Of what was before an update, only what differs is kept.
    for kept in (first.c[AFTER], first.c[BEFORE]):
        row = sa.func.json_populate_record(row, sa.cast(kept, postgresql.JSON()))
    sightings = sightings_of(table)
    listed = [*shown, table.c[GROUP]] if sightings else shown
    was = row.table_valued(*(sa.column(each.name, each.type) for each in listed)).alias("was")
    ids: dict[str, Any] = {
        TENANT: sa.literal(tenant, table.c[TENANT].type),
        ID: first.c[RECORD],
    }
    before = (
        sa.select(*(_as_of(target, was, each.name, micros, ids).label(each.name) for each in shown))
        .select_from(first.join(was, sa.true()))
        .where(first.c[BEFORE].is_not(None))
    )
    present = sa.select(*(_as_of(target, table, each.name, micros) for each in shown))
    present = present.where(table.c[TENANT] == tenant, unchanged)
    return sa.union_all(present, before).subquery(table.name)


def _as_of(
    target: KindTable, rows: Rows, name: str, micros: int, ids: Mapping[str, Any] | None = None
) -> sa.ColumnElement[Any]:
    """Give a column of rows that have not changed since a moment: what saw them since is left out.

    ``ids`` stand for columns that the rows lack.
    """
    sightings, own = sightings_of(target.table), ids or {}
    if name in own or sightings is None or name not in (sightings.time, sightings.by):
        found: sa.ColumnElement[Any] = own[name] if name in own else rows.c[name]
        return found
    until = sa.literal(micros, target.table.c[sightings.time].type)
    return sightings.last(_With(rows, own), name, until=until)


class _With:
    """Rows with columns that are not their own."""

    def __init__(self, rows: Rows, more: Mapping[str, Any]) -> None:
        self.c = {**{column.name: column for column in rows.c}, **more}


def earliest(floors: sa.Table, tenant: str) -> sa.Select[Any]:
    """Select since when every change of a tenant is known; no row if since ever."""
    return sa.select(floors.c[TIME]).where(floors.c[TENANT] == tenant)


def require_known(micros: int, known: int | None) -> None:
    """Refuse a moment that lies before the first that is known; ReadTimeGone.

    None: a program that noted no times forgot changes, so that nothing is known but the present.
    """
    known = time.time_ns() // 1000 if known is None else known
    if micros < known:
        moment = _EPOCH + timedelta(microseconds=known)
        raise ReadTimeGone(moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
