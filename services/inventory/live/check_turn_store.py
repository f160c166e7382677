"""The SQL of turned outcomes: what live sync found, in the order in which it was stored."""

from collections.abc import Sequence
from itertools import takewhile
from typing import cast

from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.names import tenant_of
from mesh.sql.store import Store
from secmesh.inventory.v1.check_turn_pb2 import CheckTurn
from services.inventory.alerts.numbered_store import NumberedStore

CHECK_TURNS = "check_turns"
FORGOTTEN = 1000
"""Turns that are removed in one transaction."""


class CheckTurnStore(NumberedStore[CheckTurn]):
    """Keeps turns of checks."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, CHECK_TURNS)

    async def add(self, connection: AsyncConnection, turns: Sequence[CheckTurn]) -> None:
        """Store turns of one tenant, in the transaction that stores what turned them."""
        if turns:
            tenant = tenant_of(turns[0].name) or ""
            await self.take_turn(connection, tenant)
            await self.append(connection, tenant, turns)

    async def of(self, sync: str, limit: int) -> list[CheckTurn]:
        """Give the first turns that a run led to."""
        columns = self.store.target(CHECK_TURNS).table.c
        statement = (
            self.store.select(CHECK_TURNS, tenant_of(sync) or "")
            .where(columns.sync == sync)
            .order_by(columns.sequence)
            .limit(limit)
        )
        return cast("list[CheckTurn]", await self.store.messages(CHECK_TURNS, statement))

    async def forget(self, tenant: str, oldest: int) -> int:
        """Remove the first turns as far as they are older than a moment, some at once.

        ``oldest`` is in microseconds since 1970. Gives how many went; the last turn of all stays.
        """
        columns = self.store.target(CHECK_TURNS).table.c
        first = (
            self.store.select(CHECK_TURNS, tenant, ("sequence", "evaluate_time"))
            .order_by(columns.sequence)
            .limit(FORGOTTEN + 1)
        )
        async with self.store.transaction(tenant) as connection:
            rows = list(await self.store.fetch(first, connection))[:-1]
            old = list(takewhile(lambda row: row.evaluate_time < oldest, rows))
            if old:
                gone = columns.sequence <= old[-1].sequence
                await connection.execute(self.store.delete(CHECK_TURNS, tenant).where(gone))
        return len(old)
