"""Accounts: how they are kept, and which status follows which."""

from collections.abc import Mapping
from types import MappingProxyType

from secmesh.tenancy.v1 import account_pb2 as pb

PENDING = pb.ACCOUNT_STATUS_PENDING
VERIFIED = pb.ACCOUNT_STATUS_VERIFIED
ACTIVE = pb.ACCOUNT_STATUS_ACTIVE
FAILED = pb.ACCOUNT_STATUS_FAILED
SUSPENDED = pb.ACCOUNT_STATUS_SUSPENDED
DELETED = pb.ACCOUNT_STATUS_DELETED

FOLLOWING: Mapping[pb.AccountStatus, frozenset[pb.AccountStatus]] = MappingProxyType(
    {
        PENDING: frozenset({VERIFIED, ACTIVE, FAILED, SUSPENDED, DELETED, PENDING}),
        VERIFIED: frozenset({VERIFIED, ACTIVE, FAILED, SUSPENDED, DELETED, PENDING}),
        ACTIVE: frozenset({VERIFIED, ACTIVE, FAILED, SUSPENDED, DELETED, PENDING}),
        FAILED: frozenset({VERIFIED, ACTIVE, FAILED, SUSPENDED, DELETED, PENDING}),
        # What somebody stopped, or what is gone, comes back unproved.
        SUSPENDED: frozenset({PENDING, DELETED}),
        DELETED: frozenset({PENDING}),
    }
)
"""The statuses that may follow each; a verification leads to VERIFIED, ACTIVE or FAILED."""

ENTERED = frozenset({VERIFIED, ACTIVE})
"""Statuses in which scans enter an account and sessions are vended for it."""
VERIFIABLE = frozenset({PENDING, VERIFIED, ACTIVE, FAILED})
"""Statuses in which an account may be verified."""


def status_word(status: pb.AccountStatus) -> str:
    """Give a status as errors name it, such as ``suspended``."""
    return pb.AccountStatus.Name(status).removeprefix("ACCOUNT_STATUS_").lower()
