"""Rolls up frameworks, and keeps the answer as records if that is asked for."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.catalogue import Catalogue
from mesh.contract.names import tenant_of
from mesh.errors import FieldInvalid
from mesh.records.moments import Clock, now
from mesh.records.writing import RecordWriter
from mesh.sql.store import Store
from secmesh.security.v1 import posture_service_pb2 as pb
from secmesh.security.v1.cloud_security_posture_pb2 import CloudSecurityPosture
from secmesh.security.v1.compliance_report_pb2 import ComplianceReport
from secmesh.security.v1.record_pb2 import Record
from secmesh.security.v1.record_write_pb2 import CreateRecordRequest
from secmesh.security.v1.vocabulary_pb2 import ReportStatus, Severity
from services.security.findings.due import set_moment
from services.security.findings.machine import finding_machines
from services.security.posture.judgement_store import Judgements, Scope
from services.security.posture.roll_up import COMPLIANT, NOT_APPLICABLE, NOT_ASSESSED, RollUp

REPORTS, POSTURES = "compliance_reports", "cloud_security_posture"
FRAMEWORKS = "compliance_frameworks"
_STANDARD = 128
"""Characters that a report has for the name of its standard."""


class Frameworks:
    """Adds up what is recorded about frameworks."""

    def __init__(self, store: Store, catalogue: Catalogue, clock: Clock = now) -> None:
        self._store = store
        self._clock = clock
        self._judgements = Judgements(store, finding_machines(catalogue))
        self._writer = RecordWriter(store, catalogue.record_kinds, clock)

    async def roll_up(self, request: pb.RollUpFrameworkRequest) -> pb.FrameworkRollUp:
        """Give how a framework is met; ResourceNotFound, FieldInvalid to record no account."""
        if request.record and not request.account:
            raise FieldInvalid.of("account", "must be set for what is to be recorded", "REQUIRED")
        scope = Scope(
            tenant_of(request.framework) or "",
            *(_id(name) for name in (request.framework, request.account, request.project)),
        )
        async with self._store.connection() as connection:
            found: Any = await self._store.get(FRAMEWORKS, request.framework, connection=connection)
            for name in filter(None, (request.account, request.project)):
                await self._store.get(name.split("/")[2], name, columns=[], connection=connection)
            framework = found.compliance_framework
            judged = await self._judgements.all(connection, scope, _names(framework))
            rolled = RollUp(framework.controls, judged)
            answer = await self._answer(connection, scope, rolled)
            posture = await self._posture(connection, scope, answer) if request.record else None
        answer.framework = request.framework
        if posture is not None:
            await self._record(request, framework, rolled, answer, posture)
        return answer

    async def _answer(
        self, connection: AsyncConnection, scope: Scope, rolled: RollUp
    ) -> pb.FrameworkRollUp:
        answer = pb.FrameworkRollUp(
            counts=rolled.counts,
            families=rolled.families,
            failing=rolled.failing,
            unknown_requirement_ids=rolled.unknown,
        )
        set_moment(answer, "evaluate_time", self._clock())
        for point in await self._judgements.history(connection, scope):
            added = answer.history.add(score=point.score)
            added.assessment = f"tenants/{scope.tenant}/compliance_assessments/{point.assessment}"
            set_moment(added, "time", point.time)
        return answer

    async def _posture(
        self, connection: AsyncConnection, scope: Scope, answer: pb.FrameworkRollUp
    ) -> CloudSecurityPosture:
        """Give what is known of the account beside the controls."""
        by_severity = await self._judgements.open_by_severity(connection, scope)
        posture = CloudSecurityPosture(
            assets_total=await self._judgements.assets(connection, scope),
            critical_count=by_severity.get(Severity.SEVERITY_CRITICAL, 0),
            high_count=by_severity.get(Severity.SEVERITY_HIGH, 0),
            medium_count=by_severity.get(Severity.SEVERITY_MEDIUM, 0),
            low_count=by_severity.get(Severity.SEVERITY_LOW, 0),
            assess_time=answer.evaluate_time,
        )
        last = await self._judgements.last_score(connection, scope)
        if last is not None:
            posture.previous_score = last
        return posture

    async def _record(
        self,
        request: pb.RollUpFrameworkRequest,
        framework: Any,
        rolled: RollUp,
        answer: pb.FrameworkRollUp,
        posture: CloudSecurityPosture,
    ) -> None:
        """Write the report, and the posture if there is a score; adds their names."""
        report = _report(framework, rolled, answer)
        report.account_id = posture.account_id = request.account
        report.framework_id = posture.framework_id = request.framework
        records = [(REPORTS, Record(compliance_report=report))]
        if answer.counts.HasField("score"):
            posture.posture_score = answer.counts.score
            posture.checks_passed = report.passed_checks
            posture.checks_failed = report.failed_checks
            posture.checks_manual = report.manual_checks
            records.append((POSTURES, Record(cloud_security_posture=posture)))
        parent = f"tenants/{tenant_of(request.framework)}"
        async with self._store.transaction() as connection:
            for collection, record in records:
                create = CreateRecordRequest(parent=f"{parent}/{collection}", record=record)
                written: Any = await self._writer.create(connection, create)
                answer.records.append(written.name)


def _report(framework: Any, rolled: RollUp, answer: pb.FrameworkRollUp) -> ComplianceReport:
    report = ComplianceReport(
        standard=f"{framework.code}-{framework.version}"[:_STANDARD],
        status=ReportStatus.REPORT_STATUS_READY,
        generate_time=answer.evaluate_time,
    )
    if answer.counts.HasField("score"):
        report.score = answer.counts.score
    _count(report, rolled, answer.counts)
    return report


def _count(report: ComplianceReport, rolled: RollUp, counts: pb.ControlCounts) -> None:
    """Tell of each control as of one check: passed, failed, or left to people."""
    for control, status in rolled.statuses:
        if status == NOT_APPLICABLE:
            continue
        passed, manual = status == COMPLIANT, status == NOT_ASSESSED
        report.report_data.add(
            requirement_id=control.control_id,
            title=control.title,
            passed_checks=int(passed),
            failed_checks=int(not passed and not manual),
            manual_checks=int(manual),
        )
    report.total_checks = counts.total - counts.not_applicable
    report.passed_checks, report.manual_checks = counts.compliant, counts.not_assessed
    report.failed_checks = report.total_checks - report.passed_checks - report.manual_checks


def _id(name: str) -> str:
    return name.rpartition("/")[2]


def _names(framework: Any) -> list[str]:
    """Give what tools write for a framework, in lower case."""
    code, version = framework.code.casefold(), framework.version.casefold()
    return [code, *(f"{code}{between}{version}" for between in "-_ ")]
