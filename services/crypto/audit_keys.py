"""The keys of the audit: for checkpoints, for the starts of writers, for users' pseudonyms."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from services.crypto.audit.note import PublicKey, Signer
from services.crypto.audit.subjects import Subjects
from services.crypto.custody.key_file import FileKey, KeyFile, KeyFileError, create_key_file

SEALER, WRITER = "sealer", "writer"
"""The ids of the seeds that sign checkpoints, and the starts of writers."""
_SUBJECT = "subject-"
"""Before the number of an epoch in ids of keys of pseudonyms."""
_FIRST_EPOCH = 1


@dataclass(frozen=True)
class AuditKeys:
    """What one file holds."""

    origin: str
    """Name of the log, in its checkpoints."""
    sealer: Signer
    writer: Signer
    subjects: Subjects

    @property
    def public(self) -> list[PublicKey]:
        """The keys that vouch for the audit."""
        return [self.sealer.public, self.writer.public]


def create_audit_keys(path: Path) -> bool:
    """Make a file of new keys; False, and nothing is changed, if it is there."""
    return create_key_file(path, [SEALER, WRITER, f"{_SUBJECT}{_FIRST_EPOCH}"])


def read_audit_keys(path: Path, environment: str) -> AuditKeys:
    """Read a file of keys. Raises KeyFileError."""
    keys = KeyFile(path).keys()
    origin = f"secmesh.crypto/{environment}"
    subjects = {
        int(epoch): key.secret
        for key_id, key in keys.items()
        if key.enabled and (epoch := key_id.removeprefix(_SUBJECT)) != key_id and epoch.isdecimal()
    }
    if not subjects:
        raise KeyFileError(f"{path}: holds no key {_SUBJECT}{_FIRST_EPOCH} or later")
    return AuditKeys(
        origin,
        _signer(path, keys, SEALER, origin),
        _signer(path, keys, WRITER, f"{origin}/{WRITER}"),
        Subjects(subjects),
    )


def _signer(path: Path, keys: Mapping[str, FileKey], key_id: str, name: str) -> Signer:
    seed = keys.get(key_id)
    if seed is None or not seed.enabled:
        raise KeyFileError(f"{path}: holds no key {key_id} that is enabled")
    return Signer(name, seed.secret)
