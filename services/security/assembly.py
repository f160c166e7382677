"""The parts of the service, put together: what is served, and what is done without being called."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import grpc

from mesh.contract.catalogue import Catalogue
from mesh.contract.digest import contract_digest
from mesh.records.tenant_removal import RowsRemoval
from mesh.sql.backup.backups import Backups
from mesh.sql.backup.folder import BackupFolder
from mesh.sql.backup.schedule import BackupSchedule
from mesh.sql.changes import ChangeFeed
from mesh.sql.forgetting import Forgetting
from mesh.sql.growth import Growth
from mesh.sql.partition_schedule import PartitionSchedule
from mesh.sql.store import Store
from mesh.sql.tenant_removal import TenantRemoval
from secmesh.security.v1 import (
    analytics_service_pb2_grpc,
    finding_service_pb2_grpc,
    import_service_pb2_grpc,
    incident_service_pb2_grpc,
    mfa_service_pb2_grpc,
    phishing_service_pb2_grpc,
    posture_service_pb2_grpc,
    quality_gate_service_pb2_grpc,
    tenant_removal_service_pb2_grpc,
    workflow_service_pb2_grpc,
)
from services.security.analytics.dashboards import Dashboards
from services.security.analytics.guard import DashboardGuard
from services.security.analytics.mail import Mail
from services.security.analytics.metric_schedule import MetricSchedule
from services.security.analytics.metrics import Metrics
from services.security.analytics.report_run_store import ReportRunStore
from services.security.analytics.report_runs import ReportRuns
from services.security.analytics.report_schedules import ReportSchedules
from services.security.analytics.reports import Reports
from services.security.analytics.widgets import Widgets
from services.security.analytics_servicer import AnalyticsServicer
from services.security.audit.chain_store import Chain
from services.security.audit.departure_store import Departures
from services.security.audit.guard import AuditGuard
from services.security.audit.schedule import ChainSchedule
from services.security.editing import RecordEditor
from services.security.finding_servicer import FindingServicer
from services.security.findings.acceptances import Acceptances
from services.security.findings.guard import FindingGuard
from services.security.findings.life import FindingLife
from services.security.gates.gates import Gates
from services.security.guards import Guards
from services.security.import_servicer import ImportServicer
from services.security.incident_servicer import IncidentServicer
from services.security.incidents.arming import Arming
from services.security.incidents.guard import IncidentGuard
from services.security.incidents.life import IncidentLife
from services.security.incidents.overdue_store import OverdueIncidents
from services.security.incidents.playbooks import Playbooks
from services.security.incidents.setting_off import PlaybookTriggers
from services.security.made import ServiceMadeGuard
from services.security.mfa.guard import MfaGuard
from services.security.mfa_servicer import MfaServicer
from services.security.phishing.guard import PhishingGuard
from services.security.phishing_servicer import PhishingServicer
from services.security.posture.frameworks import Frameworks
from services.security.posture_servicer import PostureServicer
from services.security.quality_gate_servicer import QualityGateServicer
from services.security.settings import SecuritySettings
from services.security.tenant_removal_servicer import TenantRemovalServicer
from services.security.upkeep import Work
from services.security.workflow_servicer import WorkflowServicer
from services.security.workflows.engine import Workflows
from services.security.workflows.guard import WorkflowGuard
from services.security.workflows.integration_guard import IntegrationGuard

Servicer = tuple[Callable[[Any, grpc.aio.Server], None], object]
"""A servicer, and what adds it to a server."""


@dataclass(frozen=True)
class Parts:
    """What servicers and works of one process share."""

    store: Store
    catalogue: Catalogue
    guard: Guards
    """Has a say in each write of a record."""
    editor: RecordEditor
    findings: FindingLife
    incidents: IncidentLife
    playbooks: Playbooks
    arming: Arming
    workflows: Workflows
    dashboards: Dashboards
    reports: Reports
    report_runs: ReportRunStore
    metrics: Metrics
    backups: BackupFolder


def assemble(settings: SecuritySettings, store: Store, catalogue: Catalogue) -> Parts:
    """Make the parts of a process."""
    guard = _guards(catalogue)
    editor, findings = RecordEditor(store, catalogue), FindingLife(store, catalogue)
    incidents = IncidentLife(store, editor)
    workflows = Workflows(
        store,
        catalogue,
        guard,
        (findings, incidents),
        editor,
        lease=timedelta(seconds=settings.workflow_lease_seconds),
        hosts=settings.workflow_host_set,
    )
    playbooks = Playbooks(store, editor, catalogue.record_kinds, workflows.starter)
    widgets = Widgets(store, catalogue)
    dashboards = Dashboards(store, widgets)
    return Parts(
        store=store,
        catalogue=catalogue,
        guard=guard,
        editor=editor,
        findings=findings,
        incidents=incidents,
        playbooks=playbooks,
        arming=Arming(store, editor, catalogue.record_kinds),
        workflows=workflows,
        dashboards=dashboards,
        reports=Reports(store, catalogue, widgets),
        report_runs=ReportRunStore(store, editor.clock),
        metrics=Metrics(store, catalogue, dashboards),
        backups=BackupFolder(settings.backups),
    )


def _guards(catalogue: Catalogue) -> Guards:
    """Give what has a say in each write of a record."""
    return Guards(
        [
            AuditGuard(),
            DashboardGuard(catalogue.record_kinds),
            FindingGuard(catalogue),
            IncidentGuard(),
            IntegrationGuard(),
            MfaGuard(),
            PhishingGuard(),
            ServiceMadeGuard(),
            WorkflowGuard(),
        ]
    )


def _analytics(parts: Parts) -> AnalyticsServicer:
    schedules = ReportSchedules(parts.report_runs, parts.reports, parts.editor)
    return AnalyticsServicer(parts.dashboards, parts.reports, parts.metrics, schedules)


def servicers(parts: Parts) -> Iterator[Servicer]:
    """Give the services beside RecordService."""
    store, catalogue = parts.store, parts.catalogue
    yield (
        analytics_service_pb2_grpc.add_AnalyticsServiceServicer_to_server,
        _analytics(parts),
    )
    yield (
        finding_service_pb2_grpc.add_FindingServiceServicer_to_server,
        FindingServicer(catalogue, store, parts.findings),
    )
    yield (
        import_service_pb2_grpc.add_ImportServiceServicer_to_server,
        ImportServicer(catalogue, store, parts.findings),
    )
    yield (
        incident_service_pb2_grpc.add_IncidentServiceServicer_to_server,
        IncidentServicer(store, parts.incidents, parts.playbooks, parts.arming),
    )
    yield mfa_service_pb2_grpc.add_MfaServiceServicer_to_server, MfaServicer(catalogue, store)
    yield (
        phishing_service_pb2_grpc.add_PhishingServiceServicer_to_server,
        PhishingServicer(catalogue, store),
    )
    yield (
        posture_service_pb2_grpc.add_PostureServiceServicer_to_server,
        PostureServicer(catalogue, Frameworks(store, catalogue)),
    )
    yield (
        quality_gate_service_pb2_grpc.add_QualityGateServiceServicer_to_server,
        QualityGateServicer(Gates(store, catalogue)),
    )
    yield (
        tenant_removal_service_pb2_grpc.add_TenantRemovalServiceServicer_to_server,
        TenantRemovalServicer(RowsRemoval(TenantRemoval(store), parts.backups)),
    )
    yield (
        workflow_service_pb2_grpc.add_WorkflowServiceServicer_to_server,
        WorkflowServicer(catalogue, store, parts.editor, parts.workflows),
    )


def works(settings: SecuritySettings, parts: Parts) -> Iterator[Work]:
    """Give what the owner of the tables does again and again."""
    store = parts.store
    Departures(store).attend()
    chain = Chain(store)
    yield PartitionSchedule(store)
    yield ChainSchedule(chain)
    keep = timedelta(days=settings.change_days)
    yield Forgetting(ChangeFeed(store), keep, read=chain.place)
    yield Acceptances(store, parts.findings)
    yield OverdueIncidents(store, parts.editor, parts.incidents)
    yield MetricSchedule(store, parts.metrics)
    mail = Mail(settings.mail_server)
    yield ReportRuns(parts.report_runs, parts.reports, parts.editor, mail, settings.report_days)
    yield parts.workflows
    yield PlaybookTriggers(
        store, parts.editor, parts.arming, parts.playbooks, parts.workflows.starter
    )
    digest = contract_digest(parts.catalogue)
    backups = Backups(store, parts.backups, digest, settings.pg_programs)
    yield BackupSchedule(backups, timedelta(hours=settings.backup_hours), settings.backup_keep)
    yield Growth(store)
