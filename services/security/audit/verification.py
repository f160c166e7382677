"""Checks the chain of a tenant's audit log and names the first entry at which it is broken."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.sql.change_table import COLLECTION, RECORD, TENANT
from mesh.sql.changes import Revision, after_place
from mesh.sql.store import Store
from services.security.audit.chain_store import CHAINS, Chain
from services.security.audit.departure_store import FIRST, LAST, RUNS
from services.security.audit.entry import ENTRIES, HASH, LEAVE, POSITION, PREVIOUS, EntryForm

_AT_ONCE = 1000
"""Entries in memory."""


@dataclass(frozen=True)
class Known:
    """An entry as it was told somewhere else before."""

    position: int
    hash: str


@dataclass(frozen=True)
class Verdict:
    """What a check found."""

    tenant: str
    entries: int
    """Entries that were checked, up to the first that is broken."""
    head: Known
    """The end of the chain, as the store knows it."""
    problem: str = ""
    """What is wrong with the first broken entry; empty if the chain is whole."""
    entry: str = ""
    """Name of that entry; of one that is missing, the next."""


class _BrokenError(Exception):
    """An entry that does not belong where it stands."""

    def __init__(self, problem: str, record: str = "") -> None:
        super().__init__(problem)
        self.record = record


class Verification:
    """Checks chains as the owner of the tables; what is still to be chained is chained before."""

    def __init__(self, store: Store, chain: Chain) -> None:
        self._store = store
        self._chain = chain
        self._form = EntryForm(store)
        self._table = store.target(ENTRIES).table

    async def tenants(self) -> Sequence[str]:
        """Give the tenants that have a chain, or changes that will begin one."""
        return sorted({*await self._chain.tenants(), *await self._chain.waiting()})

    async def check(self, tenant: str, known: Sequence[Known] = ()) -> Verdict:
        """Check a chain from its first entry that is kept to its end.

        ``known`` entries must be there, with the hashes that they had.
        """
        await self._chain.catch_up(tenant)
        async with self._store.whole() as connection:
            head, place = await self._head(connection, tenant)
            walk = _Walk(self._form, await self._departures(connection, tenant), known)
            try:
                last = (0, "")
                while rows := await self._page(connection, tenant, last):
                    for row in rows:
                        walk.step(row)
                    last = rows[-1][POSITION], rows[-1]["id"]
                walk.end(head)
                await self._require_told(connection, tenant, place)
            except _BrokenError as broken:
                pattern = self._store.target(ENTRIES).kind.pattern
                name = pattern.format(tenant, broken.record) if broken.record else ""
                return Verdict(tenant, walk.entries, head, str(broken), name)
        return Verdict(tenant, walk.entries, head)

    async def _head(self, connection: AsyncConnection, tenant: str) -> tuple[Known, Revision]:
        columns = (POSITION, HASH, "change_transaction", "change_sequence")
        rows: Sequence[Any] = await self._store.fetch(
            self._store.select(CHAINS, tenant, columns), connection
        )
        position, hashed, transaction, sequence = rows[0] if rows else (0, "", 0, 0)
        return Known(position, hashed), Revision(transaction, sequence)

    async def _departures(self, connection: AsyncConnection, tenant: str) -> dict[int, Known]:
        """Give the places that left by age, by the first of each run."""
        columns = self._table.c
        statement = self._store.select(ENTRIES, tenant, ["before_state"]).where(
            columns.operation == LEAVE, columns[POSITION].is_not(None)
        )
        found = {}
        for row in await self._store.fetch(statement, connection):
            for run in MessageToDict(Struct.FromString(row[0])).get(RUNS, ()):
                found[int(run[FIRST])] = Known(int(run[LAST]), run[HASH])
        return found

    async def _page(
        self, connection: AsyncConnection, tenant: str, after: tuple[int, str]
    ) -> Sequence[dict[str, Any]]:
        """Give the next entries in the order of the chain; forged ones may share a place."""
        place = self._table.c[POSITION], self._table.c.id
        statement = (
            self._store.select(ENTRIES, tenant, self._form.columns)
            .where(sa.tuple_(*place) > sa.tuple_(*map(sa.literal, after)))
            .order_by(*place)
            .limit(_AT_ONCE)
        )
        rows = await self._store.fetch(statement, connection)
        return [dict(zip(self._form.columns, row, strict=True)) for row in rows]

    async def _require_told(
        self, connection: AsyncConnection, tenant: str, place: Revision
    ) -> None:
        """Refuse entries without a place that no change announces: they came past the service."""
        changes = self._chain.changes
        columns = self._table.c
        told = sa.exists().where(
            changes.c[TENANT] == tenant,
            changes.c[COLLECTION] == ENTRIES,
            changes.c[RECORD] == columns.id,
            after_place(changes, place),
        )
        stray = self._store.select(ENTRIES, tenant, ["id"]).where(
            columns[POSITION].is_(None), ~told
        )
        for row in await self._store.fetch(stray.limit(1), connection):
            raise _BrokenError("was inserted past the service", row[0])


class _Walk:
    """Goes along a chain."""

    def __init__(
        self, form: EntryForm, departures: dict[int, Known], known: Sequence[Known]
    ) -> None:
        self.entries = 0
        self._form = form
        self._departures = departures
        self._known = {each.position: each.hash for each in known}
        self._last = Known(0, "")

    def step(self, row: dict[str, Any]) -> None:
        """Take the next entry."""
        record, position = row["id"], row[POSITION]
        if position <= self._last.position:
            raise _BrokenError(f"stands at the place {position} of another entry", record)
        self._skip(position - 1, record)
        if self._form.hash(row[PREVIOUS] or "", row) != row[HASH]:
            raise _BrokenError(f"was changed (place {position})", record)
        if (row[PREVIOUS] or "") != self._last.hash:
            raise _BrokenError(f"does not follow the entry before it (place {position})", record)
        self.entries += 1
        self._move(Known(position, row[HASH]), record)

    def end(self, head: Known) -> None:
        """Hold the end of the chain against what the store knows of it."""
        if self._last.position > head.position:
            raise _BrokenError(f"entries were added after the end at place {head.position}")
        self._skip(head.position)
        if self._last.hash != head.hash:
            raise _BrokenError(f"the last entry is not the one at place {head.position}")
        for position in self._known:
            raise _BrokenError(f"the chain never came to place {position}")

    def _skip(self, until: int, record: str = "") -> None:
        """Pass over the places that left by age."""
        while self._last.position < until:
            first = self._last.position + 1
            left = self._departures.get(first)
            if left is None or left.position > until:
                raise _BrokenError(f"the entry at place {first} was removed", record)
            for position in [each for each in self._known if first <= each < left.position]:
                del self._known[position]
            self._move(left, record)

    def _move(self, to: Known, record: str) -> None:
        self._last = to
        if self._known.pop(to.position, to.hash) != to.hash:
            raise _BrokenError(f"is not the entry that was known at place {to.position}", record)
