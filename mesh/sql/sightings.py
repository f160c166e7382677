"""What rows were last seen by, kept apart from them (PostgreSQL).

Rows that were seen together form a group, and each time that all of it is seen again is one row of
the table of sightings: no row of the group is written, and nothing is announced of it. What a row
says itself counts while it is in no group. Whoever writes a row whole (``Codec.row``) takes it out
of its group with what it was last seen by, as that was read.

The table of groups tells what forms a group, and what its maker wants to find again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import sqlalchemy as sa

from mesh.contract.catalogue import CatalogueError, Kind
from mesh.sql.references import ID, TENANT
from mesh.sql.types import Timestamp, id_type

SIGHTINGS = "sightings"
"""Where a table keeps its ``Sightings`` (``Table.info``)."""
GROUP = "sighting_group"
"""Column of a row's group; no field may have this name."""
SCOPE, GROUP_ID, PART, ETAG, KNOWN = "scope", "group_id", "part", "etag", "known"


class Rows(Protocol):
    """Rows that can be read from, by column."""

    @property
    def c(self) -> Any:
        """The columns, by name."""


@dataclass(frozen=True)
class Sightings:
    """Where one kind's sightings are."""

    time: str
    """Field of when a row was last seen."""
    by: str
    """Field of what saw it then."""
    table: sa.Table
    """Of sightings: group, ``time`` and ``by``."""
    groups: sa.Table
    """Of groups: scope, group, part, etag and bytes."""

    def last(
        self, row: Rows, name: str, *, until: sa.ColumnElement[Any] | None = None
    ) -> sa.ColumnElement[Any]:
        """Give what a row says of ``time`` or ``by``: now, or as it was at a moment."""
        seen = self.table.alias()
        found = sa.select(seen.c[name]).where(
            seen.c[TENANT] == row.c[TENANT], seen.c[GROUP_ID] == row.c[GROUP]
        )
        if until is not None:
            found = found.where(seen.c[self.time] <= until)
        found = found.order_by(seen.c[self.time].desc()).limit(1).correlate_except(seen)
        alone = row.c[GROUP].is_(None)
        return sa.case((alone, row.c[name]), else_=found.scalar_subquery()).label(name)

    def last_seen_by(
        self, row: Rows, tenant: str, who: sa.ColumnElement[bool]
    ) -> sa.ColumnElement[bool]:
        """Tell whether a row is in a group whose last sighting meets a condition, by an index.

        The condition is of the columns of ``table``.
        """
        seen, later = self.table, self.table.alias()
        newest = sa.select(sa.func.max(later.c[self.time])).where(
            later.c[TENANT] == seen.c[TENANT], later.c[GROUP_ID] == seen.c[GROUP_ID]
        )
        groups = sa.select(seen.c[GROUP_ID]).where(
            seen.c[TENANT] == tenant,
            who,
            seen.c[self.time] == newest.correlate(seen).scalar_subquery(),
        )
        listed = sa.func.array(groups.correlate(None).scalar_subquery())
        found: sa.ColumnElement[bool] = row.c[GROUP] == sa.any_(listed)
        return found

    def text(self, row: str, name: str) -> str:
        """Write ``last`` for a trigger, of a row of this name."""
        alone = f'CASE WHEN {row}."{GROUP}" IS NULL THEN {row}."{name}"'
        same = f'seen.{TENANT} = {row}.{TENANT} AND seen.{GROUP_ID} = {row}."{GROUP}"'
        last = f'ORDER BY seen."{self.time}" DESC LIMIT 1'
        table = f'"{self.table.name}" seen'
        return f'{alone} ELSE (SELECT seen."{name}" FROM {table} WHERE {same} {last}) END'  # noqa: S608  # names of the contract


class SeenRows:
    """The rows of a table, with what they were last seen by."""

    def __init__(self, table: sa.Table, sightings: Sightings) -> None:
        """Take a table that keeps its sightings apart."""
        self.table = table
        self.c: Mapping[str, Any] = {
            **{column.name: column for column in table.columns},
            **{name: sightings.last(table, name) for name in (sightings.time, sightings.by)},
        }


def sightings_of(table: sa.Table) -> Sightings | None:
    """Give where a table's sightings are; None if it has none."""
    found: Sightings | None = table.info.get(SIGHTINGS)
    return found


def rows_of(table: sa.Table) -> Rows:
    """Give the rows of a table as they are read."""
    sightings = sightings_of(table)
    return table if sightings is None else SeenRows(table, sightings)


def add_sightings(
    table: sa.Table, kind: Kind, tables: Mapping[str, sa.Table], name: Callable[..., str]
) -> None:
    """Add the tables of a kind's sightings, if it has any; CatalogueError if it cannot."""
    if not kind.option.HasField("sightings"):
        return
    time, by = kind.option.sightings.time, kind.option.sightings.by
    _check(table, kind, time, by)
    table.append_column(sa.Column(GROUP, id_type()))
    grouped = table.c[GROUP].is_not(None)
    sa.Index(
        name("ix", table.name, GROUP), table.c[TENANT], table.c[GROUP], postgresql_where=grouped
    )
    seen = sa.Table(
        name(table.name, "sightings"),
        table.metadata,
        sa.Column(TENANT, id_type(), nullable=False),
        sa.Column(GROUP_ID, id_type(), nullable=False),
        sa.Column(time, Timestamp(), nullable=False),
        sa.Column(by, id_type()),
        sa.PrimaryKeyConstraint(TENANT, GROUP_ID, time),
    )
    target = tables[kind.references[by].text.split("/")[2]]
    seen.append_constraint(
        sa.ForeignKeyConstraint(
            [seen.c[TENANT], seen.c[by]],
            [target.c[TENANT], target.c[ID]],
            name=name("fk", seen.name, by),
            ondelete=f"SET NULL ({by})",
        )
    )
    sa.Index(name("ix", seen.name, by), seen.c[TENANT], seen.c[by])
    groups = sa.Table(
        name(table.name, "sighting_groups"),
        table.metadata,
        sa.Column(TENANT, id_type(), nullable=False),
        sa.Column(SCOPE, id_type(), nullable=False),
        sa.Column(GROUP_ID, id_type(), nullable=False),
        sa.Column(PART, sa.Integer(), nullable=False),
        sa.Column(ETAG, id_type(), nullable=False),
        sa.Column(KNOWN, sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint(TENANT, SCOPE, GROUP_ID, PART),
    )
    table.info[SIGHTINGS] = Sightings(time, by, seen, groups)


def _check(table: sa.Table, kind: Kind, time: str, by: str) -> None:
    fits = (
        time in table.c
        and isinstance(table.c[time].type, Timestamp)
        and by in kind.references
        and not kind.option.history
    )
    if not fits:
        reason = "its sightings have a timestamp and a reference, and it keeps no history"
        raise CatalogueError(kind.descriptor.full_name, reason)
