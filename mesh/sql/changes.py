"""The change feed: what became of a tenant's records, in the order of commits.

On PostgreSQL a position is (transaction, sequence), and only transactions below the oldest one
that still runs are read (``pg_snapshot_xmin``): numbers are given out before the commit, so
that a sequence alone would be passed by a commit that comes late. A transaction that writes for
long anywhere on the server holds the feed back as long; nothing is lost by that.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, NamedTuple

import sqlalchemy as sa
from google.protobuf.message import Message
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.errors import FieldInvalid, RevisionGone
from mesh.sql import engine as dialect
from mesh.sql.change_rows import ChangeRows
from mesh.sql.change_table import (
    ACTOR,
    AFTER,
    BEFORE,
    CHANGE,
    COLLECTION,
    EPOCH,
    RECORD,
    SEQUENCE,
    TENANT,
    TIME,
    TRANSACTION,
    Change,
)
from mesh.sql.store import Store
from mesh.sql.tables import VALID_FROM, VALID_TO, KindTable

PAGE = 200
"""Changes read at once: what a slow watcher keeps in memory."""
FORGOTTEN = 1000
"""Changes removed in one transaction."""
_REVISION = re.compile(r"([0-9]{1,19})-([0-9]{1,19})(?:-([0-9a-f]{12}))?")
_LARGEST = 2**63 - 1


class Revision(NamedTuple):
    """A place in the feed: after all that comes before it, the change itself included."""

    transaction: int
    sequence: int
    epoch: str = ""
    """Of the restore that the feed begins with; empty if there was none."""

    def __str__(self) -> str:
        place = f"{self.transaction}-{self.sequence}"
        return f"{place}-{self.epoch}" if self.epoch else place

    @classmethod
    def parse(cls, text: str) -> "Revision":
        """Read what ``str`` wrote; FieldInvalid."""
        match = _REVISION.fullmatch(text)
        numbers = [int(each) for each in match.groups()[:2]] if match else []
        if match is None or max(numbers) > _LARGEST:
            raise FieldInvalid.of("revision", "is no revision of a watch", "REVISION_INVALID")
        return cls(numbers[0], numbers[1], match[3] or "")


@dataclass(frozen=True)
class RecordChange:
    """One change of one record."""

    revision: Revision
    collection: str
    name: str
    change: Change
    """CREATED, UPDATED or DELETED."""
    time: int
    """When it was written, in microseconds since 1970."""
    actor: str
    """Who called; empty if that is not known."""
    before: Message | None
    after: Message | None


@dataclass(frozen=True)
class ChangePage:
    """Some changes that follow each other."""

    changes: Sequence[RecordChange]
    revision: Revision
    """Where to go on."""
    more: bool
    """Whether the next page may hold changes already."""


class ChangeFeed:
    """Reads the changes of a store, page by page; between pages no connection is held."""

    def __init__(self, store: Store) -> None:
        """Read a store whose contract has records that can be watched."""
        if store.tables.changes is None:
            raise ValueError("no changes are kept for this contract")
        self._store = store
        self._changes, self._floors = store.tables.changes
        self._rows = {
            collection: ChangeRows(store.target(collection))
            for collection, kind in store.tables.kinds.items()
            if kind.envelope is not None
        }

    async def present(self, tenant: str) -> Revision:
        """Give the place after all that was committed."""
        epoch = sa.select(self._floors.c[EPOCH]).where(self._floors.c[TENANT] == tenant)
        ends = (*self._end(tenant), epoch.scalar_subquery().label(EPOCH))
        [row] = await self._store.fetch(sa.select(*ends))
        return Revision(row.end0, row.end1, getattr(row, EPOCH) or "")

    async def page(
        self, tenant: str, after: Revision, collections: Collection[str] | None = None
    ) -> ChangePage:
        """Give the next changes after a place, of some collections or of all.

        RevisionGone if changes after it were forgotten, or if it is of another epoch or beyond
        the present: then it is of another database, or of before a restore.
        """
        rows = await self._store.fetch(self._select(tenant, after, collections))
        epoch = getattr(rows[0], EPOCH) or ""
        end = Revision(rows[0].end0, rows[0].end1, epoch)
        floor = Revision(rows[0].floor0, rows[0].floor1, epoch)
        if after.epoch != epoch or after < floor or after > end:
            raise RevisionGone(str(after))
        found = [row for row in rows if getattr(row, CHANGE) is not None]
        # A collection that the contract lost may have left changes.
        known = [row for row in found if getattr(row, COLLECTION) in self._rows]
        replaced = await self._replaced(tenant, known)
        changes = [
            self._change(tenant, row, epoch)
            for row in known
            if (getattr(row, COLLECTION), getattr(row, RECORD), _place(row)) not in replaced
        ]
        if len(found) < PAGE:
            return ChangePage(changes, max(end, after), more=False)
        return ChangePage(changes, _place(found[-1], epoch), more=True)

    async def tenants(self) -> Sequence[str]:
        """Give the tenants that have changes, each found by one look at the index."""
        found: list[str] = []
        column = self._changes.c[TENANT]
        async with self._store.whole() as connection:
            while True:
                later = sa.select(sa.func.min(column)).where(column > (found[-1] if found else ""))
                tenant = (await self._store.fetch(later, connection))[0][0]
                if tenant is None:
                    return found
                found.append(tenant)

    async def forget(
        self, tenant: str, oldest: int, limit: int = FORGOTTEN, last: Revision | None = None
    ) -> int:
        """Remove a tenant's first changes as far as they are older than a moment, some at once.

        ``last`` is the last change that may go. Gives how many went; the place after them is
        kept, before which no watch can begin.
        """
        columns = self._changes.c
        first = (
            sa.select(columns[TRANSACTION], columns[SEQUENCE], columns[TIME])
            .where(columns[TENANT] == tenant)
            .order_by(columns[TRANSACTION], columns[SEQUENCE])
            .limit(limit)
        )
        if self._store.database == dialect.POSTGRESQL:
            first = first.where(columns[TRANSACTION] < oldest_running())
        if last is not None:
            first = first.where(sa.not_(after_place(self._changes, last)))
        async with self._store.transaction(tenant) as connection:
            rows = await self._store.fetch(first, connection)
            old = list(takewhile(lambda row: getattr(row, TIME) < oldest, rows))
            if not old:
                return 0
            end = _place(old[-1])
            gone = sa.delete(self._changes).where(
                columns[TENANT] == tenant, sa.not_(after_place(self._changes, end))
            )
            latest = max(getattr(row, TIME) for row in old)
            floor = await self._floor(connection, tenant, end, latest)
            await connection.execute(dialect.upsert(self._floors, self._store.database), floor)
            await connection.execute(gone)
        return len(old)

    async def _floor(
        self, connection: AsyncConnection, tenant: str, end: Revision, latest: int
    ) -> Mapping[str, Any]:
        """Give the row that tells up to where changes are forgotten."""
        columns, epoch = self._floors.c, None
        known = sa.select(columns[TIME], columns[EPOCH]).where(columns[TENANT] == tenant)
        for row in await self._store.fetch(known, connection):
            # Changes are forgotten in the order of their commits, not of their times.
            latest, epoch = max(latest, getattr(row, TIME) or 0), getattr(row, EPOCH)
        place = {TENANT: tenant, TRANSACTION: end.transaction, SEQUENCE: end.sequence}
        return {**place, TIME: latest, EPOCH: epoch}

    def _end(self, tenant: str) -> Sequence[sa.Label[Any]]:
        """Give the place before which all is committed and nothing will come."""
        if self._store.database == dialect.POSTGRESQL:
            return oldest_running().label("end0"), sa.literal(0, sa.BigInteger()).label("end1")
        columns = self._changes.c
        last = sa.select(sa.func.max(columns[SEQUENCE])).where(
            columns[TENANT] == tenant, columns[TRANSACTION] == 0
        )
        floor = sa.select(self._floors.c[SEQUENCE]).where(self._floors.c[TENANT] == tenant)
        counted = sa.func.coalesce(last.scalar_subquery(), floor.scalar_subquery(), 0)
        return sa.literal(0, sa.BigInteger()).label("end0"), counted.label("end1")

    def _select(
        self, tenant: str, after: Revision, collections: Collection[str] | None
    ) -> sa.Select[Any]:
        """Read all in one statement, which sees one snapshot."""
        columns = self._changes.c
        chosen = (TRANSACTION, SEQUENCE, COLLECTION, RECORD, CHANGE, TIME, ACTOR, BEFORE, AFTER)
        later = (
            sa.select(*(columns[name] for name in chosen))
            .where(columns[TENANT] == tenant, after_place(self._changes, after))
            .order_by(columns[TRANSACTION], columns[SEQUENCE])
            .limit(PAGE)
        )
        if self._store.database == dialect.POSTGRESQL:
            later = later.where(columns[TRANSACTION] < oldest_running())
        if collections is not None:
            later = later.where(columns[COLLECTION].in_(sorted(collections)))
        rows = later.subquery("later")
        floor = self._floors.c
        floors = sa.select(floor[TRANSACTION], floor[SEQUENCE], floor[EPOCH])
        floors = floors.where(floor[TENANT] == tenant)
        floored = floors.subquery("floor")
        end = sa.select(*self._end(tenant)).subquery("present")
        return (
            sa.select(
                *end.c,
                sa.func.coalesce(floored.c[TRANSACTION], 0).label("floor0"),
                sa.func.coalesce(floored.c[SEQUENCE], 0).label("floor1"),
                floored.c[EPOCH],
                *(rows.c[name] for name in chosen),
            )
            .select_from(end.outerjoin(floored, sa.true()).outerjoin(rows, sa.true()))
            .order_by(rows.c[TRANSACTION], rows.c[SEQUENCE])
        )

    async def _replaced(self, tenant: str, rows: Sequence[Any]) -> set[tuple[str, str, Revision]]:
        """Find the versions that ended because another began then; that one tells of both."""
        found: set[tuple[str, str, Revision]] = set()
        closed: dict[str, dict[tuple[str, int], Revision]] = {}
        for row in rows:
            if getattr(row, CHANGE) == Change.CLOSED:
                collection, record = getattr(row, COLLECTION), getattr(row, RECORD)
                ended = self._rows[collection].values(getattr(row, BEFORE))[VALID_TO]
                closed.setdefault(collection, {})[record, ended] = _place(row)
        for collection, places in closed.items():
            target = self._store.target(collection)
            for record, began in await self._began(target, tenant, list(places)):
                place = places.get((record, began))
                if place is not None:
                    found.add((collection, record, place))
        return found

    async def _began(
        self, target: KindTable, tenant: str, wanted: Sequence[tuple[str, int]]
    ) -> Sequence[Any]:
        """Give id and beginning of the versions that began when others ended."""
        columns = target.table.c
        ids = sorted({record for record, _ in wanted})
        moments = sorted({moment for _, moment in wanted})
        statement = self._store.select(
            target.kind.collection, tenant, ("id", VALID_FROM), past=True
        ).where(columns.id.in_(ids), columns[VALID_FROM].in_(moments))
        return await self._store.fetch(statement)

    def _change(self, tenant: str, row: Any, epoch: str) -> RecordChange:
        collection, record = getattr(row, COLLECTION), getattr(row, RECORD)
        target = self._store.target(collection)
        old, new, rows = getattr(row, BEFORE), getattr(row, AFTER), self._rows[collection]
        after = None if new is None else rows.message(tenant, record, new)
        before = None
        if old is not None:
            message = rows.message(tenant, record, old) if new is None else None
            before = message or rows.earlier(tenant, record, old, new)
        change = Change(getattr(row, CHANGE))
        return RecordChange(
            _place(row, epoch),
            collection,
            target.kind.pattern.format(tenant, record),
            Change.DELETED if change is Change.CLOSED else change,
            getattr(row, TIME),
            getattr(row, ACTOR) or "",
            before,
            after,
        )


def _place(row: Any, epoch: str = "") -> Revision:
    return Revision(getattr(row, TRANSACTION), getattr(row, SEQUENCE), epoch)


def after_place(changes: sa.Table, place: Revision) -> sa.ColumnElement[bool]:
    """Give the condition that a change comes after a place."""
    return sa.tuple_(changes.c[TRANSACTION], changes.c[SEQUENCE]) > sa.tuple_(
        sa.literal(place.transaction), sa.literal(place.sequence)
    )


def oldest_running() -> sa.ColumnElement[int]:
    """Give the number of the oldest transaction that still runs; all below are over."""
    oldest = sa.func.pg_snapshot_xmin(sa.func.pg_current_snapshot())
    return sa.cast(sa.cast(oldest, sa.Text()), sa.BigInteger())
