"""The SQL of contradictions: found while an assessment is stored."""

from collections.abc import Sequence
from typing import cast

from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.names import tenant_of
from mesh.sql.store import Store
from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1.contradiction_pb2 import Contradiction
from services.inventory.alerts.numbered_store import NumberedStore
from services.inventory.alerts.turning import NONE, Verdicts, turned
from services.inventory.compliance.assessed_scope import of_accounts
from services.inventory.compliance.tables import ASSESSMENTS, VERDICTS

CONTRADICTIONS = "contradictions"


class ContradictionStore(NumberedStore[Contradiction]):
    """Finds contradictions while an assessment is stored, and reads them."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, CONTRADICTIONS)

    async def add(
        self,
        connection: AsyncConnection,
        assessment: pb.Assessment,
        found: Sequence[pb.ClaimVerdict],
    ) -> list[Contradiction]:
        """Store what an assessment turned up, in the transaction that stores it, and give it.

        An assessment that is older than one of the same accounts which is stored already turns up
        nothing: that one told of all that still holds.
        """
        tenant = tenant_of(assessment.name) or ""
        await self.take_turn(connection, tenant)
        earlier = await self._earlier(connection, assessment)
        made = [] if earlier is None else turned(assessment, found, earlier)
        await self.append(connection, tenant, made)
        return made

    async def _earlier(
        self, connection: AsyncConnection, assessment: pb.Assessment
    ) -> Verdicts | None:
        """Give the verdicts of the assessment before of the same accounts; None if one is newer."""
        tenant, assessment_id = assessment.name.split("/")[1::2]
        target = self.store.target(ASSESSMENTS)
        table = target.table
        asked, seen = assessment.scope_account_ids, assessment.cloud_account_ids
        statement = (
            self.store.select(ASSESSMENTS, tenant, [*target.kind.pattern.columns, "evaluate_time"])
            .where(of_accounts(target, assessment.ssp, asked, seen), table.c.id != assessment_id)
            .order_by(table.c.evaluate_time.desc(), table.c.id.desc())
            .limit(1)
        )
        rows = await self.store.messages(ASSESSMENTS, statement, connection=connection)
        for each in cast("list[pb.Assessment]", rows):
            moments = (each.evaluate_time, assessment.evaluate_time)
            newer, own = (moment.ToMicroseconds() for moment in moments)
            return None if newer > own else await self._verdicts(connection, each.name)
        return NONE

    async def _verdicts(self, connection: AsyncConnection, assessment: str) -> Verdicts:
        tenant, assessment_id = assessment.split("/")[1::2]
        table = self.store.target(VERDICTS).table
        statement = self.store.select(VERDICTS, tenant, ("id", "verdict")).where(
            table.c.assessment_id == assessment_id
        )
        rows = await self.store.fetch(statement, connection)
        return {row.id: row.verdict for row in rows}
