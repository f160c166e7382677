"""What stands for a person who is gone: a hash that who knows the id can make again.

    SHA-256 of, each after its length as 2 bytes: "secmesh/person/1", tenant, user id (16 bytes)

An id holds 74 random bits, so nobody gets from the hash to it by trying; and no key is needed, so
that a certificate can be held against the id by whoever was given it.
"""

import uuid
from hashlib import sha256

from services.crypto.suite.context import canonical

_LABEL = b"secmesh/person/1"


def person_digest(tenant: str, user_id: str) -> bytes:
    """Give the 32 bytes that stand for a person."""
    return sha256(canonical(_LABEL, tenant.encode(), uuid.UUID(user_id).bytes)).digest()
