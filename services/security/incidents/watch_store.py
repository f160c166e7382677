"""SQL of playbooks that changes set off: what each watches, who armed it, up to where it saw."""

import logging
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.cel import Condition, Environment
from mesh.contract.catalogue import Kind
from mesh.records.moments import Clock
from mesh.sql.alone import alone
from mesh.sql.change_table import Change
from mesh.sql.changes import RecordChange
from mesh.sql.rows import Rows
from mesh.sql.store import TENANT, Store
from mesh.sql.tenancy import acting_for
from secmesh.security.v1.playbook_watch_pb2 import PlaybookWatch
from services.security.editing import required_tenant
from services.security.workflows.feed_following import AUTOMATIC, Place

WATCHES = "playbook_watches"
ARMED_BY = ("revision", "arm_time")
"""What tells one arming of a playbook from the next, and up to where it saw the changes."""
_LOG = logging.getLogger(__name__)


def watch_of(playbook: str) -> str:
    """Give the name of the watch of a playbook."""
    return f"tenants/{required_tenant(playbook)}/{WATCHES}/{playbook.rpartition('/')[2]}"


@dataclass(frozen=True, eq=False)
class Trigger:
    """What one playbook waits for, as it was armed; it never changes."""

    name: str
    """Of the watch."""
    playbook: str
    conditions: Mapping[str, Sequence[tuple[Kind, Condition | None]]] = field(repr=False)
    """By collection; None is fulfilled by each record."""

    @property
    def key(self) -> str:
        """Give the watch: its place is kept there."""
        return self.name

    @property
    def subject(self) -> str:
        """Give the playbook."""
        return self.playbook

    @property
    def collections(self) -> Set[str]:
        """Give the collections whose changes set the playbook off."""
        return self.conditions.keys()

    def kind(self, change: RecordChange) -> Kind:
        """Give the kind of a record whose change is looked at."""
        return self.conditions[change.collection][0][0]

    def matters(self, change: RecordChange) -> bool:
        """Tell whether a record fits after a change that did not before."""
        wanted = self.conditions.get(change.collection, ())
        if change.after is None or change.change is Change.DELETED:
            return False
        if change.actor.startswith(AUTOMATIC):
            return False
        return any(
            _fits(*each, change.after) and not _fits(*each, change.before) for each in wanted
        )


def _fits(kind: Kind, condition: Condition | None, record: Any) -> bool:
    if record is None or condition is None:
        return record is not None
    return condition.matches(getattr(record, kind.body_field or ""), record) is True


class WatchStore:
    """The watches of all tenants; what an armed one says is read once."""

    def __init__(self, store: Store, kinds: Mapping[str, Kind], clock: Clock) -> None:
        self._store = store
        self._kinds = kinds
        self._clock = clock
        self._rows = Rows(store)
        self._target = store.target(WATCHES)
        self._known: dict[tuple[str, int], Trigger] = {}

    async def lock(self, connection: AsyncConnection, name: str) -> Any:
        """Give a watch, the transaction's own until its end; None if there is none."""
        return await self._rows.find(connection, self._target, name)

    async def find(self, name: str) -> Any:
        """Give a watch; ResourceNotFound."""
        return await self._store.get(WATCHES, name)

    async def arm(self, connection: AsyncConnection, watch: PlaybookWatch) -> None:
        """Write a watch, whether there was one or not."""
        await self._store.upsert(connection, WATCHES, [watch])

    async def save(self, connection: AsyncConnection, watch: PlaybookWatch) -> None:
        """Write a watch that was locked."""
        await self._rows.replace(connection, self._target, watch, self._clock())

    async def places(self) -> Mapping[str, Sequence[Place[Trigger]]]:
        """Give what is armed, of all tenants, by tenant, in one query."""
        columns = self._target.table.c
        statement = (
            sa.select(columns[TENANT], columns.id, *(columns[each] for each in ARMED_BY))
            .where(columns.armed)
            .order_by(columns[TENANT], columns.id)
        )
        async with self._store.whole() as connection:
            rows: Any = await self._store.fetch(statement, connection)
        stored = {(f"tenants/{row[0]}/{WATCHES}/{row[1]}", row[3]): row[2] for row in rows}
        await self._learn(stored.keys())
        found: dict[str, list[Place[Trigger]]] = {}
        for key, revision in stored.items():
            if key in self._known:
                places = found.setdefault(required_tenant(key[0]), [])
                places.append(Place(self._known[key], revision))
        return found

    async def _learn(self, present: Set[tuple[str, int]]) -> None:
        """Read what was armed since, and forget what no longer is."""
        for key in self._known.keys() - present:
            del self._known[key]
        for key in sorted(present - self._known.keys()):
            name = key[0]
            with acting_for(required_tenant(name)), alone(_LOG, "a watch was not read", name):
                self._known[key] = self._trigger(await self.find(name))

    def _trigger(self, watch: Any) -> Trigger:
        found: dict[str, list[tuple[Kind, Condition | None]]] = {}
        for each in watch.trigger_conditions:
            # The contract may have lost the collection since.
            if (kind := self._kinds.get(each.collection)) is not None:
                found.setdefault(each.collection, []).append((kind, condition_of(kind, each)))
        return Trigger(watch.name, watch.playbook, found)


def condition_of(kind: Kind, stated: Any) -> Condition | None:
    """Compile what a record must be like; None if any will do. Raises FilterInvalid."""
    return Environment.of_kind(kind).compile(stated.filter) if stated.filter else None
