"""Findings of a report written as sets: those that are new, and those that are only seen again.

PostgreSQL decides which of them are which, by statements over all staged rows; no record is read.
What is neither is left to ``import_store``: closed before, silenced, other than it was.
"""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import ReturningUpdate

from mesh.records.etag import CREATED, ETAG, WRITTEN
from mesh.sql.references import ID, TENANT
from mesh.sql.sightings import GROUP, sightings_of
from mesh.sql.staging import Staging
from mesh.sql.store import Store
from mesh.sql.tables import KindTable
from services.security.findings.machine import STATUS
from services.security.import_state import KEPT, LIVES, SEEN, SEEN_LAST, Life

_WITHOUT, _GROUPS = "without", "groups"
_DUE = "due_time"
"""Follows from the severity, whatever a report says."""


class FindingSets:
    """Statements over the staged findings of one kind that have some values in common.

    ``common`` are stored values by column, ``stamp`` is the etag of all that is written: a report
    writes no record twice so.
    """

    def __init__(
        self,
        store: Store,
        target: KindTable,
        tenant: str,
        common: Mapping[str, Any],
        columns: Sequence[str],
        stamp: tuple[str, int],
        number: int,
        group: str = "",
    ) -> None:
        """Make them; ``columns`` are those of staged rows, ``stamp`` etag and moment.

        What is written joins ``group``, where the kind keeps sightings apart.
        """
        self._store, self._target, self._tenant = store, target, tenant
        self._life: Life = LIVES[target.kind.collection]
        self._common = common
        self._etag, self._moment = stamp
        self.staging = Staging(target.table, columns, number)
        self._staged: Any = self.staging.rows
        sightings = sightings_of(target.table)
        self._grouped = {GROUP: group} if sightings else {}
        self._sightings = (sightings.time, sightings.by) if sightings else ()
        self._stayed = self._in_groups() if self._grouped else None
        self._update = self._seen_again()
        self._select_unknown, self._insert = self._not_known(), self._added()

    async def seen_in(self, connection: AsyncConnection, groups: Sequence[str]) -> dict[str, str]:
        """Find the findings of groups that are as a report shows them: nothing need be written.

        Gives their ids by those of their staged rows.
        """
        if self._stayed is None or not groups:
            return {}
        rows = await connection.execute(self._stayed, {_GROUPS: list(groups)})
        return dict(rows.tuples().all())

    async def see_again(self, connection: AsyncConnection, groups: Sequence[str]) -> dict[str, str]:
        """Note of known findings that they were seen again, but for those that ``seen_in`` gives.

        Gives their ids by those of their staged rows.
        """
        rows = await connection.execute(self._update, {_GROUPS: list(groups)})
        return dict(rows.tuples().all())

    async def unknown(self, connection: AsyncConnection) -> set[str]:
        """Give the ids of staged rows of which no finding is known."""
        return set((await connection.execute(self._select_unknown)).scalars())

    async def knows_any(self, connection: AsyncConnection) -> bool:
        """Tell whether any finding may be known that has what the staged rows have in common."""
        led_by = list(takewhile(self._common.__contains__, self._target.kind.option.natural_key))
        if not led_by:
            return True
        known = self._store.select(self._target.kind.collection, self._tenant, [ID])
        alike = (self._target.table.c[name] == self._value(name) for name in led_by)
        return (await connection.execute(known.where(*alike).limit(1))).first() is not None

    async def add(
        self, connection: AsyncConnection, staged: Sequence[str], without: Sequence[str]
    ) -> set[str]:
        """Add the staged findings that are not known, but for some; give their ids.

        ``staged`` are the ids of all that are staged, in the order of their keys: all writers
        take their rows in it, and they are read as they were copied.
        """
        added = await connection.execute(
            self._insert, {_WITHOUT: without}, execution_options={"preserve_rowcount": True}
        )
        wanted = set(staged).difference(without)
        if added.rowcount == len(wanted):
            return wanted
        ids = self._target.table.c[ID]
        own = self._store.select(self._target.kind.collection, self._tenant, [ID])
        found = await connection.execute(own.where(ids == sa.any_(_texts(sorted(wanted)))))
        return set(found.scalars())

    def _not_known(self) -> sa.Select[Any]:
        known = self._store.select(self._target.kind.collection, self._tenant, [ID])
        known = known.where(self._same_key(self._target.table)).correlate(self._staged)
        return sa.select(self._staged.c[ID]).where(~sa.exists(known.subquery().select()))

    def _added(self) -> postgresql.Insert:
        table, codec = self._target.table, self._target.codec
        row = codec.empty_row() | {TENANT: self._tenant, ETAG: self._etag}
        row |= dict.fromkeys((CREATED, WRITTEN), self._moment) | dict(self._common) | self._grouped
        names = [name for name in row if row[name] is not None or name in self._staged.c]
        without = sa.bindparam(_WITHOUT, type_=postgresql.ARRAY(sa.Text()))
        chosen = sa.select(*(self._first(name, row[name]).label(name) for name in names))
        chosen = chosen.where(self._staged.c[ID] != sa.all_(without))
        insert = postgresql.insert(table).from_select(names, chosen)
        return insert.on_conflict_do_nothing()

    def _first(self, name: str, otherwise: Any) -> sa.ColumnElement[Any]:
        """Give what a new row has in a column; of staged rows, empty lists and maps are NULL."""
        column = self._target.table.c[name]
        empty = sa.literal(otherwise, column.type)
        if name not in self._staged.c:
            return sa.cast(empty, column.type)
        staged: sa.ColumnElement[Any] = self._staged.c[name]
        return staged if otherwise is None else sa.func.coalesce(staged, empty)

    def _value(self, name: str) -> sa.ColumnElement[Any]:
        """Give a column of the staged rows, or what they have in common."""
        if name in self._staged.c:
            found: sa.ColumnElement[Any] = self._staged.c[name]
            return found
        return sa.literal(self._common.get(name), self._target.table.c[name].type)

    def _same_key(self, table: Any) -> sa.ColumnElement[bool]:
        key = self._target.kind.option.natural_key
        return sa.and_(*(table.c[name] == self._value(name) for name in key))

    def _seen_again(self) -> ReturningUpdate[Any]:
        """Update what a report shows as it is, in the order in which all writers lock rows."""
        collection, table, rows = (
            self._target.kind.collection,
            self._target.table,
            self._target.rows,
        )
        news = {name: self._news(name) for name in SEEN if name in table.c}
        found = (
            self._store.select(collection, self._tenant, [ID])
            .add_columns(
                self._staged.c[ID].label("staged_id"),
                *(new.label(f"new_{name}") for name, new in news.items()),
            )
            .where(self._same_key(table), self._is_same(), ~self._stays_in_group())
            .where(sa.or_(*(rows.c[name].is_distinct_from(new) for name, new in news.items())))
            .order_by(table.c[ID])
            .with_for_update(key_share=True, of=table)
            .subquery()
        )
        values = {name: found.c[f"new_{name}"] for name in news}
        stamps = {ETAG: self._etag, WRITTEN: self._moment}
        statement = self._store.update(collection, self._tenant)
        statement = statement.values({**values, **stamps, **self._grouped})
        return statement.where(table.c[ID] == found.c[ID]).returning(found.c.staged_id, table.c[ID])

    def _in_groups(self) -> sa.Select[Any]:
        """Select what a report shows as it is, of groups of which that is noted as a whole."""
        collection, table = self._target.kind.collection, self._target.table
        known = self._store.select(collection, self._tenant, [ID])
        found = known.with_only_columns(self._staged.c[ID], table.c[ID])
        return found.where(self._same_key(table), self._is_same(), self._stays_in_group())

    def _stays_in_group(self) -> sa.ColumnElement[bool]:
        """Tell whether a row that is seen again need not be written for that."""
        if not self._grouped:
            return sa.false()
        table = self._target.table
        groups = sa.bindparam(_GROUPS, type_=postgresql.ARRAY(sa.Text()))
        own = self._sightings
        alike = [
            ~table.c[name].is_distinct_from(self._news(name))
            for name in SEEN
            if name in table.c and name not in own
        ]
        return sa.and_(sa.func.coalesce(table.c[GROUP] == sa.any_(groups), sa.false()), *alike)

    def _news(self, name: str) -> sa.ColumnElement[Any]:
        old, given = self._target.rows.c[name], self._value(name)
        if name == SEEN_LAST:
            # An older report says nothing of what was seen since.
            return sa.func.greatest(old, given, type_=old.type)
        return sa.func.coalesce(given, old, type_=old.type)

    def _is_same(self) -> sa.ColumnElement[bool]:
        """Tell whether a report changes nothing of a known finding; see ``import_state.settle``."""
        table, key = self._target.table, self._target.kind.option.natural_key
        apart = {ID, *key, *KEPT, *SEEN, _DUE, STATUS, self._life.resolution}
        given = (column for column in self._staged.c if column.name not in apart)
        alike = [sa.or_(each.is_(None), each == table.c[each.name]) for each in given]
        common = [
            table.c[name] == sa.literal(value, table.c[name].type)
            for name, value in self._common.items()
            if name not in apart
        ]
        kept = [
            table.c[name].is_not(None)
            for name in KEPT
            if name in table.c and (name in self._staged.c or self._common.get(name) is not None)
        ]
        return sa.and_(*alike, *common, *kept, self._stays())

    def _stays(self) -> sa.ColumnElement[bool]:
        """Tell whether a known finding takes no step."""
        life, table = self._life, self._target.table
        closed = table.c[STATUS] == life.closed
        if life.resolution:
            ended = table.c[life.resolution].in_(sorted(life.ends))
            closed = sa.or_(closed, sa.and_(table.c[STATUS] == life.resolved, ended))
        shown_open = self._value(STATUS).in_(sorted(life.open))
        was_open = table.c[STATUS].in_(sorted(life.open))
        return sa.or_(sa.and_(shown_open, ~closed), sa.and_(~shown_open, ~was_open))


def _texts(values: Sequence[str]) -> Any:
    return sa.cast(values, postgresql.ARRAY(sa.Text()))
