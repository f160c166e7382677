"""The hash chain of an access log: pure, and all that its reader needs to hold it against."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from secmesh.tenancy.v1.credential_access_pb2 import (
    CredentialAccess,
    CredentialAccessCheckpoint,
)

_PURPOSE = b"secmesh credential access 1\0"
_CHECKPOINT = b"secmesh credential access checkpoint 1\0"


@dataclass(frozen=True)
class Head:
    """Where a chain ends."""

    number: int = 0
    hash: bytes = bytes(32)


def hash_of(entry: CredentialAccess) -> bytes:
    """Give the hash of an entry: SHA-256 of a purpose and of the entry without ``hash``.

    The entry is written as Protobuf has it, fields in the order of their numbers.
    """
    return _hash(_PURPOSE, CredentialAccess(), entry)


def checkpoint_hash_of(checkpoint: CredentialAccessCheckpoint) -> bytes:
    """Give the hash of a checkpoint, computed like that of an entry with a purpose of its own."""
    return _hash(_CHECKPOINT, CredentialAccessCheckpoint(), checkpoint)


def start_of(checkpoint: CredentialAccessCheckpoint | None) -> Head | None:
    """Give where a log begins; None if the checkpoint is not what was written."""
    if checkpoint is None:
        return Head()
    if checkpoint.hash != checkpoint_hash_of(checkpoint):
        return None
    return Head(checkpoint.number, checkpoint.last_hash)


def following(
    before: CredentialAccessCheckpoint | None, last: CredentialAccess, time: Timestamp
) -> CredentialAccessCheckpoint:
    """Give the checkpoint after another, by which entries up to ``last`` are removed."""
    known = before or CredentialAccessCheckpoint(hash=bytes(32))
    made = CredentialAccessCheckpoint(
        number=last.number,
        last_hash=last.hash,
        last_time=last.time,
        removed=last.number - known.number,
        time=time,
        previous_hash=known.hash,
    )
    made.hash = checkpoint_hash_of(made)
    return made


def linked(head: Head, entry: CredentialAccess) -> CredentialAccess:
    """Give an entry as it follows the head of a chain."""
    made = CredentialAccess()
    made.CopyFrom(entry)
    made.number = head.number + 1
    made.previous_hash = head.hash
    made.hash = hash_of(made)
    return made


def head_of(entry: CredentialAccess) -> Head:
    """Give the head of a chain that ends with this entry."""
    return Head(entry.number, entry.hash)


def first_fault(entries: Iterable[CredentialAccess], head: Head | None = None) -> int | None:
    """Give the number of the first entry, in ascending order, that does not fit; None if all do.

    ``head`` is where what comes before ends; the beginning of the chain if it is None.
    """
    last = head or Head()
    for entry in entries:
        fits = entry.number == last.number + 1 and entry.previous_hash == last.hash
        if not fits or hash_of(entry) != entry.hash:
            return last.number + 1
        last = head_of(entry)
    return None


def _hash(purpose: bytes, plain: Any, message: Any) -> bytes:
    plain.CopyFrom(message)
    plain.ClearField("hash")
    return hashlib.sha256(purpose + plain.SerializeToString(deterministic=True)).digest()
