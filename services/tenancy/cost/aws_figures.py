"""Prices and quotas of AWS that the design rests on: each with where it is listed.

Change them here when AWS does, and ``LISTED_ON`` with them.
"""

from dataclasses import dataclass
from typing import Final

REGION: Final = "us-east-1"
LISTED_ON: Final = "2026-11-21"


@dataclass(frozen=True)
class Price:
    """What a million units cost, in millionths of a US dollar."""

    item: str
    micro_usd_per_million: int
    source: str


_DYNAMODB = "https://aws.amazon.com/dynamodb/pricing/on-demand/"
_SECRETS = "https://aws.amazon.com/secrets-manager/pricing/"
_KMS = "https://aws.amazon.com/kms/pricing/"
_MILLION: Final = 1_000_000

WRITES = Price("dynamodb.writes", 625_000, _DYNAMODB)
"""Write request units, of 1 KB: $0.625 a million."""
READS = Price("dynamodb.reads", 125_000, _DYNAMODB)
"""Read request units, of 4 KB: $0.125 a million."""
STORAGE = Price("dynamodb.storage", 250_000 * _MILLION, _DYNAMODB)
"""A gigabyte for a month, in tables and in indexes: $0.25."""
RECOVERY = Price("dynamodb.recovery", 200_000 * _MILLION, _DYNAMODB)
"""A gigabyte of tables for a month, with point-in-time recovery: $0.20."""
SECRETS = Price("secretsmanager.secrets", 400_000 * _MILLION, _SECRETS)
"""A secret for a month: $0.40."""
SECRET_CALLS = Price("secretsmanager.calls", 5_000_000, _SECRETS)
"""Calls: $0.05 for ten thousand."""
KEYS = Price("kms.keys", 1_000_000 * _MILLION, _KMS)
"""A customer managed key for a month: $1, and as much again after each of its first two
rotations."""
KEY_CALLS = Price("kms.calls", 3_000_000, _KMS)
"""Calls: $0.03 for ten thousand."""


@dataclass(frozen=True)
class Quota:
    """What AWS takes at most, for an account in a Region unless it says otherwise."""

    most: int
    source: str


_SECRETS_LIMITS = (
    "https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html"
)
_DYNAMODB_LIMITS = (
    "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html"
)

SECRET_WRITES_PER_SECOND = Quota(50, _SECRETS_LIMITS)
"""Of PutSecretValue, UpdateSecret, UpdateSecretVersionStage and others together, and as many of
CreateSecret and DeleteSecret; it cannot be raised."""
SECRET_BYTES = Quota(65_536, _SECRETS_LIMITS)
"""Of one value."""
SECRETS_PER_REGION = Quota(500_000, _SECRETS_LIMITS)
ITEM_BYTES = Quota(409_600, _DYNAMODB_LIMITS)
TRANSACTION_ACTIONS = Quota(100, _DYNAMODB_LIMITS)
PARTITION_WRITES_PER_SECOND = Quota(1_000, _DYNAMODB_LIMITS)
"""Write units of one partition."""
