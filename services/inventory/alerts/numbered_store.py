"""The SQL of what is told once, numbered in the order of commits, so that none is passed by."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.errors import RevisionGone
from mesh.sql import engine as dialect
from mesh.sql.change_table import EPOCH, TENANT
from mesh.sql.change_triggers import CHANNEL
from mesh.sql.changes import Revision
from mesh.sql.store import Store
from secmesh.inventory.v1.check_turn_pb2 import CheckTurn
from secmesh.inventory.v1.contradiction_pb2 import Contradiction

PAGE = 200
"""Messages read at once: what a slow watcher keeps in memory."""
T = TypeVar("T", Contradiction, CheckTurn)


@dataclass(frozen=True)
class Choice:
    """What of a collection is looked for."""

    filter: str = ""
    """CEL; empty for all."""
    among: tuple[str, frozenset[str]] | None = None
    """A column, and the values of it that are chosen."""


EVERYTHING = Choice()


@dataclass(frozen=True)
class Found(Generic[T]):
    """Some messages that follow each other."""

    messages: Sequence[T]
    revision: Revision
    """Where to go on."""
    more: bool
    """Whether the next ones are there already."""


class NumberedStore(Generic[T]):
    """Numbers the messages of one collection in each tenant from 1, and reads them in order.

    The last one must stay, so that no number comes again; those before may leave from the first
    on.
    """

    def __init__(self, store: Store, collection: str) -> None:
        self.store = store
        self.collection = collection

    async def take_turn(self, connection: AsyncConnection, tenant: str) -> None:
        """Let one transaction at a time number its messages, until its commit; wake watchers."""
        await dialect.take_turn(connection, f"{self.collection}/{tenant}")
        if self.store.database == dialect.POSTGRESQL:
            await connection.execute(sa.select(sa.func.pg_notify(CHANNEL, "")))

    async def append(self, connection: AsyncConnection, tenant: str, made: Sequence[T]) -> None:
        """Number messages and store them, in the turn of the transaction."""
        if made:
            last = await connection.scalar(self._last(tenant)) or 0
            for number, each in enumerate(made, start=last + 1):
                each.sequence = number
            await self.store.insert(connection, self.collection, made)

    async def present(self, tenant: str) -> Revision:
        """Give the place after all that is there."""
        async with self.store.connection(tenant) as connection:
            return (await self._ends(connection, tenant))[1]

    async def after(self, tenant: str, place: Revision, choice: Choice = EVERYTHING) -> Found[T]:
        """Give the next messages after a place; RevisionGone, FilterInvalid."""
        target = self.store.target(self.collection)
        async with self.store.connection(tenant) as connection:
            before, end = await self._ends(connection, tenant)
            if place.epoch != end.epoch or not before <= place.sequence <= end.sequence:
                raise RevisionGone(str(place))
            number = target.table.c.sequence
            statement = (
                self.store.select(self.collection, tenant)
                .where(number > place.sequence, number <= end.sequence)
                .order_by(number)
                .limit(PAGE)
            )
            if choice.filter:
                statement = statement.where(self.store.condition(target, choice.filter))
            if choice.among is not None:
                column, values = choice.among
                statement = statement.where(target.table.c[column].in_(sorted(values)))
            rows = await self.store.messages(self.collection, statement, connection=connection)
        found = cast("list[T]", rows)
        if len(found) < PAGE:
            return Found(found, end, more=False)
        return Found(found, Revision(0, found[-1].sequence, end.epoch), more=True)

    async def _ends(self, connection: AsyncConnection, tenant: str) -> tuple[int, Revision]:
        """Give the number before the first that is there, and the place after the last."""
        epoch = await connection.scalar(self._epoch(tenant))
        column = self.store.target(self.collection).table.c.sequence
        first = await connection.scalar(self._of(tenant, sa.func.min(column))) or 1
        last = await connection.scalar(self._last(tenant)) or 0
        return first - 1, Revision(0, last, epoch or "")

    def _last(self, tenant: str) -> sa.Select[Any]:
        column = self.store.target(self.collection).table.c.sequence
        return self._of(tenant, sa.func.max(column))

    def _of(self, tenant: str, value: sa.ColumnElement[Any]) -> sa.Select[Any]:
        return sa.select(value).where(self.store.target(self.collection).table.c[TENANT] == tenant)

    def _epoch(self, tenant: str) -> sa.Select[Any]:
        """Find what a restore made anew: numbers of before it come again."""
        if self.store.tables.changes is None:
            raise ValueError("no changes are kept for this contract")
        floors = self.store.tables.changes[1]
        return sa.select(floors.c[EPOCH]).where(floors.c[TENANT] == tenant)
