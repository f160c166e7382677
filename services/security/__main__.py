"""The security service: ``python -m services.security serve|migrate|seed|backup|restore|...``."""

from mesh.server.garbage import uncollected

# Of 1,400 modules nothing is garbage: a fifth of their import was the search for it.
with uncollected():
    import grpc

    from mesh.contract.catalogue import load_catalogue
    from mesh.records.servicer import RecordServicer
    from mesh.records.watch_servicer import WatchServicer
    from mesh.server.deployable import (
        Command,
        Deployable,
        Probe,
        close_store,
        end_process,
        open_store,
    )
    from mesh.server.serve import Server
    from mesh.server.trust import verifier_of
    from mesh.sql.answers import Answers
    from services.security.assembly import assemble, servicers, works
    from services.security.audit.command import VERIFY_AUDIT
    from services.security.backup_commands import BACKUP_COMMANDS
    from services.security.reseal_command import RESEAL
    from services.security.seeding.command import add_seed_arguments, run_seed
    from services.security.settings import PACKAGE, SecuritySettings
    from services.security.upkeep import Upkeep


async def build_server(settings: SecuritySettings) -> Server:
    """Put the service together, ready to start."""
    catalogue = load_catalogue(PACKAGE)
    verifier = verifier_of(settings)
    store = await open_store(settings, catalogue, isolated=True)
    parts = assemble(settings, store, catalogue)
    upkeep = Upkeep(store, tuple(works(settings, parts)))
    upkeep.start()
    probe = Probe(settings)

    def register(target: grpc.aio.Server) -> None:
        RecordServicer(catalogue, store, guard=parts.guard).add_to(target)
        WatchServicer(catalogue, store, server.draining).add_to(target)
        for add, servicer in servicers(parts):
            add(servicer, target)

    async def dispose() -> None:
        await upkeep.close()
        await probe.close()
        await close_store(store)

    server = Server(
        settings, catalogue, verifier, register, probe.is_answering, dispose, Answers(store), store
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
        RESEAL,
        VERIFY_AUDIT,
        *BACKUP_COMMANDS,
    ],
)

if __name__ == "__main__":
    end_process(SECURITY.main())
