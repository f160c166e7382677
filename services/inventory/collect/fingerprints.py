"""What is kept of credentials that stand in the configuration of things: never the value.

A keyed hash of the tenant (HMAC-SHA-256, RFC 2104) shows that two values are equal, or that one was
changed. Without the key nobody can try values, and one tenant's hash says nothing of another's.
"""

from collections.abc import Callable
from functools import partial

from mesh.sealing.hashing import keyed_hash
from mesh.sealing.keyring import KeyRing
from services.inventory.collect.credential_shapes import Fingerprint

_PLACE = "configuration"
OfTenant = Callable[[str], Fingerprint]
"""Gives the fingerprints of one tenant."""


def no_fingerprint(_value: str) -> str:
    """Keep nothing."""
    return ""


def fingerprints(keys: KeyRing | None) -> OfTenant:
    """Give what hashes by the keys, if there are any."""
    return lambda tenant: no_fingerprint if keys is None else partial(_hashed, keys, tenant)


def _hashed(keys: KeyRing, tenant: str, value: str) -> str:
    return keyed_hash(keys, value, tenant, _PLACE)
