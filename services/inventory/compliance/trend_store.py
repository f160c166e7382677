"""The SQL of a trend: which assessments are compared, and intervals of verdicts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.names import tenant_of
from mesh.sql.store import Store
from secmesh.inventory.v1 import assessment_pb2 as pb
from secmesh.inventory.v1 import ssp_pb2
from secmesh.inventory.v1 import trend_pb2 as api
from services.inventory.compliance.tables import ASSESSMENTS, SSPS, VERDICTS
from services.inventory.compliance.trend import (
    MAX_FALSE_CLAIMS,
    Interval,
    episodes,
    false_claim,
    points,
    statistics,
    told,
)

MAX_ASSESSMENTS = 1000


@dataclass(frozen=True)
class Scope:
    """Which assessments of a plan are compared."""

    ssp: str
    accounts: frozenset[str] = frozenset()
    """Empty: those of the newest assessment."""
    baseline: ssp_pb2.Baseline.ValueType = ssp_pb2.BASELINE_UNSPECIFIED
    """Unspecified: that of the newest assessment."""
    end: int | None = None
    """Microseconds since 1970; later assessments are not seen."""


@dataclass(frozen=True)
class _Compared:
    """Assessments of one scope, the oldest first."""

    assessments: Sequence[pb.Assessment]
    left_out: int
    cut: bool


class TrendStore:
    """Reads how the verdicts on a plan developed."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def trend(
        self,
        scope: Scope,
        start: int | None = None,
        interval: api.TrendInterval.ValueType = api.TREND_INTERVAL_DAY,
    ) -> api.Trend:
        """Tell the trend since ``start`` (microseconds since 1970); ResourceNotFound of a plan."""
        async with self._store.connection() as connection:
            await self._store.get(SSPS, scope.ssp, connection=connection)
            return await self._trend(scope, connection, start, interval)

    async def until(self, assessment: pb.Assessment) -> api.Trend:
        """Tell the trend up to an assessment, of its accounts and baseline."""
        end = assessment.evaluate_time.ToMicroseconds()
        accounts = frozenset(assessment.cloud_account_ids)
        scope = Scope(assessment.ssp, accounts, assessment.baseline, end)
        async with self._store.connection() as connection:
            return await self._trend(scope, connection)

    async def _trend(
        self,
        scope: Scope,
        connection: AsyncConnection,
        start: int | None = None,
        interval: api.TrendInterval.ValueType = api.TREND_INTERVAL_DAY,
    ) -> api.Trend:
        compared = await self._compared(scope, connection)
        made = api.Trend(
            ssp=scope.ssp,
            assessments=len(compared.assessments),
            left_out=compared.left_out,
            cut=compared.cut,
            cloud_account_ids=sorted(scope.accounts),
            baseline=scope.baseline,
            repairs=api.RepairStatistics(),
        )
        if not compared.assessments:
            return made
        oldest, newest = compared.assessments[0], compared.assessments[-1]
        del made.cloud_account_ids[:]
        made.cloud_account_ids.extend(newest.cloud_account_ids)
        made.baseline = newest.baseline
        made.first_time.CopyFrom(oldest.evaluate_time)
        made.newest_time.CopyFrom(newest.evaluate_time)
        times = [each.evaluate_time.ToMicroseconds() for each in compared.assessments]
        within = [
            each
            for each, moment in zip(compared.assessments, times, strict=True)
            if start is None or moment >= start
        ]
        made.points.extend(points(within, interval))
        intervals = await self._intervals(compared.assessments, connection)
        found = told(episodes(intervals, len(times)), times, start)
        made.repairs.CopyFrom(statistics(found, times))
        made.false_claims.extend(
            false_claim(scope.ssp, each, times) for each in found[:MAX_FALSE_CLAIMS]
        )
        return made

    async def _compared(self, scope: Scope, connection: AsyncConnection) -> _Compared:
        target = self._store.target(ASSESSMENTS)
        columns = [
            *target.kind.pattern.columns,
            *("cloud_account_ids", "baseline", "evaluate_time"),
            *("controls", "control_counts", "claims", "claim_counts", "excepted_claim_counts"),
        ]
        statement = (
            self._store.select(ASSESSMENTS, tenant_of(scope.ssp) or "", columns)
            .where(target.table.c.ssp == scope.ssp)
            .order_by(target.table.c.evaluate_time.desc(), target.table.c.id.desc())
            .limit(MAX_ASSESSMENTS + 1)
        )
        if scope.end is not None:
            statement = statement.where(target.table.c.evaluate_time <= scope.end)
        found = cast(
            "list[pb.Assessment]",
            await self._store.messages(ASSESSMENTS, statement, connection=connection),
        )
        cut = len(found) > MAX_ASSESSMENTS
        kept = found[:MAX_ASSESSMENTS]
        # Only what was asked of the same accounts can be compared.
        accounts = scope.accounts or frozenset(kept[0].cloud_account_ids if kept else ())
        baseline = scope.baseline or (kept[0].baseline if kept else scope.baseline)
        chosen = [
            each
            for each in kept
            if accounts == {*each.cloud_account_ids} and each.baseline == baseline
        ]
        return _Compared(chosen[::-1], len(kept) - len(chosen), cut)

    async def _intervals(
        self, assessments: Sequence[pb.Assessment], connection: AsyncConnection
    ) -> list[Interval]:
        """Put together what assessments one after another said alike: gaps and islands."""
        tenant = tenant_of(assessments[0].name) or ""
        ids = [each.name.rpartition("/")[2] for each in assessments]
        made, judged = self._store.target(ASSESSMENTS).table, self._store.target(VERDICTS).table
        places = (
            self._store.select(ASSESSMENTS, tenant, ("id",))
            .where(made.c.id.in_(ids))
            .add_columns(
                sa.func.row_number().over(order_by=(made.c.evaluate_time, made.c.id)).label("place")
            )
            .subquery("places")
        )
        among = sa.func.row_number().over(
            partition_by=(judged.c.id, judged.c.verdict, judged.c.rests_on_exception),
            order_by=places.c.place,
        )
        rows = (
            self._store.select(
                VERDICTS, tenant, ("id", "control_id", "verdict", "rests_on_exception")
            )
            .join(places, places.c.id == judged.c.assessment_id)
            .where(sa.func.coalesce(judged.c.claim, "") != "")
            .add_columns(places.c.place, (places.c.place - among).label("island"))
            .subquery("judged")
        )
        statement = sa.select(
            rows.c.id,
            sa.func.max(rows.c.control_id),
            rows.c.verdict,
            sa.func.min(rows.c.place),
            sa.func.max(rows.c.place),
            rows.c.rests_on_exception,
        ).group_by(rows.c.id, rows.c.verdict, rows.c.rests_on_exception, rows.c.island)
        found: Iterable[Any] = await self._store.fetch(statement, connection)
        return [
            Interval(claim, control, verdict, first - 1, last - 1, bool(excepted))
            for claim, control, verdict, first, last, excepted in found
        ]
