"""Backups of one tenant: its rows out of a snapshot, and back in one transaction.

Both go over the owner's connection, since the application's role sees one tenant alone and
cannot COPY into tables with row-level security. Values stay as they are stored: what is sealed
stays sealed, and is bound to the tenant, so a backup is restored under its own name only.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
import sqlalchemy as sa
from psycopg import sql
from psycopg.errors import ForeignKeyViolation, UniqueViolation

from mesh.sql.backup.errors import BackupBroken, BackupProblem, BackupUnfit
from mesh.sql.backup.folder import now_micros
from mesh.sql.backup.giving_way import IN_THE_WAY, LOCK_WAIT, Gap, wait_shortly
from mesh.sql.backup.leases import release_leases
from mesh.sql.backup.postgres import connect, forget_changes, translated
from mesh.sql.backup.progress import Phase, Progress
from mesh.sql.backup.tenant_archive import Archive, TableEntry, TenantManifest, opened, written
from mesh.sql.members import MEMBER_OF
from mesh.sql.references import TENANT
from mesh.sql.removed_tenants import SHARED_LOCK, lock_key
from mesh.sql.settings import SILENT
from mesh.sql.tables import Tables

_RESTORING = 0x7365636D
"""First key of the advisory locks under which tenants are restored, one at a time each."""
_ATTEMPTS = 4
_MEANWHILE = "the tenant's records were written meanwhile; try again"
_BLOCK = 1 << 16


class _WrittenMeanwhile(BackupProblem):
    """Rows came beside those that were put back."""


class _InUse(BackupProblem):
    """Writers hold rows that are to be replaced."""


class TenantBackup:
    """Copies the rows of single tenants of one database; blocking."""

    def __init__(self, url: sa.URL, tables: Tables, contract_digest: str) -> None:
        """``url`` is that of the owner, who sees the rows of all tenants."""
        self._url = url
        self._digest = contract_digest
        feed = [each.name for each in tables.changes or ()]
        beside = [each.name for each in (tables.answers, tables.removed) if each is not None]
        passing = [*feed, *beside]
        self._removed = tables.removed
        self._changes = tables.changes
        self._answers = tables.answers
        self._leased = tables.metadata.sorted_tables
        self._tables = {
            table.name: [column.name for column in table.columns]
            for table in tables.metadata.sorted_tables
            # Values of lists are filled in by triggers; changes and answers are of the moment.
            # That a tenant was removed is for good.
            if TENANT in table.c and MEMBER_OF not in table.info and table.name not in passing
        }

    def dump(self, tenant: str, path: Path, progress: Progress) -> TenantManifest:
        """Write a tenant's rows to a new file; BackupProblem, BackupStopped.

        The file is one snapshot, in which others go on reading and writing.
        """
        progress.enter(Phase.WRITING)
        with translated(), connect(self._url) as connection, written(path) as archive:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            created = now_micros()
            for name, columns in self._tables.items():
                rows = self._rows(connection, name, columns, tenant)
                archive.write(name, columns, _told(rows, progress))
            version = connection.info.parameter_status("server_version") or ""
            manifest = TenantManifest(tenant, created, version, self._digest, archive.tables)
            if not manifest.rows:
                raise BackupProblem("the tenant has no records")
            archive.finish(manifest)
        return manifest

    def load(self, tenant: str, path: Path, progress: Progress, *, replace: bool) -> TenantManifest:
        """Put a tenant's rows back, all or none; BackupProblem, BackupBroken, BackupUnfit.

        The file is checked whole before anything is written. A tenant that has rows is refused
        unless they are to be replaced. Other tenants' rows are neither read nor locked.
        """
        with opened(path) as archive:
            manifest = archive.manifest
            if manifest.tenant != tenant:
                raise BackupUnfit("it is of another tenant")
            if manifest.contract_digest != self._digest:
                raise BackupUnfit("it is of a store with another contract, older or newer")
            progress.enter(Phase.CHECKING, manifest.rows)
            archive.check(self._tables, lambda done: progress.move(done, manifest.rows))
            self._replace_in_a_gap(archive, tenant, progress, replace=replace)
        return manifest

    def _replace_in_a_gap(
        self, archive: Archive, tenant: str, progress: Progress, *, replace: bool
    ) -> None:
        """Put the rows of an archive in the place of a tenant's when no writer is in the way."""
        attempts, gap = _ATTEMPTS, Gap()
        while True:
            progress.enter(Phase.RESTORING, archive.manifest.rows)
            try:
                return self._replace(archive, tenant, progress, replace=replace)
            except _InUse:
                if not gap.wait():
                    raise
            except _WrittenMeanwhile:
                # The service adds entries of its audit log by itself.
                attempts -= 1
                if not attempts:
                    raise

    def _replace(self, archive: Archive, tenant: str, progress: Progress, *, replace: bool) -> None:
        """Put the rows of an archive in the place of a tenant's, in one transaction."""
        with translated(), _giving_way(), connect(self._url) as connection:
            self._prepare(connection, tenant, replace=replace)
            try:
                for each in archive.manifest.tables:
                    self._copy(connection, archive, each, progress)
            except (UniqueViolation, ForeignKeyViolation) as error:
                raise _WrittenMeanwhile(_MEANWHILE) from error
            counted = {name: self._count(connection, name, tenant) for name in self._tables}
            if counted != {each.name: each.rows for each in archive.manifest.tables}:
                raise _WrittenMeanwhile(_MEANWHILE)
            release_leases(connection, self._leased, tenant)
            if self._changes is not None:
                forget_changes(connection, [tenant])

    def _prepare(self, connection: psycopg.Connection, tenant: str, *, replace: bool) -> None:
        """Make room for a tenant's rows."""
        connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(LOCK_WAIT))
        connection.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [_RESTORING, tenant])
        wait_shortly(connection)
        self._require_served(connection, tenant)
        # Those who watch are told to list again instead.
        connection.execute("SELECT set_config(%s, 'on', true)", [SILENT])
        if not replace and any(self._has_rows(connection, name, tenant) for name in self._tables):
            raise BackupProblem("the tenant has records, which only a replacement removes")
        answers = [] if self._answers is None else [self._answers.name]
        for name in (*answers, *reversed(self._tables)):
            statement = sql.SQL("DELETE FROM {} WHERE {} = %s")
            connection.execute(_about(statement, name), [tenant])

    def _require_served(self, connection: psycopg.Connection, tenant: str) -> None:
        """Bring nobody back who was removed, nor while that begins."""
        if self._removed is None:
            return
        connection.execute(f"SELECT {SHARED_LOCK}", [lock_key(tenant)])
        if self._has_rows(connection, self._removed.name, tenant):
            raise BackupProblem("the tenant was removed for good; its id is never used again")

    def _copy(
        self,
        connection: psycopg.Connection,
        archive: Archive,
        entry: TableEntry,
        progress: Progress,
    ) -> None:
        columns = sql.SQL(", ").join(map(sql.Identifier, entry.columns))
        statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(entry.name), columns)
        before = progress.done
        with (
            archive.lines(entry) as lines,
            connection.cursor() as cursor,
            cursor.copy(statement) as copy,
        ):
            rows = 0
            while block := lines.read(_BLOCK):
                copy.write(block)
                rows += block.count(b"\n")
                progress.move(before + rows, progress.total)
        if rows != entry.rows:
            raise BackupBroken(f"{entry.name} changed while it was read")

    @staticmethod
    def _rows(
        connection: psycopg.Connection, name: str, columns: Sequence[str], tenant: str
    ) -> Iterator[bytes]:
        """Give a tenant's rows of a table, as COPY writes them."""
        # COPY takes no parameters.
        statement = sql.SQL("COPY (SELECT {} FROM {} WHERE {} = {}) TO STDOUT").format(
            sql.SQL(", ").join(map(sql.Identifier, columns)),
            sql.Identifier(name),
            sql.Identifier(TENANT),
            sql.Literal(tenant),
        )
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            yield from map(bytes, copy)

    @staticmethod
    def _count(connection: psycopg.Connection, name: str, tenant: str) -> int:
        statement = sql.SQL("SELECT count(*) FROM {} WHERE {} = %s")
        found = connection.execute(_about(statement, name), [tenant]).fetchone()
        return int(found[0]) if found else 0

    @staticmethod
    def _has_rows(connection: psycopg.Connection, name: str, tenant: str) -> bool:
        statement = sql.SQL("SELECT 1 FROM {} WHERE {} = %s LIMIT 1")
        return connection.execute(_about(statement, name), [tenant]).fetchone() is not None


@contextmanager
def _giving_way() -> Iterator[None]:
    try:
        yield
    except IN_THE_WAY as error:
        raise _InUse(_MEANWHILE) from error


def _about(statement: sql.SQL, name: str) -> sql.Composed:
    return statement.format(sql.Identifier(name), sql.Identifier(TENANT))


def _told(blocks: Iterator[bytes], progress: Progress) -> Iterator[bytes]:
    for block in blocks:
        progress.move(progress.done + block.count(b"\n"), 0)
        yield block
