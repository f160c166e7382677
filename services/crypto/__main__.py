"""The crypto service: ``python -m services.crypto serve|migrate|check|create-keys|sealer|...``."""

import asyncio
import secrets

from mesh.server.garbage import uncollected

# Of its modules nothing is garbage: a fifth of their import was the search for it.
with uncollected():
    import grpc
    from sqlalchemy.ext.asyncio import AsyncEngine

    from mesh.contract.catalogue import load_catalogue
    from mesh.server.deployable import (
        Deployable,
        Probe,
        close_engines,
        end_process,
        open_database,
        open_owner,
    )
    from mesh.server.serve import Server
    from mesh.server.trust import verifier_of
    from mesh.sql.paging import PageTokens
    from services.crypto.assembly import audit_servicer, open_custody, open_keys, servicers
    from services.crypto.audit_command import AUDIT_COMMANDS
    from services.crypto.audit_upkeep import open_audit_keys, open_writer, upkeep_of
    from services.crypto.check_command import CHECK
    from services.crypto.custody.revocation import RevocationWatch
    from services.crypto.database import open_transactions
    from services.crypto.erasure_command import REPLAY, require_replayed
    from services.crypto.erasure_parts import erasure_runner, registry_of
    from services.crypto.keys.news import KeyNews
    from services.crypto.keys_command import CREATE_KEYS
    from services.crypto.migrations.commands import VersionedSchema
    from services.crypto.rotation_parts import key_servicer, open_rotations, pace_of
    from services.crypto.sealer_command import SEALER
    from services.crypto.settings import PACKAGE, CryptoSettings
    from services.crypto.statistics_parts import statistics_servicer

_SCHEMA = VersionedSchema()


async def build_server(settings: CryptoSettings) -> Server:
    """Put the service together, ready to start."""
    catalogue = load_catalogue(PACKAGE)
    verifier = verifier_of(settings)
    custody = await open_custody(settings)
    application, owner = open_database(settings), open_owner(settings)
    try:
        await _SCHEMA.require(application, owner)
        await _warm(application, settings.pool_min)
        audit_keys = open_audit_keys(settings)
        registry = registry_of(settings, audit_keys)
        transactions = open_transactions(application, owner)
        await require_replayed(transactions, registry)
    except BaseException:
        await close_engines(application, owner)
        raise
    keys = open_keys(settings, custody, transactions)
    audit = open_writer(audit_keys, application)
    audit.start()
    upkeep = upkeep_of(settings, audit_keys, owner)
    for work in upkeep:
        work.start()
    watch = RevocationWatch(custody.kms, keys.tenants.kms_keys, keys.revoke)
    watch.start()
    news = KeyNews(application, keys.forget)
    news.start()
    rotation = open_rotations(settings, custody, keys, transactions, audit, pace_of(settings))
    rotation.start()
    erasures = erasure_runner(keys, transactions, audit, registry)
    erasures.start()
    probe = Probe(settings)
    tokens = PageTokens(settings.page_key.encode() or secrets.token_bytes(32))

    def register(target: grpc.aio.Server) -> None:
        parts = [
            *servicers(
                settings, custody, keys, transactions, audit, tokens, registry, server.draining
            ),
            audit_servicer(transactions, audit_keys.subjects, audit, tokens),
            key_servicer(transactions, rotation.rotations, keys, audit, tokens),
            statistics_servicer(settings, custody, transactions, audit),
        ]
        for add, servicer in parts:
            add(servicer, target)

    async def dispose() -> None:
        await news.close()
        await watch.close()
        await rotation.close()
        await erasures.close()
        await audit.close()
        for work in upkeep:
            await work.close()
        await keys.close()
        await custody.close()
        await probe.close()
        await close_engines(application, owner)

    server = Server(
        settings,
        catalogue,
        verifier,
        register,
        probe.is_answering,
        dispose,
        tenants=transactions,
    )
    return server


async def _warm(engine: AsyncEngine, number: int) -> None:
    """Open so many connections at once, so that the first calls find them."""
    opened = await asyncio.gather(*(engine.connect() for _ in range(number)))
    for connection in opened:
        await connection.close()


CRYPTO = Deployable(
    module="services.crypto",
    package=PACKAGE,
    purpose="Keeps people's data in tiers: clear, sealed by the KMS, sealed twice; all audited.",
    settings=CryptoSettings,
    build_server=build_server,
    isolated=True,
    versions=_SCHEMA,
    commands=[CHECK, CREATE_KEYS, SEALER, REPLAY, *AUDIT_COMMANDS],
)

if __name__ == "__main__":
    end_process(CRYPTO.main())
