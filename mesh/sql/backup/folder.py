"""The folder of backups: each a file of data and a manifest that was written after it."""

import contextlib
import fcntl
import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import file_digest
from pathlib import Path

import orjson

from mesh.sql.backup.errors import BackupBroken, BackupProblem, BackupsBusy, BackupUnknown
from mesh.sql.backup.progress import Phase, Progress
from mesh.sql.own_files import OpenToOthers, close_to_others, make_folder

BACKUP_ID = re.compile(r"[0-9]{8}t[0-9]{6}-[0-9a-f]{8}")
_MANIFEST, _DATA, _PARTIAL = ".json", ".backup", ".partial"
_LOCK = ".lock"
_FAILURE = "schedule.failure"
_LATEST = 253_402_300_799_999_999
"""The end of the year 9999, microseconds since 1970."""


class Origin(StrEnum):
    """Why a backup was made."""

    REQUESTED = "requested"
    SCHEDULED = "scheduled"
    SAFETY = "safety"
    """What stood before a restore."""


@dataclass(frozen=True)
class Manifest:
    """What a backup is, as its maker found it."""

    id: str
    created: int
    """Microseconds since 1970."""
    origin: Origin
    database: str
    database_version: str
    contract_digest: str
    size: int
    """Bytes of the data."""
    sha256: str
    rows: Mapping[str, int]
    """By table."""
    key: str = ""
    """Id of the key that the file is encrypted with; empty if it is not."""


@dataclass(frozen=True)
class Damaged:
    """A backup whose manifest cannot be read."""

    id: str
    problem: str

    @property
    def created(self) -> int:
        """When it was begun by its name, microseconds since 1970; 0 if that is no time."""
        try:
            begun = datetime.fromisoformat(f"{self.id.partition('-')[0].upper()}Z")
        except ValueError:
            return 0
        return int(begun.timestamp()) * 1_000_000


@dataclass(frozen=True)
class Failure:
    """Why a scheduled backup failed."""

    when: int
    """Microseconds since 1970."""
    problem: str


class BackupFolder:
    """Backups are in it once their manifest is; what else lies there counts as nothing."""

    def __init__(self, path: Path) -> None:
        """Take a folder that is made at the first backup."""
        self.path = path

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only one who writes or restores; BackupsBusy if someone else does."""
        make_folder(self.path)
        descriptor = os.open(self.path / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BackupsBusy("a backup or a restore is going on") from None
            self._sweep()
            self._close_to_others()
            yield
        finally:
            os.close(descriptor)

    def _sweep(self) -> None:
        """Remove what a killed process left half-written."""
        for file in self.path.iterdir():
            orphan = file.suffix == _DATA and not file.with_suffix(_MANIFEST).exists()
            if orphan or file.suffix == _PARTIAL:
                file.unlink(missing_ok=True)

    def _close_to_others(self) -> None:
        """Take others' rights away that a copy or a tool left; BackupProblem if it cannot be."""
        ours = (each for each in self.path.iterdir() if each.suffix in (_DATA, _MANIFEST))
        try:
            close_to_others(ours)
        except OpenToOthers as error:
            raise BackupProblem(str(error)) from error

    def partial(self, backup_id: str) -> Path:
        """Make the empty file, its owner's alone, that a backup is written to."""
        path = self.path / f"{backup_id}{_PARTIAL}"
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        return path

    def keep(self, partial: Path, manifest: Manifest) -> None:
        """Make a written and checked backup one of the folder; it survives a power cut."""
        _sync(partial)
        partial.rename(self._data(manifest.id))
        told = self.path / f"{manifest.id}.manifest{_PARTIAL}"
        descriptor = os.open(told, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(orjson.dumps(asdict(manifest), option=orjson.OPT_INDENT_2))
        _sync(told)
        _sync(self.path)
        told.rename(self._told(manifest.id))
        _sync(self.path)

    def all(self) -> list[Manifest]:
        """Give the backups whose manifests can be read, the newest first."""
        return [each for each in self.listed() if isinstance(each, Manifest)]

    def listed(self) -> list[Manifest | Damaged]:
        """Give all backups, the newest first."""
        if not self.path.is_dir():
            return []
        found: list[Manifest | Damaged] = []
        for file in self.path.iterdir():
            if file.suffix == _MANIFEST and BACKUP_ID.fullmatch(file.stem):
                try:
                    found.append(self.manifest(file.stem))
                except BackupUnknown:  # deleted meanwhile
                    continue
                except BackupBroken as broken:
                    found.append(Damaged(file.stem, str(broken)))
        return sorted(found, key=lambda each: (each.created, each.id), reverse=True)

    def manifest(self, backup_id: str) -> Manifest:
        """Give one backup's manifest; BackupUnknown, or BackupBroken if it cannot be read."""
        if not BACKUP_ID.fullmatch(backup_id):
            raise BackupUnknown(backup_id)
        try:
            plain = orjson.loads(self._told(backup_id).read_bytes())
            manifest = Manifest(**{**plain, "origin": Origin(plain["origin"])})
        except FileNotFoundError:
            raise BackupUnknown(backup_id) from None
        except (ValueError, TypeError, KeyError):
            raise BackupBroken("its manifest cannot be read") from None
        if not _sound(manifest):
            raise BackupBroken("its manifest cannot be read")
        if manifest.id != backup_id:
            raise BackupBroken("its manifest is another backup's")
        return manifest

    def intact(self, manifest: Manifest, progress: Progress) -> Path:
        """Give a backup's file after every byte was compared; BackupBroken."""
        path = self._data(manifest.id)
        progress.enter(Phase.CHECKING, manifest.size)
        try:
            if path.stat().st_size != manifest.size:
                raise BackupBroken("its size is not the one that was written")
            if sha256_of(path) != manifest.sha256:
                raise BackupBroken("its content is not what was written")
        except FileNotFoundError:
            raise BackupBroken("its data is missing") from None
        return path

    def delete(self, backup_id: str) -> None:
        """Remove a backup, damaged or not, its manifest first; BackupUnknown."""
        with contextlib.suppress(BackupBroken):
            self.manifest(backup_id)
        self._told(backup_id).unlink(missing_ok=True)
        self._data(backup_id).unlink(missing_ok=True)

    def note_failure(self, failure: Failure | None) -> None:
        """Tell every process how the schedule stands; None after a success."""
        path = self.path / _FAILURE
        if failure is None:
            path.unlink(missing_ok=True)
            return
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(orjson.dumps(asdict(failure)))

    def failure(self) -> Failure | None:
        """Give why the last scheduled backup failed, if it did."""
        with contextlib.suppress(OSError, ValueError, TypeError):
            return Failure(**orjson.loads((self.path / _FAILURE).read_bytes()))
        return None

    def _data(self, backup_id: str) -> Path:
        return self.path / f"{backup_id}{_DATA}"

    def _told(self, backup_id: str) -> Path:
        return self.path / f"{backup_id}{_MANIFEST}"


def now_micros() -> int:
    """Give the microseconds since 1970."""
    return time.time_ns() // 1000


def new_id(now: datetime | None = None) -> str:
    """Make an id that sorts by time."""
    return f"{now or datetime.now(UTC):%Y%m%dt%H%M%S}-{secrets.token_hex(4)}"


def sha256_of(path: Path) -> str:
    """Hash a file's content."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _sound(manifest: Manifest) -> bool:
    """Tell whether what JSON held is what a manifest holds."""
    numbers = (manifest.created, manifest.size)
    texts = (manifest.id, manifest.database, manifest.database_version, manifest.contract_digest)
    rows = manifest.rows
    return (
        all(type(each) is int and 0 <= each <= _LATEST for each in numbers)
        and all(isinstance(each, str) for each in (*texts, manifest.sha256, manifest.key))
        and isinstance(rows, dict)
        and all(type(each) is int and 0 <= each < 1 << 63 for each in rows.values())
    )


def _sync(path: Path) -> None:
    """Have a file or folder on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
