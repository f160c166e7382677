"""The SQL of plans and assessments."""

from collections.abc import Iterable, Sequence
from typing import cast

from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.names import tenant_of
from mesh.errors import ResourceNotFound
from mesh.sql.store import Store
from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import ssp_pb2
from services.inventory.alerts.contradiction_store import ContradictionStore
from services.inventory.compliance.assessed_scope import of_accounts
from services.inventory.compliance.ssp import Plan
from services.inventory.compliance.tables import ASSESSMENTS, CLAIMS, PASSAGES, SSPS, VERDICTS
from services.inventory.webhooks.outbox_store import Outbox


class AssessmentStore:
    """Keeps plans with their claims and assessments with their verdicts, each as one."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._contradictions = ContradictionStore(store)
        self._outbox = Outbox(store)

    async def replace_plan(self, plan: Plan) -> None:
        """Store a plan, its claims and its passages in place of what had its name, or nothing."""
        async with self._store.transaction() as connection:
            await self._store.upsert(connection, SSPS, [plan.ssp])
            await self._store.delete_under(connection, CLAIMS, plan.ssp.name)
            await self._store.insert(connection, CLAIMS, plan.claims)
            await self._store.delete_under(connection, PASSAGES, plan.ssp.name)
            await self._store.insert(connection, PASSAGES, plan.passages)

    async def plan(
        self, name: str, connection: AsyncConnection
    ) -> tuple[ssp_pb2.Ssp, list[ssp_pb2.Claim]]:
        """Give a plan and its claims; ResourceNotFound if there is none."""
        ssp = cast("ssp_pb2.Ssp", await self._store.get(SSPS, name, connection=connection))
        target = self._store.target(CLAIMS)
        ids = self._store.target(SSPS).kind.pattern.parse(name)
        if ids is None:
            raise ResourceNotFound(name)
        tenant, ssp_id = ids
        statement = self._store.select(CLAIMS, tenant).where(target.table.c.ssp_id == ssp_id)
        found = await self._store.messages(CLAIMS, statement, connection=connection)
        return ssp, cast("list[ssp_pb2.Claim]", found)

    async def claims(self, ssp: str) -> list[ssp_pb2.Claim]:
        """Give the claims of a plan; none if it was removed."""
        async with self._store.connection() as connection:
            try:
                _, found = await self.plan(ssp, connection)
            except ResourceNotFound:
                return []
        return found

    async def latest_verdicts(
        self,
        ssp: str,
        asked: Iterable[str],
        found: Iterable[str],
        before: Timestamp,
        connection: AsyncConnection,
    ) -> list[pb.ClaimVerdict]:
        """Give the verdicts of the newest assessment before a moment, without evidence.

        It is of the accounts asked for, or of those found: what others showed meanwhile ends
        no verdict of these.
        """
        tenant = tenant_of(ssp) or ""
        made = self._store.target(ASSESSMENTS)
        table = made.table
        newest = (
            self._store.select(ASSESSMENTS, tenant, made.kind.pattern.columns)
            .where(
                of_accounts(made, ssp, asked, found),
                table.c.evaluate_time < before.ToMicroseconds(),
            )
            .order_by(table.c.evaluate_time.desc(), table.c.id.desc())
            .limit(1)
        )
        earlier = await self._store.messages(ASSESSMENTS, newest, connection=connection)
        if not earlier:
            return []
        ids = made.kind.pattern.parse(cast("pb.Assessment", earlier[0]).name)
        judged = self._store.target(VERDICTS)
        columns = [*judged.kind.pattern.columns, "verdict", "since", "previous_verdict"]
        statement = self._store.select(VERDICTS, tenant, columns).where(
            judged.table.c.assessment_id == (ids or ("", ""))[1]
        )
        return cast(
            "list[pb.ClaimVerdict]",
            await self._store.messages(VERDICTS, statement, connection=connection),
        )

    async def add(self, assessment: pb.Assessment, found: Sequence[pb.ClaimVerdict]) -> None:
        """Store an assessment, its verdicts, and what they newly contradict, together."""
        async with self._store.transaction() as connection:
            await self._store.insert(connection, ASSESSMENTS, [assessment])
            await self._store.insert(connection, VERDICTS, found)
            made = await self._contradictions.add(connection, assessment, found)
            await self._outbox.add(connection, made)

    async def assessment(
        self, name: str
    ) -> tuple[pb.Assessment, ssp_pb2.Ssp | None, list[pb.ClaimVerdict]]:
        """Give an assessment, its plan if it is still there, and its verdicts, worst first."""
        async with self._store.connection() as connection:
            found = await self._store.get(ASSESSMENTS, name, connection=connection)
            assessment = cast("pb.Assessment", found)
            try:
                plan = await self._store.get(SSPS, assessment.ssp, connection=connection)
            except ResourceNotFound:
                plan = None
            table = self._store.target(VERDICTS).table
            tenant, assessment_id = name.split("/")[1::2]
            statement = (
                self._store.select(VERDICTS, tenant)
                .where(table.c.assessment_id == assessment_id)
                .order_by(table.c.verdict, table.c.control_id, table.c.id)
            )
            judged = await self._store.messages(VERDICTS, statement, connection=connection)
        return (
            assessment,
            cast("ssp_pb2.Ssp | None", plan),
            cast("list[pb.ClaimVerdict]", judged),
        )

    async def control_verdicts(self, name: str) -> list[pb.ClaimVerdict]:
        """Give an assessment's verdicts by control, without evidence; ResourceNotFound if none."""
        judged = self._store.target(VERDICTS)
        columns = [*judged.kind.pattern.columns, "control_id", "verdict", "rests_on_exception"]
        async with self._store.connection() as connection:
            await self._store.get(ASSESSMENTS, name, connection=connection)
            tenant, assessment_id = name.split("/")[1::2]
            statement = self._store.select(VERDICTS, tenant, columns).where(
                judged.table.c.assessment_id == assessment_id
            )
            found = await self._store.messages(VERDICTS, statement, connection=connection)
        return cast("list[pb.ClaimVerdict]", found)

    async def newer(self, assessment: pb.Assessment) -> str:
        """Give the newest later assessment of the plan that shares an account; empty if none."""
        table = self._store.target(ASSESSMENTS).table
        columns = [*self._store.target(ASSESSMENTS).kind.pattern.columns, "cloud_account_ids"]
        statement = (
            self._store.select(ASSESSMENTS, tenant_of(assessment.name) or "", columns)
            .where(
                table.c.ssp == assessment.ssp,
                table.c.evaluate_time > assessment.evaluate_time.ToMicroseconds(),
            )
            .order_by(table.c.evaluate_time.desc(), table.c.id.desc())
        )
        async with self._store.connection() as connection:
            found = await self._store.messages(ASSESSMENTS, statement, connection=connection)
        later = cast("list[pb.Assessment]", found)
        accounts = {*assessment.cloud_account_ids}
        return next((each.name for each in later if accounts & {*each.cloud_account_ids}), "")
