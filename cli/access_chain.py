"""The hash chain of an access log, computed by whoever reads it and not by who keeps it."""

import hashlib
from collections.abc import Iterable

from secmesh.tenancy.v1.credential_access_pb2 import CredentialAccess

_PURPOSE = b"secmesh credential access 1\0"


def first_fault(entries: Iterable[CredentialAccess]) -> int | None:
    """Give the number of the first entry, from the oldest on, that does not fit; None if all do."""
    previous = bytes(32)
    for number, entry in enumerate(entries, 1):
        fits = (entry.number, entry.previous_hash) == (number, previous)
        if not fits or _hash(entry) != entry.hash:
            return number
        previous = entry.hash
    return None


def _hash(entry: CredentialAccess) -> bytes:
    plain = CredentialAccess()
    plain.CopyFrom(entry)
    plain.ClearField("hash")
    return hashlib.sha256(_PURPOSE + plain.SerializeToString(deterministic=True)).digest()
