"""Makes an entry of each change of a record, and binds all entries of a tenant into one chain.

Writers wait for nothing: the change feed, written in their own transactions, is read afterwards,
in the order of commits and only below the oldest transaction that still runs. A batch of entries
and the place up to which the feed was read are one transaction, so that a process that is killed
leaves no gap and nothing twice. One process at a time does it in a database (advisory lock).
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.errors import TenantInactive
from mesh.identifiers import new_uuid
from mesh.records.moments import Clock, now
from mesh.sql.change_table import (
    ACTOR,
    AFTER,
    BEFORE,
    CHANGE,
    COLLECTION,
    RECORD,
    REQUEST,
    SEQUENCE,
    TENANT,
    TIME,
    TRANSACTION,
    Change,
)
from mesh.sql.changes import Revision, after_place, oldest_running
from mesh.sql.copying import stage
from mesh.sql.settings import SILENT
from mesh.sql.store import Store
from mesh.sql.values import timestamp_parts
from secmesh.security.v1.audit_chain_pb2 import AuditChain
from secmesh.security.v1.iam_audit_log_pb2 import IamActivity
from secmesh.security.v1.vocabulary_operation_pb2 import Outcome
from services.security.audit.entry import ENTRIES, HASH, POSITION, PREVIOUS, EntryForm
from services.security.audit.states import States
from services.security.writers import SYSTEM

CHAINS = "audit_chains"
BATCH = 500
"""Changes of one transaction."""
_SLICE = 50
"""Entries made before other tasks of the process have a turn."""
_COPIED = 100
"""Entries from which COPY is faster than INSERT."""
_LOCK = 0x5ECA0D17
"""The advisory lock of who chains."""
_LONGEST_ACTOR = 256
_ACTS: Mapping[int, tuple[int, str]] = {
    Change.CREATED: (IamActivity.IAM_ACTIVITY_CREATE, "create"),
    Change.UPDATED: (IamActivity.IAM_ACTIVITY_UPDATE, "update"),
    Change.DELETED: (IamActivity.IAM_ACTIVITY_DELETE, "delete"),
    Change.CLOSED: (IamActivity.IAM_ACTIVITY_DELETE, "delete"),
}


class _Told(NamedTuple):
    """A change as the feed keeps it."""

    transaction: int
    sequence: int
    collection: str
    record: str
    change: int
    time: int
    actor: str | None
    request: str | None
    before: str | None
    after: str | None


_CHOSEN = (TRANSACTION, SEQUENCE, COLLECTION, RECORD, CHANGE, TIME, ACTOR, REQUEST, BEFORE, AFTER)
"""The columns of these, in the same order."""


class Chain:
    """Chains the entries of a store's tenants, as the owner of its tables."""

    def __init__(self, store: Store, clock: Clock = now) -> None:
        if store.tables.changes is None:
            raise ValueError("no changes are kept for this contract")
        self._store = store
        self._clock = clock
        self.changes, _ = store.tables.changes
        """The table of the change feed."""
        self._table = store.target(ENTRIES).table
        self._chains = store.target(CHAINS).table
        self._form = EntryForm(store)
        self._empty = dict.fromkeys(self._form.columns)
        self._states = {
            collection: States(store.target(collection))
            for collection, kind in store.tables.kinds.items()
            if kind.envelope is not None
        }

    async def place(self, tenant: str) -> Revision:
        """Give the last change of a tenant that has its entry."""
        async with self._store.whole() as connection:
            return _place_of(await self._head(connection, tenant))

    async def tenants(self) -> Sequence[str]:
        """Give the tenants that have a chain."""
        async with self._store.whole() as connection:
            rows = await self._store.fetch(sa.select(self._chains.c[TENANT]), connection)
        return [row[0] for row in rows]

    async def waiting(self) -> dict[str, int]:
        """Give the tenants with changes that have no entry yet, and when the first was made."""
        changes, chains = self.changes.c, self._chains.c
        lowest = sa.func.min(changes[TENANT])
        tenants = sa.select(lowest.label(TENANT)).cte(recursive=True)
        later = sa.select(lowest).where(changes[TENANT] > tenants.c[TENANT]).scalar_subquery()
        tenants = tenants.union_all(sa.select(later).where(tenants.c[TENANT].is_not(None)))
        tenant = tenants.c[TENANT]
        first = (
            sa.select(changes[TIME])
            .where(changes[TENANT] == tenant)
            .where(
                sa.tuple_(changes[TRANSACTION], changes[SEQUENCE])
                > sa.tuple_(
                    sa.func.coalesce(chains.change_transaction, 0),
                    sa.func.coalesce(chains.change_sequence, 0),
                )
            )
            .order_by(changes[TRANSACTION], changes[SEQUENCE])
            .limit(1)
            .correlate(tenants, self._chains)
            .scalar_subquery()
        )
        joined = tenants.outerjoin(self._chains, chains[TENANT] == tenant)
        statement = sa.select(tenant, first).select_from(joined)
        async with self._store.whole() as connection:
            rows: Sequence[Any] = await self._store.fetch(statement, connection)
        return {row[0]: row[1] for row in rows if row[0] is not None and row[1] is not None}

    async def advance(self, tenant: str, *, patient: bool = False) -> tuple[int, bool]:
        """Chain one batch; give how many entries, and whether there may be more.

        While another process chains nothing is done, unless ``patient``: then it is waited for.
        Of a tenant that was removed nothing is told any more.
        """
        with contextlib.suppress(TenantInactive):
            return await self._advance(tenant, patient=patient)
        return 0, False

    async def _advance(self, tenant: str, *, patient: bool) -> tuple[int, bool]:
        async with self._store.upkeep(tenant) as connection:
            lock = sa.func.pg_advisory_xact_lock if patient else sa.func.pg_try_advisory_xact_lock
            if await connection.scalar(sa.select(lock(_LOCK))) is False:
                return 0, False
            # What tells of changes is no change that is told of.
            await connection.execute(sa.select(sa.func.set_config(SILENT, "on", True)))
            head = await self._own_head(connection, tenant)
            changes = await self._next(connection, tenant, _place_of(head))
            if not changes:
                return 0, False
            made, sealed = await self._entries(connection, tenant, head, changes)
            await self._write(connection, tenant, made, sealed)
            last = changes[-1]
            head.change_transaction = last.transaction
            head.change_sequence = last.sequence
            moment = timestamp_parts(self._clock())
            head.update_time.seconds, head.update_time.nanos = moment["seconds"], moment["nanos"]
            await self._store.upsert(connection, CHAINS, [head])
        return len(made) + len(sealed), len(changes) == BATCH

    async def catch_up(self, tenant: str) -> int:
        """Chain all that was committed before now, and give how many entries."""
        total, more = 0, True
        while more:
            count, more = await self.advance(tenant, patient=True)
            total += count
        return total

    async def _head(self, connection: AsyncConnection, tenant: str) -> AuditChain:
        chosen = self._store.target(CHAINS).codec.columns
        statement = self._store.select(CHAINS, tenant, chosen)
        found: Any = await self._store.messages(CHAINS, statement, connection=connection)
        return found[0] if found else AuditChain(name=f"tenants/{tenant}/{CHAINS}/main")

    async def _own_head(self, connection: AsyncConnection, tenant: str) -> AuditChain:
        """Give the end of the chain; of a store that came from another server, as it counts here.

        Its transactions have numbers there that this server has not come to yet.
        """
        head = await self._head(connection, tenant)
        coming = sa.func.pg_snapshot_xmax(sa.func.pg_current_snapshot())
        bound = sa.cast(sa.cast(coming, sa.Text()), sa.BigInteger())
        if head.change_transaction < (await connection.scalar(sa.select(bound)) or 0):
            return head
        columns, place = self.changes.c, _place_of(head)
        told = sa.and_(
            columns[TENANT] == tenant,
            columns[TRANSACTION] >= bound,
            sa.not_(after_place(self.changes, place)),
        )
        await connection.execute(sa.delete(self.changes).where(told))
        head.change_transaction = head.change_sequence = 0
        return head

    async def _next(
        self, connection: AsyncConnection, tenant: str, place: Revision
    ) -> Sequence[_Told]:
        columns = self.changes.c
        statement = (
            sa.select(*(columns[name] for name in _CHOSEN))
            .where(columns[TENANT] == tenant, after_place(self.changes, place))
            .where(columns[TRANSACTION] < oldest_running())
            .order_by(columns[TRANSACTION], columns[SEQUENCE])
            .limit(BATCH)
        )
        rows: Sequence[Any] = await self._store.fetch(statement, connection)
        return [_Told(*row) for row in rows]

    async def _entries(
        self, connection: AsyncConnection, tenant: str, head: AuditChain, changes: Sequence[_Told]
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Give the entries that tell of changes, and those that were written by others."""
        written = await self._written(connection, tenant, changes)
        made: list[dict[str, Any]] = []
        sealed: list[dict[str, Any]] = []
        for number, change in enumerate(changes, 1):
            if change.collection == ENTRIES:
                # Its own rows start no entry: one that somebody else wrote is one.
                row = written.pop(change.record, None)
                if row is not None:
                    sealed.append(self._linked(head, row))
            elif change.collection in self._states:
                made.append(self._linked(head, self._entry(tenant, change)))
            if not number % _SLICE:
                await asyncio.sleep(0)
        return made, sealed

    async def _written(
        self, connection: AsyncConnection, tenant: str, changes: Sequence[_Told]
    ) -> dict[str, dict[str, Any]]:
        """Give the entries that others wrote and that are not chained, by id."""
        ids = [
            each.record
            for each in changes
            if each.collection == ENTRIES and each.change == Change.CREATED
        ]
        if not ids:
            return {}
        columns = self._table.c
        statement = self._store.select(ENTRIES, tenant, self._form.columns).where(
            columns.id.in_(ids), columns[HASH].is_(None)
        )
        rows = await self._store.fetch(statement, connection)
        return {row.id: dict(zip(self._form.columns, row, strict=True)) for row in rows}

    def _entry(self, tenant: str, change: _Told) -> dict[str, Any]:
        """Give the row that tells of a change."""
        activity, verb = _ACTS[change.change]
        states = self._states[change.collection]
        before, after = states.of(tenant, change.before, change.after)
        moment = self._clock()
        return {
            **self._empty,
            TENANT: tenant,
            "id": new_uuid(),
            "etag": f"{change.transaction}-{change.sequence}",
            "create_time": moment,
            "update_time": moment,
            "labels": _labels(change.request),
            "actor_name": (change.actor or SYSTEM)[:_LONGEST_ACTOR],
            "activity": activity,
            "operation": f"{change.collection}.{verb}",
            "target_type": change.collection,
            "target_id": change.record,
            "outcome": Outcome.OUTCOME_SUCCESS,
            "before_state": before,
            "after_state": after,
            "event_time": change.time,
        }

    def _linked(self, head: AuditChain, row: dict[str, Any]) -> dict[str, Any]:
        """Put a row at the end of the chain."""
        head.chain_position += 1
        row[POSITION], row[PREVIOUS] = head.chain_position, head.entry_hash or None
        row[HASH] = head.entry_hash = self._form.hash(head.entry_hash, row)
        return row

    async def _write(
        self,
        connection: AsyncConnection,
        tenant: str,
        made: Sequence[dict[str, Any]],
        sealed: Sequence[dict[str, Any]],
    ) -> None:
        if len(made) >= _COPIED:
            staged = await stage(connection, self._table, made)
            rows = sa.select(*staged.c)
            names = [column.name for column in staged.c]
            await connection.execute(sa.insert(self._table).from_select(names, rows))
        elif made:
            await connection.execute(sa.insert(self._table), list(made))
        if sealed:
            links = (POSITION, PREVIOUS, HASH)
            update = self._store.update(ENTRIES, tenant).where(
                self._table.c.id == sa.bindparam("own_id")
            )
            values: Any = {name: sa.bindparam(f"new_{name}") for name in links}
            await connection.execute(
                update.values(values),
                [{"own_id": row["id"], **{f"new_{n}": row[n] for n in links}} for row in sealed],
            )


def _labels(request: str | None) -> str:
    return orjson.dumps({"request_id": request} if request else {}).decode()


def _place_of(head: AuditChain) -> Revision:
    return Revision(head.change_transaction, head.change_sequence)
