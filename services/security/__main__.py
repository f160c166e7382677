"""The security service: ``python -m services.security serve|migrate``."""

from datetime import timedelta

import grpc

from mesh.contract.catalogue import load_catalogue
from mesh.identity.token import TokenVerifier
from mesh.records.servicer import RecordServicer
from mesh.records.watch_servicer import WatchServicer
from mesh.server.deployable import Deployable, Probe, close_store, end_process, open_store
from mesh.server.serve import Server
from mesh.sql.answers import Answers
from secmesh.security.v1 import (
    finding_service_pb2_grpc,
    import_service_pb2_grpc,
    incident_service_pb2_grpc,
    workflow_service_pb2_grpc,
)
from services.security.editing import RecordEditor
from services.security.finding_servicer import FindingServicer
from services.security.findings.guard import FindingGuard
from services.security.findings.life import FindingLife
from services.security.guards import Guards
from services.security.import_servicer import ImportServicer
from services.security.incident_servicer import IncidentServicer
from services.security.incidents.guard import IncidentGuard
from services.security.incidents.life import IncidentLife
from services.security.incidents.overdue import OverdueIncidents
from services.security.incidents.playbooks import Playbooks
from services.security.settings import SecuritySettings
from services.security.upkeep import Upkeep
from services.security.workflow_servicer import WorkflowServicer
from services.security.workflows.engine import Workflows
from services.security.workflows.guard import WorkflowGuard

PACKAGE = "secmesh.security.v1"


async def build_server(settings: SecuritySettings) -> Server:
    """Put the service together, ready to start."""
    catalogue = load_catalogue(PACKAGE)
    verifier = TokenVerifier(settings.key_set, settings.issuer, settings.audience)
    store = await open_store(settings, catalogue, isolated=True)
    life = FindingLife(store, catalogue)
    editor = RecordEditor(store, catalogue)
    incidents = IncidentLife(store, editor)
    overdue = OverdueIncidents(store, editor, incidents)
    guard = Guards([FindingGuard(catalogue), IncidentGuard(), WorkflowGuard()])
    workflows = Workflows(
        store,
        catalogue,
        guard,
        (life, incidents),
        editor,
        lease=timedelta(seconds=settings.workflow_lease_seconds),
        hosts=settings.workflow_host_set,
    )
    playbooks = Playbooks(store, editor, catalogue.record_kinds, workflows.starter)
    upkeep = Upkeep(store, timedelta(days=settings.change_days), life, overdue, workflows)
    upkeep.start()
    probe = Probe(settings)

    def register(target: grpc.aio.Server) -> None:
        RecordServicer(catalogue, store, guard=guard).add_to(target)
        import_service_pb2_grpc.add_ImportServiceServicer_to_server(
            ImportServicer(catalogue, store), target
        )
        WatchServicer(catalogue, store, server.draining).add_to(target)
        findings = FindingServicer(catalogue, store, life)
        finding_service_pb2_grpc.add_FindingServiceServicer_to_server(findings, target)
        incident_service_pb2_grpc.add_IncidentServiceServicer_to_server(
            IncidentServicer(store, incidents, playbooks), target
        )
        workflow_service_pb2_grpc.add_WorkflowServiceServicer_to_server(
            WorkflowServicer(catalogue, store, editor, workflows), target
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
)

if __name__ == "__main__":
    end_process(SECURITY.main())
