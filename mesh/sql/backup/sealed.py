"""Backups that are encrypted where they lie."""

from hashlib import sha256
from pathlib import Path

from mesh.sealing.keyring import KeyRing
from mesh.sealing.stream import Moved, StreamBroken, StreamKeyUnknown, decrypt, encrypt
from mesh.sql.backup.errors import BackupBroken, BackupUnfit
from mesh.sql.backup.folder import Manifest, sha256_of
from mesh.sql.backup.progress import Phase, Progress

Context = tuple[str, ...]


def context_of(manifest: Manifest) -> Context:
    """Give what an encrypted backup is bound to: nobody can pass it off for another."""
    return (
        manifest.id,
        str(manifest.created),
        manifest.origin,
        manifest.database,
        manifest.contract_digest,
    )


def seal(plain: Path, sealed: Path, keys: KeyRing, context: Context, progress: Progress) -> None:
    """Encrypt a file into one that exists, and read that back; BackupBroken."""
    progress.enter(Phase.WRITING, plain.stat().st_size)
    with plain.open("rb") as source, sealed.open("wb") as target:
        encrypt(source, target, keys, context, _moved(progress))
    progress.enter(Phase.CHECKING, sealed.stat().st_size)
    digest = sha256()
    try:
        with sealed.open("rb") as source:
            for chunk in decrypt(source, keys, context, _moved(progress)):
                digest.update(chunk)
    except (StreamBroken, StreamKeyUnknown) as error:
        raise BackupBroken(f"what was encrypted cannot be read back: {error}") from error
    if digest.hexdigest() != sha256_of(plain):
        raise BackupBroken("what was encrypted is not what was written")


def unseal(
    sealed: Path, plain: Path, keys: KeyRing | None, context: Context, progress: Progress
) -> None:
    """Decrypt a backup into a file that exists; BackupBroken, or BackupUnfit without its key."""
    if keys is None:
        raise BackupUnfit("it is encrypted, and the settings name no keys of backups")
    progress.enter(Phase.CHECKING, sealed.stat().st_size)
    try:
        with sealed.open("rb") as source, plain.open("wb") as target:
            for chunk in decrypt(source, keys, context, _moved(progress)):
                target.write(chunk)
    except StreamBroken as error:
        raise BackupBroken(str(error)) from error
    except StreamKeyUnknown as error:
        raise BackupUnfit(str(error)) from error


def _moved(progress: Progress) -> Moved:
    return lambda size: progress.move(progress.done + size, progress.total)
