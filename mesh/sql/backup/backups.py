"""Backups of one store: made, listed, restored."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

from mesh.sealing.keyring import KeyRing
from mesh.sql import engine as dialect
from mesh.sql.backup.errors import BackupBroken, BackupProblem, BackupUnfit
from mesh.sql.backup.folder import BackupFolder, Manifest, Origin, new_id, now_micros, sha256_of
from mesh.sql.backup.programs import find_programs
from mesh.sql.backup.progress import Phase, Progress
from mesh.sql.backup.sealed import context_of, seal, unseal
from mesh.sql.backup.sqlite import SqliteDump
from mesh.sql.members import MEMBER_OF
from mesh.sql.statistics import describe_database
from mesh.sql.store import Store


class Dump(Protocol):
    """How one database is copied; blocking."""

    def dump(self, target: Path, progress: Progress) -> dict[str, int]: ...

    def inspect(self, file: Path, progress: Progress) -> dict[str, int]: ...

    def load(self, file: Path, rows: dict[str, int], progress: Progress) -> None: ...


Guard = Callable[[], Awaitable[None]]
"""Raises if the store must not be replaced now."""


class Backups:
    """Backups of a store in a folder; one is made or restored at a time."""

    def __init__(
        self,
        store: Store,
        folder: BackupFolder,
        contract_digest: str,
        programs: str = "",
        keys: KeyRing | None = None,
    ) -> None:
        """``programs`` is the folder of pg_dump, empty to have it found.

        With ``keys`` backups are encrypted by the first; all of them open what was encrypted.
        """
        self.store = store
        self.folder = folder
        self._digest = contract_digest
        self._programs = programs
        self._keys = keys

    async def create(self, origin: Origin, progress: Progress) -> Manifest:
        """Write a backup and read it back; BackupsBusy, BackupProblem, BackupStopped."""
        with _told(), self.folder.locked():
            return await self._create(origin, progress)

    async def create_due(
        self, is_due: Callable[[int], bool], keep: int, progress: Progress
    ) -> Manifest | None:
        """Write a scheduled backup if the last one, made then, is old enough.

        Of the scheduled ones the newest are kept, so many; others are not touched.
        None if none is due; refused as ``create``.
        """
        with _told(), self.folder.locked():
            done = [each for each in self.folder.all() if each.origin is Origin.SCHEDULED]
            if not is_due(done[0].created if done else 0):
                return None
            made = await self._create(Origin.SCHEDULED, progress)
            for old in done[max(keep - 1, 0) :]:
                self.folder.delete(old.id)
            self.folder.note_failure(None)
            return made

    async def restore(
        self, backup_id: str, progress: Progress, guard: Guard, *, validate_only: bool
    ) -> Manifest | None:
        """Replace the store by a backup; give the backup of what stood before.

        The backup is read whole first: BackupUnknown, BackupBroken, BackupUnfit. Then
        ``guard`` is asked, and what stands is backed up. Until the last moment the old
        store stands, whatever happens. With ``validate_only`` nothing is replaced.
        """
        with _told(), self.folder.locked():
            manifest = self.folder.manifest(backup_id)
            self._require_fit(manifest)
            dump = await self._dump()
            async with self._opened(manifest, progress) as file:
                rows = await progress.in_thread(dump.inspect, file, progress)
                if rows != dict(manifest.rows):
                    raise BackupBroken("its rows are not those that were written")
                await guard()
                if validate_only:
                    return None
                progress.enter(Phase.SECURING)
                safety = await self._create(Origin.SAFETY, progress)
                await guard()
                async with self.store.alone():
                    await progress.in_thread(dump.load, file, rows, progress)
                return safety

    @contextlib.asynccontextmanager
    async def _opened(self, manifest: Manifest, progress: Progress) -> AsyncIterator[Path]:
        """Give a backup's file as it was before it was encrypted; BackupBroken, BackupUnfit."""
        file = await progress.in_thread(self.folder.intact, manifest, progress)
        if not manifest.key:
            yield file
            return
        plain = self.folder.partial(f"{manifest.id}-open")
        try:
            context = context_of(manifest)
            await progress.in_thread(unseal, file, plain, self._keys, context, progress)
            yield plain
        finally:
            plain.unlink(missing_ok=True)

    def _require_fit(self, manifest: Manifest) -> None:
        if manifest.database != self.store.database:
            raise BackupUnfit(f"it is of a {manifest.database} store")
        if manifest.contract_digest != self._digest:
            raise BackupUnfit("it is of a store with another contract, older or newer")

    async def _create(self, origin: Origin, progress: Progress) -> Manifest:
        target = self.folder.partial(backup_id := new_id())
        try:
            created = now_micros()
            rows = await self._write(target, progress)
            made = Manifest(
                id=backup_id,
                created=created,
                origin=origin,
                database=self.store.database,
                database_version=(await describe_database(self.store)).version,
                contract_digest=self._digest,
                size=0,
                sha256="",
                rows={str(table): count for table, count in rows.items()},
                key="" if self._keys is None else self._keys.first,
            )
            if self._keys is not None:
                await self._seal(target, made, self._keys, progress)
            manifest = replace(
                made,
                size=target.stat().st_size,
                sha256=await asyncio.to_thread(sha256_of, target),
            )
            await asyncio.to_thread(self.folder.keep, target, manifest)
        except BaseException:
            target.unlink(missing_ok=True)
            raise
        return manifest

    async def _seal(
        self, target: Path, manifest: Manifest, keys: KeyRing, progress: Progress
    ) -> None:
        """Put the encrypted form of a backup in its place."""
        sealed = self.folder.partial(f"{manifest.id}-sealed")
        try:
            context = context_of(manifest)
            await progress.in_thread(seal, target, sealed, keys, context, progress)
            sealed.replace(target)
        finally:
            sealed.unlink(missing_ok=True)

    async def _write(self, target: Path, progress: Progress) -> dict[str, int]:
        """Write the store to a file and read it back; give its rows by table."""
        dump = await self._dump()
        rows = await progress.in_thread(dump.dump, target, progress)
        if await progress.in_thread(dump.inspect, target, progress) != rows:
            raise BackupBroken("what was written holds other rows than the store")
        return rows

    async def _dump(self) -> Dump:
        tables = self.store.tables.metadata.sorted_tables
        url = self.store.owner.url
        if self.store.database == dialect.SQLITE:
            return SqliteDump(Path(str(url.database)), [table.name for table in tables])
        major = int((await describe_database(self.store)).version.split(".")[0])
        programs = await asyncio.to_thread(partial(find_programs, major, self._programs))
        # Only where PostgreSQL is used its driver is loaded.
        from mesh.sql.backup.postgres import PostgresDump

        # Tables of values are filled by the triggers of those that they belong to.
        return PostgresDump(url, [each for each in tables if MEMBER_OF not in each.info], programs)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Say of the file system what is safe to say."""
    try:
        yield
    except OSError as error:
        raise BackupProblem(f"the folder of backups: {error.strerror or error}") from error
