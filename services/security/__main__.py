"""The security service: ``python -m services.security serve|migrate|seed|backup|restore``."""

from datetime import timedelta

import grpc

from mesh.contract.catalogue import load_catalogue
from mesh.contract.digest import contract_digest
from mesh.identity.token import TokenVerifier
from mesh.records.servicer import RecordServicer
from mesh.records.watch_servicer import WatchServicer
from mesh.server.deployable import Command, Deployable, Probe, close_store, end_process, open_store
from mesh.server.serve import Server
from mesh.sql.answers import Answers
from mesh.sql.backup.backups import Backups
from mesh.sql.backup.folder import BackupFolder
from mesh.sql.backup.schedule import BackupSchedule
from secmesh.security.v1 import finding_service_pb2_grpc, import_service_pb2_grpc
from services.security.backup_commands import BACKUP_COMMANDS
from services.security.finding_servicer import FindingServicer
from services.security.findings.guard import FindingGuard
from services.security.findings.life import FindingLife
from services.security.import_servicer import ImportServicer
from services.security.seeding.command import add_seed_arguments, run_seed
from services.security.settings import PACKAGE, SecuritySettings
from services.security.upkeep import Upkeep


async def build_server(settings: SecuritySettings) -> Server:
    """Put the service together, ready to start."""
    catalogue = load_catalogue(PACKAGE)
    verifier = TokenVerifier(settings.key_set, settings.issuer, settings.audience)
    store = await open_store(settings, catalogue, isolated=True)
    life = FindingLife(store, catalogue)
    backups = Backups(
        store, BackupFolder(settings.backups), contract_digest(catalogue), settings.pg_programs
    )
    schedule = BackupSchedule(backups, timedelta(hours=settings.backup_hours), settings.backup_keep)
    upkeep = Upkeep(store, timedelta(days=settings.change_days), life, schedule)
    upkeep.start()
    probe = Probe(settings)

    def register(target: grpc.aio.Server) -> None:
        RecordServicer(catalogue, store, guard=FindingGuard(catalogue)).add_to(target)
        import_service_pb2_grpc.add_ImportServiceServicer_to_server(
            ImportServicer(catalogue, store), target
        )
        WatchServicer(catalogue, store, server.draining).add_to(target)
        findings = FindingServicer(catalogue, store, life)
        finding_service_pb2_grpc.add_FindingServiceServicer_to_server(findings, target)

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
        *BACKUP_COMMANDS,
    ],
)

if __name__ == "__main__":
    end_process(SECURITY.main())
