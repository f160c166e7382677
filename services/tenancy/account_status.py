"""Which status of an account follows which."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeAlias

from secmesh.tenancy.v1 import account_pb2 as pb

Status: TypeAlias = pb.AccountStatus.ValueType

PENDING = pb.ACCOUNT_STATUS_PENDING
VERIFIED = pb.ACCOUNT_STATUS_VERIFIED
ACTIVE = pb.ACCOUNT_STATUS_ACTIVE
FAILED = pb.ACCOUNT_STATUS_FAILED
SUSPENDED = pb.ACCOUNT_STATUS_SUSPENDED
DELETED = pb.ACCOUNT_STATUS_DELETED

ENTERED = frozenset({VERIFIED, ACTIVE})
"""Statuses in which scans enter an account and sessions are vended for it."""
OUTCOMES = frozenset({VERIFIED, ACTIVE, FAILED})
"""What a verification leads to."""
VERIFIABLE = frozenset({PENDING, *OUTCOMES})
"""Statuses in which an account may be verified."""
_LIVING = frozenset({*OUTCOMES, SUSPENDED, DELETED, PENDING})

FOLLOWING: Mapping[Status, frozenset[Status]] = MappingProxyType(
    {
        # From each to PENDING when the way in changes, to itself when a verification says so again.
        **dict.fromkeys(VERIFIABLE, _LIVING),
        # What somebody stopped, or what is gone, comes back unproved.
        SUSPENDED: frozenset({PENDING, DELETED}),
        DELETED: frozenset({PENDING}),
    }
)
"""The statuses that may follow each."""


def word_of(status: Status) -> str:
    """Give a status as errors name it, such as ``suspended``."""
    return pb.AccountStatus.Name(status).removeprefix("ACCOUNT_STATUS_").lower()
