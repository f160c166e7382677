"""The hash chain of an access log, computed by whoever reads it and not by who keeps it."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from secmesh.tenancy.v1.credential_access_pb2 import (
    CREDENTIAL_ACTION_REMOVE_ENTRIES,
    CredentialAccess,
    CredentialAccessCheckpoint,
)

_PURPOSE = b"secmesh credential access 1\0"
_CHECKPOINT = b"secmesh credential access checkpoint 1\0"
_NOTHING = bytes(32)


def problem_of(
    entries: Sequence[CredentialAccess], checkpoint: CredentialAccessCheckpoint | None
) -> str | None:
    """Say what is wrong with a log, from the oldest entry on; None if all is as it was written.

    ``checkpoint`` says where it begins: None, where nothing of it was ever removed. It counts
    only if the newest removal that the log itself tells of is the one by this checkpoint.
    """
    if checkpoint is not None and checkpoint.hash != _hash(_CHECKPOINT, checkpoint):
        return "the checkpoint is not what was written"
    fault = first_fault(entries, checkpoint)
    if fault is not None:
        return f"entry {fault} is not what was written, or is missing"
    told = [each for each in entries if each.action == CREDENTIAL_ACTION_REMOVE_ENTRIES]
    if checkpoint is None:
        return "the checkpoint is missing" if told else None
    if not told or told[-1].checkpoint_hash != checkpoint.hash:
        return "the log tells of another checkpoint"
    if len(told) > 1 and told[-2].checkpoint_hash != checkpoint.previous_hash:
        return "the log tells of another checkpoint before this one"
    return None


def first_fault(
    entries: Iterable[CredentialAccess], checkpoint: CredentialAccessCheckpoint | None = None
) -> int | None:
    """Give the number of the first entry, from the oldest on, that does not fit; None if all do."""
    begin = checkpoint.number if checkpoint else 0
    previous = checkpoint.last_hash if checkpoint else _NOTHING
    for number, entry in enumerate(entries, begin + 1):
        fits = (entry.number, entry.previous_hash) == (number, previous)
        if not fits or _hash(_PURPOSE, entry) != entry.hash:
            return number
        previous = entry.hash
    return None


def _hash(purpose: bytes, message: Any) -> bytes:
    plain = type(message)()
    plain.CopyFrom(message)
    plain.ClearField("hash")
    return hashlib.sha256(purpose + plain.SerializeToString(deterministic=True)).digest()
