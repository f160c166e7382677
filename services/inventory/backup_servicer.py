"""BackupService: backups of the whole store."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, TypeVar

from google.protobuf.empty_pb2 import Empty
from google.rpc import code_pb2, status_pb2

from mesh.errors import ResourceNotFound
from mesh.sql.backup.backups import Backups
from mesh.sql.backup.errors import (
    BackupBroken,
    BackupProblem,
    BackupsBusy,
    BackupUnfit,
    BackupUnknown,
)
from mesh.sql.backup.folder import Damaged, Manifest, Origin
from mesh.sql.backup.progress import Progress
from mesh.sql.paging import page_limit
from secmesh.inventory.v1 import backup_service_pb2_grpc
from secmesh.inventory.v1.backup_pb2 import Backup, BackupProgress
from secmesh.inventory.v1.backup_service_pb2 import (
    CreateBackupRequest,
    CreateBackupResponse,
    DeleteBackupRequest,
    GetBackupRequest,
    ListBackupsRequest,
    ListBackupsResponse,
    RestoreBackupRequest,
    RestoreBackupResponse,
    RestoreResult,
)
from services.inventory import errors
from services.inventory.sync_store import SyncStore

PROGRESS_SECONDS = 0.2
"""Time between two events of a backup."""
COLLECTION = "backups"
_DONE = status_pb2.Status(code=code_pb2.OK)
T = TypeVar("T")


class BackupServicer(backup_service_pb2_grpc.BackupServiceServicer):
    """Makes and restores backups; the permission was checked before."""

    def __init__(self, backups: Backups, syncs: SyncStore) -> None:
        self._backups = backups
        self._syncs = syncs

    async def CreateBackup(  # noqa: N802  # the contract's name
        self, _request: CreateBackupRequest, _context: object
    ) -> AsyncIterator[CreateBackupResponse]:
        progress = Progress()
        work = self._backups.create(Origin.REQUESTED, progress)
        with translated():
            async for done in followed(work, progress):
                if isinstance(done, BackupProgress):
                    yield CreateBackupResponse(progress=done)
                else:
                    yield CreateBackupResponse(backup=backup_of(done))
        yield CreateBackupResponse(ended=_DONE)

    async def GetBackup(self, request: GetBackupRequest, _context: object) -> Backup:  # noqa: N802  # the contract's name
        with translated(request.name):
            return backup_of(self._backups.folder.manifest(_id(request.name)))

    async def ListBackups(  # noqa: N802  # the contract's name
        self, request: ListBackupsRequest, _context: object
    ) -> ListBackupsResponse:
        found = await asyncio.to_thread(self._backups.folder.listed)
        tokens, limit = self._backups.store.tokens, page_limit(request.page_size)
        if request.page_token:
            [created, last] = tokens.read([COLLECTION], request.page_token)
            found = [each for each in found if (each.created, each.id) < (created, last)]
        page = found[:limit]
        answer = ListBackupsResponse(backups=map(backup_of, page))
        if len(found) > limit:
            answer.next_page_token = tokens.write([COLLECTION], [page[-1].created, page[-1].id])
        return answer

    async def DeleteBackup(self, request: DeleteBackupRequest, _context: object) -> Empty:  # noqa: N802  # the contract's name
        with translated(request.name), self._backups.folder.locked():
            self._backups.folder.delete(_id(request.name))
        return Empty()

    async def RestoreBackup(  # noqa: N802  # the contract's name
        self, request: RestoreBackupRequest, _context: object
    ) -> AsyncIterator[RestoreBackupResponse]:
        progress = Progress()
        work = self._backups.restore(
            _id(request.name),
            progress,
            self._refuse_running,
            validate_only=request.validate_only,
        )
        with translated(request.name):
            async for done in followed(work, progress):
                if isinstance(done, BackupProgress):
                    yield RestoreBackupResponse(progress=done)
                else:
                    safety = "" if done is None else backup_of(done).name
                    yield RestoreBackupResponse(result=RestoreResult(safety_backup=safety))
        yield RestoreBackupResponse(ended=_DONE)

    async def _refuse_running(self) -> None:
        """Raise SyncRunning while any tenant's account is being read."""
        for tenant in await self._syncs.tenants_with_running():
            for sync in await self._syncs.running(tenant):
                raise errors.SyncRunning(sync.name)


async def followed(
    work: Coroutine[Any, Any, T], progress: Progress
) -> AsyncIterator[BackupProgress | T]:
    """Give how far some work is until it ends, then what it gave.

    If nobody listens any more, the work is told to stop and is awaited.
    """
    task = asyncio.create_task(work)
    last = BackupProgress()
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=PROGRESS_SECONDS)
            now = BackupProgress(
                phase=BackupProgress.Phase.Value(f"PHASE_{progress.phase.name}"),
                done=progress.done,
                total=progress.total,
            )
            if now != last and not task.done():
                yield now
                last = now
        yield task.result()
    finally:
        progress.stop()
        # What goes on in a thread must be over before another may begin.
        await asyncio.wait({task})


def backup_of(manifest: Manifest | Damaged) -> Backup:
    """Give a manifest as the contract writes it."""
    if isinstance(manifest, Damaged):
        damaged = Backup(name=f"{COLLECTION}/{manifest.id}", problem=manifest.problem)
        damaged.create_time.FromMicroseconds(manifest.created)
        return damaged
    backup = Backup(
        name=f"{COLLECTION}/{manifest.id}",
        origin=Backup.Origin.Value(f"ORIGIN_{manifest.origin.name}"),
        database=manifest.database,
        database_version=manifest.database_version,
        contract_digest=manifest.contract_digest,
        size_bytes=manifest.size,
        sha256=manifest.sha256,
        rows=manifest.rows,
        encryption_key_id=manifest.key,
    )
    backup.create_time.FromMicroseconds(manifest.created)
    return backup


def _id(name: str) -> str:
    return name.removeprefix(f"{COLLECTION}/")


@contextlib.contextmanager
def translated(name: str = "") -> Iterator[None]:
    """Say in the contract's reasons how a backup failed."""
    try:
        yield
    except BackupUnknown:
        raise ResourceNotFound(name) from None
    except BackupsBusy as problem:
        raise errors.BackupsBusy(str(problem)) from problem
    except BackupBroken as problem:
        raise errors.BackupBroken(name, str(problem)) from problem
    except BackupUnfit as problem:
        raise errors.BackupUnfit(name, str(problem)) from problem
    except BackupProblem as problem:
        raise errors.BackupFailed(str(problem)) from problem
