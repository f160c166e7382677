"""The tenancy service: ``python -m services.tenancy serve|...``."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial

from mesh.server.garbage import uncollected

# Of its modules nothing is garbage: a fifth of their import was the search for it.
with uncollected():
    import grpc

    from mesh.contract.catalogue import load_catalogue
    from mesh.errors import DependencyUnavailable
    from mesh.server.interceptors.idempotency import HandlersKeep
    from mesh.server.program import CommandFailed, Program, end_process, in_thread
    from mesh.server.readiness import Ready
    from mesh.server.serve import Server
    from mesh.server.trust import verifier_of
    from services.tenancy.access_log_command import PRUNE_ACCESS_LOGS
    from services.tenancy.assembly import open_others, open_parts, servicers
    from services.tenancy.import_command import IMPORT_POSTGRES
    from services.tenancy.kms_command import SETUP_KMS, keys_set_up
    from services.tenancy.parts import Parts
    from services.tenancy.replica_commands import EXECUTOR, SCHEDULER
    from services.tenancy.reshard_command import RESHARD
    from services.tenancy.retime_command import RETIME_SCHEDULES
    from services.tenancy.reverify_command import REVERIFY
    from services.tenancy.rotate_command import ROTATE_CREDENTIALS
    from services.tenancy.scheduling.sharding import Sharding, ShardsDiffer
    from services.tenancy.settings import PACKAGE, TenancySettings
    from services.tenancy.tables_command import TABLE_COMMANDS, created_tables
    from services.tenancy.upkeep.jobs import upkeep_of
    from services.tenancy.upkeep.telemetry import measure
    from services.tenancy.upkeep_command import UPKEEP

_LOG = logging.getLogger(__name__)
_PATIENCE = 10
"""Seconds for which the start waits for the store; it is asked again as long as it serves."""


async def build_server(settings: TenancySettings) -> Server:
    """Put the service together, ready to start."""
    if settings.set_up:
        await in_thread(partial(keys_set_up, settings))
        await in_thread(partial(created_tables, settings))
    catalogue = load_catalogue(PACKAGE)
    verifier = verifier_of(settings)
    parts = open_parts(settings, open_others(settings))

    def register(target: grpc.aio.Server) -> None:
        for add, servicer in servicers(parts):
            add(servicer, target)

    sharding = Sharding(parts.store, settings.index_shards)
    try:
        async with asyncio.timeout(_PATIENCE):
            await sharding.agree()
    except ShardsDiffer as problem:
        await parts.close()
        raise CommandFailed(str(problem)) from problem
    except (DependencyUnavailable, TimeoutError):
        _LOG.warning("the store does not answer yet")

    dispose = _kept_up(parts) if settings.upkeep else parts.close
    ready = _ready(sharding)
    return Server(settings, catalogue, verifier, register, ready, dispose, HandlersKeep())


def _ready(sharding: Sharding) -> Ready:
    async def ready() -> bool:
        # Also while it serves: what it wrote by another number would be found by nobody.
        try:
            await sharding.agree()
        except ShardsDiffer as problem:
            _LOG.error("not ready: %s", problem)
            return False
        return True

    return ready


def _kept_up(parts: Parts) -> Callable[[], Awaitable[None]]:
    """Begin with the upkeep; give what ends it and closes the parts."""
    upkeep = upkeep_of(parts)
    measure(lambda: upkeep.standings, parts.clock)
    upkeep.start()

    async def dispose() -> None:
        await upkeep.close()
        await parts.close()

    return dispose


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
        RESHARD,
        SCHEDULER,
        EXECUTOR,
        REVERIFY,
        ROTATE_CREDENTIALS,
        PRUNE_ACCESS_LOGS,
        UPKEEP,
        IMPORT_POSTGRES,
    ],
)

if __name__ == "__main__":
    end_process(TENANCY.main())
