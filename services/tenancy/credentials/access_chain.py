"""The hash chain of an access log: pure, and all that its reader needs to hold it against."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from secmesh.tenancy.v1.credential_access_pb2 import CredentialAccess

_PURPOSE = b"secmesh credential access 1\0"


@dataclass(frozen=True)
class Head:
    """Where a chain ends."""

    number: int = 0
    hash: bytes = bytes(32)


def hash_of(entry: CredentialAccess) -> bytes:
    """Give the hash of an entry: SHA-256 of a purpose and of the entry without ``hash``.

    The entry is written as Protobuf has it, fields in the order of their numbers.
    """
    plain = CredentialAccess()
    plain.CopyFrom(entry)
    plain.ClearField("hash")
    return hashlib.sha256(_PURPOSE + plain.SerializeToString(deterministic=True)).digest()


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
