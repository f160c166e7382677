"""The SQL of contradictions: numbered in the order of commits, so that none is passed by."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.names import tenant_of
from mesh.errors import RevisionGone
from mesh.sql import engine as dialect
from mesh.sql.change_table import EPOCH, TENANT
from mesh.sql.change_triggers import CHANNEL
from mesh.sql.changes import Revision
from mesh.sql.store import Store
from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1.contradiction_pb2 import Contradiction
from services.inventory.alerts.turning import NONE, Verdicts, turned
from services.inventory.compliance.assessed_scope import of_scope
from services.inventory.compliance.tables import ASSESSMENTS, VERDICTS

CONTRADICTIONS = "contradictions"
PAGE = 200
"""Contradictions read at once: what a slow watcher keeps in memory."""


@dataclass(frozen=True)
class Found:
    """Some contradictions that follow each other."""

    contradictions: Sequence[Contradiction]
    revision: Revision
    """Where to go on."""
    more: bool
    """Whether the next ones are there already."""


class ContradictionStore:
    """Finds contradictions while an assessment is stored, and reads them."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def add(
        self,
        connection: AsyncConnection,
        assessment: pb.Assessment,
        found: Sequence[pb.ClaimVerdict],
    ) -> list[Contradiction]:
        """Store what an assessment turned up, in the transaction that stores it, and give it.

        An assessment that is older than one of its scope which is stored already turns up nothing:
        that one told of all that still holds.
        """
        tenant = tenant_of(assessment.name) or ""
        await self._take_turn(connection, tenant)
        earlier = await self._earlier(connection, assessment)
        made = [] if earlier is None else turned(assessment, found, earlier)
        if made:
            last = await connection.scalar(self._last(tenant)) or 0
            for number, each in enumerate(made, start=last + 1):
                each.sequence = number
            await self.store.insert(connection, CONTRADICTIONS, made)
        return made

    async def present(self, tenant: str) -> Revision:
        """Give the place after all that was found."""
        async with self.store.connection(tenant) as connection:
            return await self._present(connection, tenant)

    async def after(self, tenant: str, place: Revision, filter_: str = "") -> Found:
        """Give the next contradictions after a place; RevisionGone, FilterInvalid."""
        target = self.store.target(CONTRADICTIONS)
        async with self.store.connection(tenant) as connection:
            end = await self._present(connection, tenant)
            if place.epoch != end.epoch or place.sequence > end.sequence:
                raise RevisionGone(str(place))
            number = target.table.c.sequence
            statement = (
                self.store.select(CONTRADICTIONS, tenant)
                .where(number > place.sequence, number <= end.sequence)
                .order_by(number)
                .limit(PAGE)
            )
            if filter_:
                statement = statement.where(self.store.condition(target, filter_))
            rows = await self.store.messages(CONTRADICTIONS, statement, connection=connection)
        found = cast("list[Contradiction]", rows)
        if len(found) < PAGE:
            return Found(found, end, more=False)
        return Found(found, Revision(0, found[-1].sequence, end.epoch), more=True)

    async def _take_turn(self, connection: AsyncConnection, tenant: str) -> None:
        """Let one transaction at a time number its findings, until its commit; wake watchers."""
        await dialect.take_turn(connection, f"{CONTRADICTIONS}/{tenant}")
        if self.store.database == dialect.POSTGRESQL:
            await connection.execute(sa.select(sa.func.pg_notify(CHANNEL, "")))

    async def _earlier(
        self, connection: AsyncConnection, assessment: pb.Assessment
    ) -> Verdicts | None:
        """Give the verdicts of the assessment before of the same scope; None if one is newer."""
        tenant, assessment_id = assessment.name.split("/")[1::2]
        target = self.store.target(ASSESSMENTS)
        columns = target.table.c
        newest = (
            self.store.select(ASSESSMENTS, tenant, ("id", "evaluate_time"))
            .where(
                of_scope(target, assessment.ssp, assessment.scope_account_ids),
                columns.id != assessment_id,
            )
            .order_by(columns.evaluate_time.desc(), columns.id.desc())
            .limit(1)
        )
        for row in await self.store.fetch(newest, connection):
            if row.evaluate_time > assessment.evaluate_time.ToMicroseconds():
                return None
            return await self._verdicts(connection, tenant, row.id)
        return NONE

    async def _verdicts(
        self, connection: AsyncConnection, tenant: str, assessment_id: str
    ) -> Verdicts:
        table = self.store.target(VERDICTS).table
        statement = self.store.select(VERDICTS, tenant, ("id", "verdict")).where(
            table.c.assessment_id == assessment_id
        )
        rows = await self.store.fetch(statement, connection)
        return {row.id: row.verdict for row in rows}

    async def _present(self, connection: AsyncConnection, tenant: str) -> Revision:
        epoch = await connection.scalar(self._epoch(tenant))
        return Revision(0, await connection.scalar(self._last(tenant)) or 0, epoch or "")

    def _last(self, tenant: str) -> sa.Select[Any]:
        columns = self.store.target(CONTRADICTIONS).table.c
        return sa.select(sa.func.max(columns.sequence)).where(columns[TENANT] == tenant)

    def _epoch(self, tenant: str) -> sa.Select[Any]:
        """Find what a restore made anew: numbers of before it come again."""
        if self.store.tables.changes is None:
            raise ValueError("no changes are kept for this contract")
        floors = self.store.tables.changes[1]
        return sa.select(floors.c[EPOCH]).where(floors.c[TENANT] == tenant)
