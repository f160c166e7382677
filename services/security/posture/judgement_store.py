"""Reads all judgements of a framework's requirements; each kind in one statement."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.sql.references import ID
from mesh.sql.store import Store
from mesh.sql.types import Json
from secmesh.security.v1.compliance_assessment_pb2 import AssessmentStatus, ComplianceAssessment
from secmesh.security.v1.misconfiguration_pb2 import CheckStatus
from services.security.findings.machine import Machine
from services.security.posture.roll_up import (
    COMPLIANT,
    NON_COMPLIANT,
    NOT_APPLICABLE,
    NOT_ASSESSED,
    Judgement,
)

MAX_POINTS = 100
_ASSESSMENTS, _JUDGED, _WRONG = "compliance_assessments", "security_compliance", "misconfigurations"
_FIRST_TWO: tuple[Any, ...] = (sa.literal_column("1"), sa.literal_column("2"))
"""Columns of a SELECT by their places: two parameters are never one expression."""
_STATES = {
    ComplianceAssessment.TARGET_STATE_SATISFIED: COMPLIANT,
    ComplianceAssessment.TARGET_STATE_NOT_SATISFIED: NON_COMPLIANT,
    ComplianceAssessment.TARGET_STATE_NOT_APPLICABLE: NOT_APPLICABLE,
}


@dataclass(frozen=True)
class Scope:
    """What is looked at, by ids."""

    tenant: str
    framework: str
    account: str = ""
    project: str = ""
    """Empty if all are."""

    @property
    def is_whole(self) -> bool:
        return not (self.account or self.project)


@dataclass(frozen=True)
class Point:
    """A score of an assessment that ended, in microseconds since 1970."""

    assessment: str
    time: int
    score: float


class Judgements:
    """Reads what is recorded about a framework."""

    def __init__(self, store: Store, machines: Mapping[str, Machine]) -> None:
        self._store = store
        states = machines[_WRONG].states.values()
        self._open = [state.number for state in states if not state.closed]

    async def all(
        self, connection: AsyncConnection, scope: Scope, names: Sequence[str]
    ) -> list[Judgement]:
        """Give all judgements; ``names`` are what tools write for the framework."""
        return [
            *await self._verdicts(connection, scope),
            *await self._judged(connection, scope),
            *await self.misconfigured(connection, scope, names),
        ]

    async def _verdicts(self, connection: AsyncConnection, scope: Scope) -> list[Judgement]:
        """Count the verdicts of the last completed assessment of each project and account."""
        columns = self._store.target(_ASSESSMENTS).table.c
        place: Any = {
            "partition_by": (columns.project_id, columns.cloud_account_id),
            "order_by": (*_latest(columns), columns[ID].desc()),
        }
        ranked = (
            self._completed(scope)
            .with_only_columns(columns.findings, sa.func.row_number().over(**place).label("place"))
            .subquery()
        )
        each = _elements(ranked.c.findings)
        target, state = _text(each, "target_id"), sa.cast(_text(each, "state"), sa.Integer())
        statement = (
            sa.select(target, state, sa.func.count())
            .select_from(ranked.join(each, sa.true()))
            .where(ranked.c.place == 1)
            .group_by(*_FIRST_TWO)
        )
        rows: Sequence[Any] = await self._store.fetch(statement, connection)
        return [
            Judgement(str(target), _STATES.get(state, NOT_ASSESSED), count)
            for target, state, count in rows
            if target
        ]

    async def _judged(self, connection: AsyncConnection, scope: Scope) -> list[Judgement]:
        columns = self._store.target(_JUDGED).table.c
        statement = self._store.select(_JUDGED, scope.tenant, [ID])
        statement = statement.where(columns.framework_id == scope.framework)
        if not scope.is_whole:
            statement = statement.where(columns.scope_ref.is_(None))
        keys = (columns.requirement_id, columns.status)
        counted = statement.with_only_columns(*keys, sa.func.count()).group_by(*keys)
        rows: Sequence[Any] = await self._store.fetch(counted, connection)
        return [Judgement(str(row[0]), row[1], row[2]) for row in rows]

    async def misconfigured(
        self, connection: AsyncConnection, scope: Scope, names: Sequence[str]
    ) -> list[Judgement]:
        """Count checks by the requirements they are of: open failures, and what passed."""
        if scope.project:
            return []
        table = self._store.target(_WRONG).table
        columns = table.c
        failed = columns.check_status == CheckStatus.CHECK_STATUS_FAIL
        passed = columns.check_status == CheckStatus.CHECK_STATUS_PASS
        statement = self._store.select(_WRONG, scope.tenant, [ID]).where(
            sa.or_(sa.and_(failed, columns.status.in_(self._open)), passed),
            columns.is_muted.is_distinct_from(sa.true()),
        )
        if scope.account:
            statement = statement.where(columns.account_id == scope.account)
        framework = _elements(columns.compliance_requirements)
        listed = framework.c.value.op("->")(sa.literal("requirement_ids", sa.Text()))
        requirement = (
            sa.func.jsonb_array_elements_text(listed)
            .table_valued(sa.column("value", sa.Text()))
            .lateral()
        )
        counted = (
            statement.with_only_columns(
                requirement.c.value,
                failed.label("failed"),
                sa.func.max(columns.severity),
                sa.func.count(),
            )
            .select_from(table.join(framework, sa.true()).join(requirement, sa.true()))
            .where(sa.func.lower(_text(framework, "framework")).in_(names))
            .group_by(*_FIRST_TWO)
        )
        rows: Sequence[Any] = await self._store.fetch(counted, connection)
        return [_judgement(*row) for row in rows]

    async def open_by_severity(
        self, connection: AsyncConnection, scope: Scope
    ) -> Mapping[int, int]:
        """Count the account's open misconfigurations by severity."""
        columns = self._store.target(_WRONG).table.c
        statement = self._store.select(_WRONG, scope.tenant, [ID]).where(
            columns.account_id == scope.account, columns.status.in_(self._open)
        )
        counted = statement.with_only_columns(columns.severity, sa.func.count())
        rows: Sequence[Any] = await self._store.fetch(
            counted.group_by(columns.severity), connection
        )
        return {row[0]: row[1] for row in rows}

    async def assets(self, connection: AsyncConnection, scope: Scope) -> int:
        """Count the account's assets."""
        columns = self._store.target("cloud_assets").table.c
        statement = self._store.select("cloud_assets", scope.tenant, [ID])
        counted = statement.where(columns.account_id == scope.account)
        rows: Sequence[Any] = await self._store.fetch(
            counted.with_only_columns(sa.func.count()), connection
        )
        return int(rows[0][0])

    async def last_score(self, connection: AsyncConnection, scope: Scope) -> float | None:
        """Give the score of the account's last posture by this framework."""
        collection = "cloud_security_posture"
        columns = self._store.target(collection).table.c
        statement = self._store.select(collection, scope.tenant, ["posture_score"]).where(
            columns.account_id == scope.account, columns.framework_id == scope.framework
        )
        rows: Sequence[Any] = await self._store.fetch(
            statement.order_by(columns.assess_time.desc(), columns[ID].desc()).limit(1), connection
        )
        return rows[0][0] if rows else None

    async def history(self, connection: AsyncConnection, scope: Scope) -> list[Point]:
        """Give the last scores of completed assessments, oldest first."""
        columns = self._store.target(_ASSESSMENTS).table.c
        applicable = columns.controls_total - sa.func.coalesce(columns.controls_not_applicable, 0)
        met = 100.0 * columns.controls_satisfied / sa.func.nullif(applicable, 0)
        score = sa.func.coalesce(columns.score, met)
        time = sa.func.coalesce(columns.end_time, columns.create_time, type_=columns.end_time.type)
        statement = (
            self._completed(scope)
            .with_only_columns(columns[ID], time, score)
            .where(score.is_not(None))
            .order_by(time.desc(), columns[ID].desc())
            .limit(MAX_POINTS)
        )
        rows: Sequence[Any] = await self._store.fetch(statement, connection)
        return [Point(str(row[0]), row[1], float(row[2])) for row in reversed(rows)]

    def _completed(self, scope: Scope) -> sa.Select[Any]:
        columns = self._store.target(_ASSESSMENTS).table.c
        statement = self._store.select(_ASSESSMENTS, scope.tenant, [ID]).where(
            columns.framework_id == scope.framework,
            columns.status == AssessmentStatus.ASSESSMENT_STATUS_COMPLETED,
        )
        if scope.account:
            statement = statement.where(columns.cloud_account_id == scope.account)
        if scope.project:
            statement = statement.where(columns.project_id == scope.project)
        return statement


def _latest(columns: Any) -> tuple[Any, ...]:
    return (columns.end_time.desc().nulls_last(), columns.create_time.desc())


def _elements(column: Any) -> Any:
    """Give the items of a list of messages as rows beside those that hold them."""
    items = sa.func.jsonb_array_elements(column)
    return items.table_valued(sa.column("value", Json())).lateral()


def _text(items: Any, member: str) -> Any:
    return items.c.value.op("->>", return_type=sa.Text())(sa.literal(member, sa.Text()))


def _judgement(requirement: str, failed: bool, severity: int, count: int) -> Judgement:
    """Judge a requirement by its checks that failed, or that passed."""
    if failed:
        return Judgement(requirement, NON_COMPLIANT, count, severity)
    return Judgement(requirement, COMPLIANT, count)
