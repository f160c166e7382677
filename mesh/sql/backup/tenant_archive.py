"""The file of one tenant's rows: a ZIP archive that is whole or not there.

``tables/<name>.copy`` are rows as PostgreSQL's COPY writes them (text format), each table after
those that it refers to; ``manifest.json``, the last, says what they are. Until the file has its
name it lies beside it, so that a killed writer leaves nothing that looks like a backup.
"""

import contextlib
import fcntl
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile

import orjson

from mesh.sql.backup.errors import BackupBroken, BackupProblem, BackupsBusy, BackupUnfit
from mesh.sql.references import TENANT

FORMAT, VERSION = "secmesh tenant backup", 1
_MANIFEST, _FOLDER, _END = "manifest.json", "tables/", ".copy"
_PARTIAL = ".partial"
_LARGEST_MANIFEST = 1 << 20


@dataclass(frozen=True)
class TableEntry:
    """What one table of an archive holds."""

    name: str
    columns: Sequence[str]
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class TenantManifest:
    """What an archive is, as its maker found it."""

    tenant: str
    created: int
    """Microseconds since 1970: when its snapshot was taken."""
    database_version: str
    contract_digest: str
    tables: Sequence[TableEntry]
    format: str = FORMAT
    version: int = VERSION

    @property
    def rows(self) -> int:
        """Rows of all tables."""
        return sum(each.rows for each in self.tables)


class ArchiveWriter:
    """Writes the tables of an archive, one after the other."""

    def __init__(self, archive: ZipFile) -> None:
        self._archive = archive
        self.tables: list[TableEntry] = []

    def write(self, name: str, columns: Sequence[str], blocks: Iterable[bytes]) -> None:
        """Add a table's rows, as they come from COPY."""
        digest, rows, size = sha256(), 0, 0
        with self._archive.open(f"{_FOLDER}{name}{_END}", "w", force_zip64=True) as target:
            for block in blocks:
                target.write(block)
                digest.update(block)
                rows += block.count(b"\n")
                size += len(block)
        self.tables.append(TableEntry(name, tuple(columns), rows, size, digest.hexdigest()))

    def finish(self, manifest: TenantManifest) -> None:
        """Say what it all is; without that the file is no archive."""
        self._archive.writestr(
            _MANIFEST, orjson.dumps(asdict(manifest), option=orjson.OPT_INDENT_2)
        )


@contextlib.contextmanager
def written(path: Path) -> Iterator[ArchiveWriter]:
    """Write a new archive, its owner's alone; it gets its name when the block ends well.

    BackupProblem if a file of this name is there, BackupsBusy if someone else writes it.
    """
    if path.exists():
        raise BackupProblem(f"{path.name} is there already")
    partial = path.with_name(path.name + _PARTIAL)
    descriptor = os.open(partial, os.O_CREAT | os.O_RDWR, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupsBusy("this backup is being written") from None
        try:
            # What a killed process left.
            file.truncate()
            with ZipFile(file, "w", ZIP_DEFLATED, compresslevel=1) as archive:
                yield ArchiveWriter(archive)
            file.flush()
            os.fsync(file.fileno())
            # Unlike a rename, a link replaces nobody's file.
            os.link(partial, path)
        except FileExistsError:
            raise BackupProblem(f"{path.name} is there already") from None
        finally:
            partial.unlink(missing_ok=True)
    _sync(path.parent)


class Archive:
    """An archive that is read; nothing in it is trusted before ``check``."""

    def __init__(self, archive: ZipFile, manifest: TenantManifest) -> None:
        self._archive = archive
        self.manifest = manifest

    def check(self, columns: Mapping[str, Sequence[str]], moved: Callable[[int], None]) -> None:
        """Read it whole and hold every byte against the manifest.

        ``columns`` are those of the tables that there are, in their order; ``moved`` hears how
        many rows were read. Raises BackupBroken, and BackupUnfit for other tables.
        """
        found = {each.name: tuple(each.columns) for each in self.manifest.tables}
        if list(found) != list(columns) or found != {k: tuple(v) for k, v in columns.items()}:
            raise BackupUnfit("it is of other tables")
        names = {*(f"{_FOLDER}{name}{_END}" for name in found), _MANIFEST}
        listed = self._archive.namelist()
        if set(listed) != names or len(listed) != len(names):
            raise BackupBroken("it holds other files than its manifest says")
        done = 0
        for each in self.manifest.tables:
            self._check_table(each)
            done += each.rows
            moved(done)

    def _check_table(self, entry: TableEntry) -> None:
        digest, rows, size = sha256(), 0, 0
        place, tenant = list(entry.columns).index(TENANT), self.manifest.tenant.encode()
        with self.lines(entry) as lines:
            for line in lines:
                size += len(line)
                rows += 1
                if size > entry.bytes:
                    raise BackupBroken(f"{entry.name} is longer than was written")
                if line.split(b"\t", place + 1)[place].removesuffix(b"\n") != tenant:
                    raise BackupBroken(f"{entry.name} has rows of another tenant")
                digest.update(line)
        if (rows, size, digest.hexdigest()) != (entry.rows, entry.bytes, entry.sha256):
            raise BackupBroken(f"{entry.name} is not what was written")

    @contextlib.contextmanager
    def lines(self, entry: TableEntry) -> Iterator[IO[bytes]]:
        """Read a table's rows; BackupBroken."""
        with _readable(), self._archive.open(f"{_FOLDER}{entry.name}{_END}") as lines:
            yield lines


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """Read an archive's manifest; BackupBroken if it is none, BackupUnfit if of another format."""
    with contextlib.ExitStack() as stack:
        with _readable():
            archive = stack.enter_context(ZipFile(path))
            info = archive.getinfo(_MANIFEST)
            if info.file_size > _LARGEST_MANIFEST:
                raise BackupBroken("its manifest cannot be read")
            manifest = _manifest(archive.read(info))
        yield Archive(archive, manifest)


def _manifest(text: bytes) -> TenantManifest:
    plain = orjson.loads(text)
    if not isinstance(plain, dict) or plain.get("format") != FORMAT:
        raise BackupBroken("it is no backup of a tenant")
    if plain.get("version") != VERSION:
        raise BackupUnfit(f"its format has version {plain.get('version')}, not {VERSION}")
    tables = [TableEntry(**each) for each in plain.pop("tables")]
    return TenantManifest(**{**plain, "tables": tables})


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except (BadZipFile, zlib.error, EOFError, ValueError, TypeError, KeyError, IndexError) as error:
        raise BackupBroken("it cannot be read as a backup of a tenant") from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
