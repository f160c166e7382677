"""The tenancy service: ``python -m services.tenancy serve|...``."""

import asyncio

import grpc

from mesh.contract.catalogue import load_catalogue
from mesh.identity.token import TokenVerifier
from mesh.server.interceptors.idempotency import HandlersKeep
from mesh.server.program import Program, end_process
from mesh.server.serve import Server
from services.tenancy.assembly import open_others, open_parts, servicers
from services.tenancy.import_command import IMPORT_POSTGRES
from services.tenancy.kms_command import SETUP_KMS, keys_set_up
from services.tenancy.replica_commands import EXECUTOR, SCHEDULER
from services.tenancy.retime_command import RETIME_SCHEDULES
from services.tenancy.reverify_command import REVERIFY
from services.tenancy.settings import PACKAGE, TenancySettings
from services.tenancy.store.keys import TenantScope
from services.tenancy.tables_command import TABLE_COMMANDS, created_tables

_PROBE = TenantScope("readiness").tenant_key()
"""An item that is asked for to see whether the store answers; there need be none."""


async def build_server(settings: TenancySettings) -> Server:
    """Put the service together, ready to start."""
    if settings.set_up:
        await asyncio.to_thread(keys_set_up, settings)
        await asyncio.to_thread(created_tables, settings)
    catalogue = load_catalogue(PACKAGE)
    verifier = TokenVerifier(settings.key_set, settings.issuer, settings.audience)
    parts = open_parts(settings, open_others(settings))

    def register(target: grpc.aio.Server) -> None:
        for add, servicer in servicers(parts):
            add(servicer, target)

    async def ready() -> bool:
        await parts.store.get(_PROBE, consistent=False)
        return True

    return Server(settings, catalogue, verifier, register, ready, parts.close, HandlersKeep())


TENANCY = Program(
    module="services.tenancy",
    package=PACKAGE,
    purpose="Keeps tenants, their cloud accounts and credentials, and scans them on schedule.",
    settings=TenancySettings,
    build_server=build_server,
    commands=[
        *TABLE_COMMANDS,
        SETUP_KMS,
        RETIME_SCHEDULES,
        SCHEDULER,
        EXECUTOR,
        REVERIFY,
        IMPORT_POSTGRES,
    ],
)

if __name__ == "__main__":
    end_process(TENANCY.main())
