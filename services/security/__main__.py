"""The security service: ``python -m services.security serve|migrate|seed|verify-audit``."""

from datetime import timedelta

import grpc

from mesh.contract.catalogue import load_catalogue
from mesh.identity.token import TokenVerifier
from mesh.records.servicer import RecordServicer
from mesh.records.watch_servicer import WatchServicer
from mesh.server.deployable import Command, Deployable, Probe, close_store, end_process, open_store
from mesh.server.serve import Server
from mesh.sql.answers import Answers
from mesh.sql.changes import ChangeFeed
from mesh.sql.forgetting import Forgetting
from mesh.sql.partition_schedule import PartitionSchedule
from secmesh.security.v1 import (
    analytics_service_pb2_grpc,
    finding_service_pb2_grpc,
    import_service_pb2_grpc,
    incident_service_pb2_grpc,
    mfa_service_pb2_grpc,
    phishing_service_pb2_grpc,
    posture_service_pb2_grpc,
    quality_gate_service_pb2_grpc,
    workflow_service_pb2_grpc,
)
from services.security.analytics.dashboards import Dashboards
from services.security.analytics.metric_schedule import MetricSchedule
from services.security.analytics.metrics import Metrics
from services.security.analytics.widgets import Widgets
from services.security.analytics_servicer import AnalyticsServicer
from services.security.audit.chain import Chain
from services.security.audit.command import VERIFY_AUDIT
from services.security.audit.leaving import Departures
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
from services.security.incidents.guard import IncidentGuard
from services.security.incidents.life import IncidentLife
from services.security.incidents.overdue import OverdueIncidents
from services.security.mfa.guard import MfaGuard
from services.security.mfa_servicer import MfaServicer
from services.security.phishing.guard import PhishingGuard
from services.security.phishing_servicer import PhishingServicer
from services.security.posture.frameworks import Frameworks
from services.security.posture_servicer import PostureServicer
from services.security.quality_gate_servicer import QualityGateServicer
from services.security.recurring import Recurring
from services.security.seeding.command import add_seed_arguments, run_seed
from services.security.settings import PACKAGE, SecuritySettings
from services.security.upkeep import Upkeep
from services.security.workflow_servicer import WorkflowServicer
from services.security.workflows.engine import Workflows
from services.security.workflows.guard import WorkflowGuard


async def build_server(settings: SecuritySettings) -> Server:
    """Put the service together, ready to start."""
    catalogue = load_catalogue(PACKAGE)
    verifier = TokenVerifier(settings.key_set, settings.issuer, settings.audience)
    store = await open_store(settings, catalogue, isolated=True)
    life = FindingLife(store, catalogue)
    editor = RecordEditor(store, catalogue)
    incidents = IncidentLife(store, editor)
    overdue = OverdueIncidents(store, editor, incidents)
    guard = Guards(
        [
            FindingGuard(catalogue),
            IncidentGuard(),
            MfaGuard(),
            PhishingGuard(),
            WorkflowGuard(),
        ]
    )
    workflows = Workflows(
        store,
        catalogue,
        guard,
        (life, incidents),
        editor,
        lease=timedelta(seconds=settings.workflow_lease_seconds),
        hosts=settings.workflow_host_set,
    )
    metrics = Metrics(store, catalogue, Dashboards(store, Widgets(store, catalogue)))
    Departures(store).attend()
    chain = Chain(store)
    keep_changes = timedelta(days=settings.change_days)
    forgetting = Forgetting(ChangeFeed(store), keep_changes, read=chain.place)
    works = (
        PartitionSchedule(store),
        ChainSchedule(chain),
        forgetting,
        Acceptances(store, life),
        Recurring("incidents escalated", overdue.look, timedelta(minutes=1)),
        MetricSchedule(store, metrics),
        workflows,
    )
    upkeep = Upkeep(store, works)
    upkeep.start()
    probe = Probe(settings)

    def register(target: grpc.aio.Server) -> None:
        RecordServicer(catalogue, store, guard=guard).add_to(target)
        import_service_pb2_grpc.add_ImportServiceServicer_to_server(
            ImportServicer(catalogue, store, life), target
        )
        WatchServicer(catalogue, store, server.draining).add_to(target)
        findings = FindingServicer(catalogue, store, life)
        finding_service_pb2_grpc.add_FindingServiceServicer_to_server(findings, target)
        quality_gate_service_pb2_grpc.add_QualityGateServiceServicer_to_server(
            QualityGateServicer(Gates(store, catalogue)), target
        )
        posture_service_pb2_grpc.add_PostureServiceServicer_to_server(
            PostureServicer(catalogue, Frameworks(store, catalogue)), target
        )
        mfa = MfaServicer(catalogue, store)
        mfa_service_pb2_grpc.add_MfaServiceServicer_to_server(mfa, target)
        incident_service_pb2_grpc.add_IncidentServiceServicer_to_server(
            IncidentServicer(store, incidents), target
        )
        phishing = PhishingServicer(catalogue, store)
        phishing_service_pb2_grpc.add_PhishingServiceServicer_to_server(phishing, target)
        workflow_service_pb2_grpc.add_WorkflowServiceServicer_to_server(
            WorkflowServicer(catalogue, store, editor, workflows), target
        )
        analytics_service_pb2_grpc.add_AnalyticsServiceServicer_to_server(
            AnalyticsServicer(catalogue, store, metrics), target
        )

    async def dispose() -> None:
        await upkeep.close()
        await probe.close()
        await close_store(store)

    server = Server(
        settings, catalogue, verifier, register, probe.is_answering, dispose, Answers(store)
    )
    return server


SECURITY = Deployable(
    module="services.security",
    package=PACKAGE,
    purpose="Keeps the records of security work, related and isolated by tenant, in PostgreSQL.",
    settings=SecuritySettings,
    build_server=build_server,
    isolated=True,
    commands=[
        Command("seed", "fill a tenant with made-up records", add_seed_arguments, run_seed),
        VERIFY_AUDIT,
    ],
)

if __name__ == "__main__":
    end_process(SECURITY.main())
