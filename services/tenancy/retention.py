"""How long things are kept: what is deleted for 30 days, then it is gone, items or not."""

from collections.abc import Mapping
from dataclasses import replace

from google.protobuf.timestamp_pb2 import Timestamp

from services.tenancy.clock import MICROSECONDS
from services.tenancy.store.conditions import Any, AtMost, Condition, Missing
from services.tenancy.store.guards import claim
from services.tenancy.store.items import integer
from services.tenancy.store.port import Key, Put
from services.tenancy.store.tables import EXPIRES_AT
from services.tenancy.store.values import Value

RETENTION_DAYS = 30
"""As long as Secrets Manager keeps a deleted secret at most."""
ACCESS_LOG_DAYS, LEAST_ACCESS_LOG_DAYS = 400, 90
"""For which entries of access logs are kept: a year of audit and some, and the least there is."""
_RETENTION = RETENTION_DAYS * 24 * 3600 * MICROSECONDS


def purge_time(now: int) -> int:
    """Give when what is deleted now can be restored no more (microseconds since 1970)."""
    return now + _RETENTION


def expiry(purged_at: int) -> int:
    """Give the value of ``expires_at`` for a moment: whole seconds, never too early."""
    return -(-purged_at // MICROSECONDS)


def is_gone(item: Mapping[str, Value] | None, now: int) -> bool:
    """Tell whether there is no item, or one whose time is over."""
    return item is None or (EXPIRES_AT in item and integer(item, EXPIRES_AT) * MICROSECONDS <= now)


def free(now: int) -> Condition:
    """Give the condition that nothing stands there, or what does is gone."""
    return Any(Missing(), AtMost(EXPIRES_AT, now // MICROSECONDS))


def claim_free(key: Key, owner: str, now: int) -> Put:
    """Give the action that takes a unique value which nobody has, or nobody any more."""
    return replace(claim(key, owner), condition=free(now))


def timestamp(moment: int) -> Timestamp:
    """Give microseconds since 1970 as they travel."""
    seconds, micros = divmod(moment, MICROSECONDS)
    return Timestamp(seconds=seconds, nanos=micros * 1000)
