"""``backup``, ``backups`` and ``restore``: of the whole database, or of one tenant.

They are the operator's: over the owner's connection, without a running service, and without the
keys that open sealed values.
"""

import argparse
import asyncio
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from mesh.contract.catalogue import load_catalogue
from mesh.contract.digest import contract_digest
from mesh.server.deployable import Command, CommandFailed, close_store, open_database, open_owner
from mesh.sql.backup.backups import Backups
from mesh.sql.backup.errors import BackupUnknown
from mesh.sql.backup.folder import BackupFolder, Manifest, Origin
from mesh.sql.backup.progress import Progress
from mesh.sql.backup.tenant import TenantBackup
from mesh.sql.schema import require_schema
from mesh.sql.store import Store
from mesh.sql.tables import Tables
from services.security.command_arguments import tenant_argument
from services.security.settings import PACKAGE, SecuritySettings


async def back_up(settings: SecuritySettings, arguments: argparse.Namespace) -> None:
    """Write a backup and tell what it holds; BackupProblem."""
    if (arguments.tenant is None) != (arguments.file is None):
        raise CommandFailed("--tenant and FILE go together; without both, the whole is backed up")
    async with _store(settings) as store:
        if arguments.tenant is None:
            made = await _whole(settings, store).create(Origin.REQUESTED, Progress())
            sys.stdout.write(f"{_line(made)}\n")
            return
        work = _of_tenant(store).dump
        told = Progress()
        manifest = await told.in_thread(work, arguments.tenant, arguments.file, told)
        sys.stdout.write(f"{arguments.file}: {manifest.rows} rows of {manifest.tenant}\n")


async def restore(settings: SecuritySettings, arguments: argparse.Namespace) -> None:
    """Put back what a backup holds, all of it or nothing; BackupProblem."""
    if arguments.replace and arguments.tenant is None:
        raise CommandFailed("--replace is of one tenant; a restore of the whole always replaces")
    async with _store(settings) as store:
        progress = Progress()
        if arguments.tenant is None:
            try:
                safety = await _whole(settings, store).restore(
                    arguments.backup, progress, _nothing_to_wait_for, validate_only=False
                )
            except BackupUnknown:
                problem = f"there is no backup {arguments.backup} in {settings.backups}"
                raise CommandFailed(problem) from None
            if safety is not None:
                sys.stdout.write(f"restored; what stood before: {_line(safety)}\n")
            return
        file = Path(arguments.backup)

        def load() -> int:
            tenant = _of_tenant(store)
            return tenant.load(arguments.tenant, file, progress, replace=arguments.replace).rows

        rows = await progress.in_thread(load)
        sys.stdout.write(f"{arguments.tenant}: {rows} rows restored\n")


async def list_backups(settings: SecuritySettings, _arguments: argparse.Namespace) -> None:
    """Tell the backups of the whole, the newest first."""
    for each in await asyncio.to_thread(BackupFolder(settings.backups).all):
        sys.stdout.write(f"{_line(each)}\n")


@asynccontextmanager
async def _store(settings: SecuritySettings) -> AsyncIterator[Store]:
    """Open the database as its owner sees it; an empty one gets its tables."""
    engine, owner = open_database(settings), open_owner(settings)
    store = Store(
        engine,
        Tables(load_catalogue(PACKAGE), isolated=True),
        page_key=secrets.token_bytes(32),
        owner=owner,
    )
    try:
        await require_schema(engine, store.tables, owner=store.owner)
        yield store
    finally:
        await close_store(store)


def _whole(settings: SecuritySettings, store: Store) -> Backups:
    digest = contract_digest(load_catalogue(PACKAGE))
    return Backups(store, BackupFolder(settings.backups), digest, settings.pg_programs)


def _of_tenant(store: Store) -> TenantBackup:
    return TenantBackup(store.owner.url, store.tables, contract_digest(load_catalogue(PACKAGE)))


async def _nothing_to_wait_for() -> None:
    """Let a restore begin at any time: writers wait for it."""


def _line(manifest: Manifest) -> str:
    made = datetime.fromtimestamp(manifest.created / 1e6, UTC)
    rows = sum(manifest.rows.values())
    return f"{manifest.id}  {made:%Y-%m-%d %H:%M:%S}Z  {manifest.origin}  {rows} rows"


def _add_backup_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tenant", type=tenant_argument, help="only this tenant, into FILE")
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="a new file")


def _add_restore_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tenant", type=tenant_argument, help="only this tenant, from a file")
    parser.add_argument(
        "--replace", action="store_true", help="even if the tenant has records, which go"
    )
    parser.add_argument("backup", metavar="BACKUP", help="as `backups` names it, or the file")


def _add_nothing(_parser: argparse.ArgumentParser) -> None:
    """Add no argument."""


BACKUP_COMMANDS = (
    Command("backup", "back up the database, or one tenant", _add_backup_arguments, back_up),
    Command("backups", "list the backups of the database", _add_nothing, list_backups),
    Command("restore", "put a backup back", _add_restore_arguments, restore),
)
