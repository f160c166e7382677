"""The inventory service: ``python -m services.inventory serve|migrate``."""

import argparse
import asyncio
import logging
import os
import secrets
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import grpc
import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncEngine

from mesh.aws.accounts import Accounts
from mesh.contract.catalogue import Catalogue, load_catalogue
from mesh.contract.digest import contract_digest
from mesh.errors import Refusal
from mesh.identity.jwks import JwksInvalid
from mesh.identity.token import TokenVerifier
from mesh.records.servicer import RecordServicer
from mesh.records.watch_servicer import WatchServicer
from mesh.server.garbage import kept_for_good
from mesh.server.log import configure_logging
from mesh.server.serve import ListenError, Server
from mesh.server.workers import WorkerFailed, Workers, end_with_parent
from mesh.sql.answers import Answers
from mesh.sql.backup.backups import Backups
from mesh.sql.backup.folder import BackupFolder
from mesh.sql.backup.schedule import BackupSchedule
from mesh.sql.changes import ChangeFeed
from mesh.sql.engine import EngineUrlError, open_engine
from mesh.sql.forgetting import Forgetting
from mesh.sql.migration_command import add_migrate_arguments, run_migrate
from mesh.sql.schema import MigrationRefused, require_schema
from mesh.sql.settings import Pool
from mesh.sql.store import Store
from mesh.sql.tables import Tables
from mesh.telemetry.tracing import enable_tracing, wants_tracing
from mesh.tls import TlsInvalid
from secmesh.inventory.v1.backup_service_pb2_grpc import add_BackupServiceServicer_to_server
from secmesh.inventory.v1.compliance_service_pb2_grpc import (
    add_ComplianceServiceServicer_to_server,
)
from secmesh.inventory.v1.history_service_pb2_grpc import add_HistoryServiceServicer_to_server
from secmesh.inventory.v1.store_service_pb2_grpc import add_StoreServiceServicer_to_server
from secmesh.inventory.v1.sync_service_pb2_grpc import add_SyncServiceServicer_to_server
from services.inventory.account_store import AccountStore
from services.inventory.backup_servicer import BackupServicer
from services.inventory.collect.registry import REGISTRY
from services.inventory.collect.run import Stores
from services.inventory.collect.runner import Limits, SyncRunner
from services.inventory.compliance.check_catalogue import load_checks
from services.inventory.compliance_servicer import ComplianceServicer
from services.inventory.history_servicer import HistoryServicer
from services.inventory.load_store import LoadStore
from services.inventory.loader import Loader
from services.inventory.settings import PREFIX, InventorySettings, describe
from services.inventory.store import InventoryStore
from services.inventory.store_servicer import StoreServicer
from services.inventory.sync_servicer import SyncServicer
from services.inventory.sync_store import SyncStore
from services.inventory.unit_store import UnitStore

PACKAGE = "secmesh.inventory.v1"
PROBE = Pool(name="probe", size=1)
_FAILURES = (
    EngineUrlError,
    JwksInvalid,
    ListenError,
    MigrationRefused,
    Refusal,
    TlsInvalid,
    WorkerFailed,
)
"""What ends a command with one message."""


def open_database(settings: InventorySettings) -> AsyncEngine:
    """Open the database, whose default is a file in the home."""
    if not settings.database_url:
        settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    return open_engine(settings.database, settings.pool)


async def open_store(settings: InventorySettings, catalogue: Catalogue) -> Store:
    """Open the database; MigrationRefused if it is not what the contract says."""
    engine = open_database(settings)
    tables = Tables(catalogue)
    try:
        await require_schema(engine, tables)
    except BaseException:
        await engine.dispose()
        raise
    page_key = settings.page_key.encode() or secrets.token_bytes(32)
    return Store(engine, tables, page_key=page_key)


def build_runner(settings: InventorySettings, catalogue: Catalogue, store: Store) -> SyncRunner:
    """Put together what collects accounts."""
    leases = UnitStore(store, secrets.token_hex(8), settings.lease)
    return SyncRunner(
        catalogue,
        REGISTRY,
        Accounts(replace(settings.access(), operations=REGISTRY.operations)),
        settings.grants,
        Stores(InventoryStore(store), SyncStore(store), leases),
        Limits(settings.units, settings.reads, settings.unit_limit),
    )


async def build_server(settings: InventorySettings) -> Server:
    """Put the service together, ready to start."""
    catalogue = load_catalogue(PACKAGE)
    verifier = TokenVerifier(settings.key_set, settings.issuer, settings.audience)
    store = await open_store(settings, catalogue)
    runner = build_runner(settings, catalogue, store)
    checks = load_checks(catalogue)
    folder = BackupFolder(settings.backups)
    backups = Backups(store, folder, contract_digest(catalogue), settings.pg_programs)
    schedule = BackupSchedule(backups, timedelta(hours=settings.backup_hours), settings.backup_keep)
    await runner.recover()
    schedule.start()
    forgetting = Forgetting(ChangeFeed(store), timedelta(days=settings.change_days))
    forgetting.start()

    def register(target: grpc.aio.Server) -> None:
        RecordServicer(catalogue, store).add_to(target)
        WatchServicer(catalogue, store, server.draining).add_to(target)
        syncs = SyncServicer(runner, SyncStore(store), server.draining)
        add_SyncServiceServicer_to_server(syncs, target)
        histories = HistoryServicer(catalogue, store, SyncStore(store))
        add_HistoryServiceServicer_to_server(histories, target)
        add_ComplianceServiceServicer_to_server(ComplianceServicer(store, checks), target)
        loader = Loader(catalogue, settings.grants, LoadStore(SyncStore(store)))
        accounts = AccountStore(SyncStore(store))
        upkeep = StoreServicer(catalogue, accounts, runner, schedule, loader)
        add_StoreServiceServicer_to_server(upkeep, target)
        add_BackupServiceServicer_to_server(BackupServicer(backups, SyncStore(store)), target)

    # Of its own: calls that wait for a connection do not make the database unready.
    probe = open_engine(settings.database, PROBE)

    async def ready() -> bool:
        return await is_answering(probe)

    async def dispose() -> None:
        await runner.close()
        await schedule.close()
        await forgetting.close()
        await probe.dispose()
        await store.engine.dispose()

    server = Server(settings, catalogue, verifier, register, ready, dispose, Answers(store))
    return server


async def is_answering(engine: AsyncEngine) -> bool:
    """Tell whether the database answers."""
    async with engine.connect() as connection:
        await connection.execute(sa.select(1))
    return True


async def serve(settings: InventorySettings, _arguments: argparse.Namespace) -> None:
    """Serve until a signal, then drain."""
    if settings.workers > 1:
        await serve_by_workers(settings)
        return
    with kept_for_good():
        server = await build_server(settings)
    if settings.share_port:
        end_with_parent()
    await server.run_until_signal()


async def migrate(settings: InventorySettings, arguments: argparse.Namespace) -> None:
    """Bring the database to what the contract says, or show what that would take."""
    engine = open_database(settings)
    try:
        sys.stdout.write(await run_migrate(engine, Tables(load_catalogue(PACKAGE)), arguments))
    finally:
        await engine.dispose()


async def serve_by_workers(settings: InventorySettings) -> None:
    """Serve by several processes, which share the port and the key of page tokens."""
    if settings.database == "sqlite://":
        raise EngineUrlError("workers share their database: a scratch database is of one process")
    store = await open_store(settings, load_catalogue(PACKAGE))
    await store.engine.dispose()
    page_key = settings.page_key or secrets.token_hex(32)
    command = [sys.executable, "-m", "services.inventory", "serve"]
    await Workers(settings, command, PREFIX, {f"{PREFIX}PAGE_KEY": page_key}).run_until_signal()


def _parser() -> argparse.ArgumentParser:
    """Make the command line, whose every --help lists the settings."""
    shown: dict[str, Any] = {
        "epilog": f"settings, from the environment:\n{describe()}",
        "formatter_class": argparse.RawDescriptionHelpFormatter,
    }
    parser = argparse.ArgumentParser(
        prog="python -m services.inventory",
        description="Collects AWS accounts and compares them with a System Security Plan.",
        **shown,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="serve gRPC until SIGTERM or SIGINT", **shown)
    schema = commands.add_parser(
        "migrate", help="bring the database to what the contract says", **shown
    )
    add_migrate_arguments(schema)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and give its exit code: 0 done, 1 failed, 2 wrong usage."""
    arguments = _parser().parse_args(argv)
    command = {"serve": serve, "migrate": migrate}[arguments.command]
    try:
        settings = InventorySettings()
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False):
            sys.stderr.write(f"{problem['loc'][0]}: {problem['msg']}\n")
        return 2
    configure_logging(settings.log_level)
    if wants_tracing():
        enable_tracing("inventory")
    try:
        asyncio.run(command(settings, arguments))
    except (*_FAILURES, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    # Clean-up of threads that still wait for AWS must not hold up the end.
    status = main()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
