"""Statements over groups of rows that were seen together, and what they were last seen by.

The caller keeps others from forming groups in the same scope until its transaction ends.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.sql.change_table import TIME
from mesh.sql.references import ID, TENANT
from mesh.sql.sightings import (
    ETAG,
    GROUP,
    GROUP_ID,
    KNOWN,
    PART,
    SCOPE,
    Sightings,
    sightings_of,
)
from mesh.sql.store import Store


@dataclass(frozen=True)
class Group:
    """Rows that were seen together; those that still have ``etag`` are as they were then."""

    id: str
    etag: str
    parts: Sequence[bytes]
    """What the maker of the group kept of it, in order."""


@dataclass(frozen=True)
class Member:
    """A row of a group."""

    group: int
    """The place of its group among those that were asked for."""
    same: bool
    """Whether it is as it was when the group was formed."""


class SightingStore:
    """The groups of one kind and tenant, in one scope."""

    def __init__(self, store: Store, collection: str, tenant: str, scope: str) -> None:
        self._store, self._tenant, self.scope = store, tenant, scope
        self._target = store.target(collection)
        sightings = sightings_of(self._target.table)
        if sightings is None:
            raise ValueError(f"{collection} keeps no sightings")
        self._sightings: Sightings = sightings

    async def groups(self, connection: AsyncConnection, most: int) -> list[Group] | None:
        """Give the groups of the scope; None if they have more rows than that."""
        kept, table = self._sightings.groups, self._target.table
        own = sa.select(kept.c[GROUP_ID]).where(*self._own(kept)).scalar_subquery()
        rows = self._store.select(self._target.kind.collection, self._tenant, [ID])
        rows = rows.where(table.c[GROUP] == sa.any_(sa.func.array(own))).limit(most + 1)
        counted = sa.select(sa.func.count()).select_from(rows.subquery())
        if (await connection.scalar(counted) or 0) > most:
            return None
        chosen = sa.select(kept.c[GROUP_ID], kept.c[ETAG], kept.c[KNOWN]).where(*self._own(kept))
        listed = await connection.execute(chosen.order_by(kept.c[GROUP_ID], kept.c[PART]))
        parts: dict[tuple[str, str], list[bytes]] = {}
        for group, etag, known in listed:
            parts.setdefault((group, etag), []).append(bytes(known))
        return [Group(group, etag, known) for (group, etag), known in parts.items()]

    async def members(
        self, connection: AsyncConnection, groups: Sequence[Group]
    ) -> dict[str, Member]:
        """Give the rows of groups by id; nobody else writes them until the transaction ends."""
        if not groups:
            return {}
        table = self._target.table
        place = sa.func.array_position(_texts([group.id for group in groups]), table.c[GROUP])
        statement = (
            self._store.select(self._target.kind.collection, self._tenant, [ID])
            .add_columns(place, table.c[ETAG])
            .where(table.c[GROUP] == sa.any_(_texts([group.id for group in groups])))
            .order_by(table.c[ID])
            .with_for_update(key_share=True, of=table)
        )
        known = {
            (number, same): Member(number, same)
            for number in range(len(groups))
            for same in (True, False)
        }
        etags = [group.etag for group in groups]
        rows = (await connection.execute(statement)).tuples()
        return {row: known[at - 1, etag == etags[at - 1]] for row, at, etag in rows}

    async def form(
        self, connection: AsyncConnection, group: str, etag: str, parts: Sequence[bytes]
    ) -> None:
        """Keep of a group these parts, and nothing else."""
        kept = self._sightings.groups
        await self.drop(connection, [group])
        ids = {TENANT: self._tenant, SCOPE: self.scope, GROUP_ID: group, ETAG: etag}
        rows = [{**ids, PART: number, KNOWN: part} for number, part in enumerate(parts or [b""])]
        await connection.execute(sa.insert(kept), rows)

    async def drop(self, connection: AsyncConnection, groups: Collection[str]) -> None:
        """Keep nothing of groups; what their rows were last seen by stays."""
        kept = self._sightings.groups
        own = kept.c[GROUP_ID].in_(sorted(groups))
        await connection.execute(sa.delete(kept).where(*self._own(kept), own))

    async def drop_all(self, connection: AsyncConnection) -> None:
        """Keep nothing of any group of the scope."""
        kept = self._sightings.groups
        await connection.execute(sa.delete(kept).where(*self._own(kept)))

    async def note(
        self, connection: AsyncConnection, groups: Collection[str], time: int, by: str
    ) -> None:
        """Note that all rows of groups were seen, in microseconds since 1970."""
        if not groups:
            return
        seen, sightings = self._sightings.table, self._sightings
        await self._forget(connection, groups)
        rows = [
            {TENANT: self._tenant, GROUP_ID: group, sightings.time: time, sightings.by: by}
            for group in sorted(groups)
        ]
        insert = postgresql.insert(seen)
        again = insert.on_conflict_do_update(
            index_elements=[TENANT, GROUP_ID, sightings.time],
            set_={sightings.by: insert.excluded[sightings.by]},
        )
        await connection.execute(again, rows)

    async def _forget(self, connection: AsyncConnection, groups: Collection[str]) -> None:
        """Forget the sightings that no moment of the past needs which can still be read."""
        changes = self._store.tables.changes
        if changes is None:
            return
        seen, time = self._sightings.table, self._sightings.time
        later = seen.alias()
        floor = sa.select(changes[1].c[TIME]).where(changes[1].c[TENANT] == self._tenant)
        newer = sa.exists().where(
            later.c[TENANT] == seen.c[TENANT],
            later.c[GROUP_ID] == seen.c[GROUP_ID],
            later.c[time] > seen.c[time],
            later.c[time] <= floor.scalar_subquery(),
        )
        which = seen.c[TENANT] == self._tenant, seen.c[GROUP_ID].in_(sorted(groups)), newer
        await connection.execute(sa.delete(seen).where(*which))

    async def take_out(self, connection: AsyncConnection, rows: Collection[str]) -> None:
        """Take rows out of their groups; they say themselves by what they were last seen."""
        if not rows:
            return
        table, read, sightings = self._target.table, self._target.rows, self._sightings
        own = {name: read.c[name].element for name in (sightings.time, sightings.by)}
        update = self._store.update(self._target.kind.collection, self._tenant)
        which = table.c[ID] == sa.any_(_texts(sorted(rows)))
        await connection.execute(update.where(which).values({**own, GROUP: None}))

    def _own(self, kept: sa.Table) -> tuple[sa.ColumnElement[bool], ...]:
        return kept.c[TENANT] == self._tenant, kept.c[SCOPE] == self.scope


def _texts(values: Sequence[str]) -> Any:
    return sa.cast(list(values), postgresql.ARRAY(sa.Text()))
