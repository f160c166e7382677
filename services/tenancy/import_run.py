"""What the command ``import-postgres`` does."""

import argparse
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
from psycopg.errors import InsufficientPrivilege, UndefinedColumn, UndefinedTable

from mesh.server.program import CommandFailed
from services.tenancy.assembly import open_parts
from services.tenancy.credentials.parts import CredentialParts
from services.tenancy.migration.current import Current
from services.tenancy.migration.importer import Importer
from services.tenancy.migration.ledger import Ledger, LedgerUnfit
from services.tenancy.migration.old_database import OldDatabase
from services.tenancy.migration.pace import PacedSecrets
from services.tenancy.migration.shadow import Shadow
from services.tenancy.migration.target import Target
from services.tenancy.migration.vault import KeysInvalid, OldVault
from services.tenancy.parts import Parts
from services.tenancy.settings import TenancySettings


@dataclass(frozen=True)
class _Migration:
    old: OldDatabase
    vault: OldVault
    parts: Parts
    credentials: CredentialParts

    @property
    def current(self) -> Current:
        return Current(self.parts, self.credentials, self.vault)

    def importer(self, ledger: Ledger) -> Importer:
        target = Target(self.parts, self.credentials)
        return Importer(self.old, self.vault, target, self.current, ledger)

    @property
    def shadow(self) -> Shadow:
        return Shadow(self.old, self.current, self.vault)


async def run_import(settings: TenancySettings, arguments: argparse.Namespace) -> None:
    """Do what is asked, and say what came of it. CommandFailed for rows that did not come."""
    with _ledger(settings, arguments) as ledger:
        async with _opened(settings, arguments.fernet_keys) as migration:
            if ledger is None:
                await _compare(migration.shadow, export=arguments.export)
            elif arguments.activate:
                number = await migration.importer(ledger).activate()
                sys.stdout.write(f"activated: {number} schedules\n")
            else:
                await migration.importer(ledger).run(dry=arguments.dry_run)
                _report(ledger)


async def _compare(shadow: Shadow, *, export: bool) -> None:
    """Say where both systems differ, CommandFailed if they do; or have the old one follow."""
    if export:
        sys.stdout.write(f"exported: {await shadow.export()} rows\n")
        return
    differences = await shadow.differences()
    for (table, column), number in sorted(differences.items()):
        sys.stdout.write(f"{table}.{column}: {number}\n")
    if differences:
        raise CommandFailed(f"the systems differ in {differences.total()} values")
    sys.stdout.write("the systems say the same\n")


def _report(ledger: Ledger) -> None:
    """Say how far all rows are; CommandFailed if some were refused."""
    counts = sorted(ledger.counts().items(), key=lambda each: (each[0][0], each[0][1].value))
    for (kind, state), number in counts:
        sys.stdout.write(f"{kind}: {number} {state.value}\n")
    problems = ledger.problems()
    for kind, identity, problem in problems:
        sys.stderr.write(f"{kind} {identity}: {problem}\n")
    if problems:
        raise CommandFailed(f"{len(problems)} rows were refused: mend them, and run this again")


@contextmanager
def _ledger(settings: TenancySettings, arguments: argparse.Namespace) -> Iterator[Ledger | None]:
    """Give the ledger to what goes by it: comparing and the way back do not. CommandFailed."""
    if arguments.shadow or arguments.export:
        yield None
        return
    path: Path = arguments.ledger
    if arguments.activate and not path.exists():
        raise CommandFailed(f"there is no ledger {path}: name that of the import by --ledger")
    try:
        ledger = Ledger(path, place_of(settings))
    except LedgerUnfit as error:
        raise CommandFailed(str(error)) from None
    try:
        yield ledger
    finally:
        ledger.close()


def place_of(settings: TenancySettings) -> str:
    """Name where rows go to."""
    where = [settings.aws_region, settings.store_endpoint, settings.aws_endpoint_url]
    names = [*settings.table_names.values(), f"{settings.secrets_prefix}/account"]
    return " ".join(filter(None, [*where, *names]))


@asynccontextmanager
async def _opened(settings: TenancySettings, keys: Path) -> AsyncIterator[_Migration]:
    if not settings.old_database_url:
        raise CommandFailed("OLD_DATABASE_URL is needed: the old system's database")
    try:
        vault = OldVault(_keys(keys))
    except KeysInvalid as error:
        raise CommandFailed(f"{keys}: {error}") from None
    try:
        old = await OldDatabase.open(settings.old_database_url)
    except psycopg.Error:
        raise CommandFailed("the old system's database does not answer") from None
    parts = _paced(open_parts(settings))
    try:
        if parts.credentials is None:
            raise CommandFailed("there is nothing to keep credentials in")
        yield _Migration(old, vault, parts, parts.credentials)
    except psycopg.Error as error:
        raise CommandFailed(f"the old system's database failed: {_told(error)}") from None
    finally:
        await parts.close()
        await old.close()


def _told(error: psycopg.Error) -> str:
    """Say what failed, with the name of a table or column that is not there, and no row's data."""
    kind = type(error).__name__
    if isinstance(error, (UndefinedTable, UndefinedColumn, InsufficientPrivilege)):
        return f"{kind}: {error.diag.message_primary}"
    return kind


def _paced(parts: Parts) -> Parts:
    """Give the parts with secrets that are written no faster than they may."""
    if parts.custody is None:
        return parts
    secrets = PacedSecrets(parts.custody.secrets, parts.clock)
    return replace(parts, custody=replace(parts.custody, secrets=secrets))


def _keys(path: Path) -> list[str]:
    """Read the file of keys; CommandFailed for one that others can read."""
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise CommandFailed(f"{path} can be read by others: chmod 600 {path}")
    # What is no text is no key either, and is refused as such.
    lines = path.read_text(errors="replace").splitlines()
    keys = [line.strip() for line in lines if line.strip()]
    if not keys:
        raise CommandFailed(f"{path} holds no key")
    return keys
