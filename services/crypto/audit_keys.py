"""The keys of the audit: one signs checkpoints, others make users' pseudonyms by epochs."""

from pathlib import Path

from services.crypto.audit.note import Signer
from services.crypto.audit.subjects import Subjects
from services.crypto.custody.key_file import KeyFile, KeyFileError, create_key_file

SIGNER = "signer"
"""The id of the seed that signs."""
_SUBJECT = "subject-"
"""Before the number of an epoch in ids of keys of pseudonyms."""
_FIRST_EPOCH = 1


def create_audit_keys(path: Path) -> bool:
    """Make a file of new keys; False, and nothing is changed, if it is there."""
    return create_key_file(path, [SIGNER, f"{_SUBJECT}{_FIRST_EPOCH}"])


def origin(environment: str) -> str:
    """Name the log of an environment, in its checkpoints."""
    return f"secmesh.crypto/{environment}"


def read_signer(path: Path, environment: str) -> Signer:
    """Give what signs checkpoints. Raises KeyFileError."""
    seed = KeyFile(path).keys().get(SIGNER)
    if seed is None or not seed.enabled:
        raise KeyFileError(f"{path}: holds no key {SIGNER} that is enabled")
    return Signer(origin(environment), seed.secret)


def read_subjects(path: Path) -> Subjects:
    """Give what makes pseudonyms. Raises KeyFileError."""
    keys = {
        int(epoch): key.secret
        for key_id, key in KeyFile(path).keys().items()
        if key.enabled and (epoch := key_id.removeprefix(_SUBJECT)) != key_id and epoch.isdecimal()
    }
    if not keys:
        raise KeyFileError(f"{path}: holds no key {_SUBJECT}{_FIRST_EPOCH} or later")
    return Subjects(keys)
