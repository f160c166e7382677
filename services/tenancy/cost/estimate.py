"""What a tenant costs in a month: pure arithmetic over budgets and prices."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import Final

from services.tenancy.cost import aws_figures as aws
from services.tenancy.cost import budgets
from services.tenancy.cost.aws_figures import Price

DAYS: Final = 30
"""Of the month that is estimated."""
SECONDS: Final = DAYS * 86_400
HISTORY_DAYS: Final = 400
"""For which executions are kept (``scheduling.executions.HISTORY``)."""
_GIGABYTE: Final = 1 << 30
_MILLION: Final = 1_000_000
_ACCOUNT_BYTES: Final = 3_000
"""An account with its schedule, their guard and entries of indexes."""
_RUN_BYTES: Final = 2_500
"""An execution with its result and entries of indexes."""
_INDEXED: Final = 0.4
"""Part of that in indexes, which recovery does not count."""
_KEYS: Final = 2
"""KMS keys of a deployment: of tables and of secrets."""
_CACHED_SECONDS: Final = 3_600
"""For which a session of an account is reused."""
_PASSES_PER_SECOND: Final = 1
"""Looks at each shard of each of the two queues."""
_QUEUES: Final = 2


@dataclass(frozen=True)
class Workload:
    """What a tenant has and does."""

    accounts: int
    secrets: int = 0
    runs_per_day: float = 1.0
    """Of each account."""
    shards: int = 16

    @property
    def runs(self) -> float:
        """Runs of a month."""
        return self.accounts * self.runs_per_day * DAYS


@dataclass(frozen=True)
class Line:
    """What one thing costs."""

    price: Price
    quantity: float
    shared: bool = False

    @property
    def micro_usd(self) -> int:
        """Millionths of a US dollar in a month, rounded up."""
        # Rounded first: a product of floats may be a little more than what it stands for.
        return ceil(round(self.quantity * self.price.micro_usd_per_million / _MILLION, 6))


def lines(workload: Workload) -> list[Line]:
    """Give all that costs something, the tenant's own first."""
    return [each for each in (*_own(workload), *_shared(workload)) if each.quantity]


def _own(workload: Workload) -> Iterator[Line]:
    runs, secrets = workload.runs, min(workload.secrets, workload.accounts)
    polled = budgets.POLL_UNITS_PER_DUE * _QUEUES
    yield Line(aws.WRITES, runs * budgets.RUN_WRITE_UNITS)
    yield Line(aws.READS, runs * (budgets.RUN_READ_UNITS + polled))
    kept = workload.accounts * (_ACCOUNT_BYTES + workload.runs_per_day * HISTORY_DAYS * _RUN_BYTES)
    yield Line(aws.STORAGE, kept / _GIGABYTE)
    yield Line(aws.RECOVERY, kept * (1 - _INDEXED) / _GIGABYTE)
    yield Line(aws.SECRETS, secrets)
    # A value is read once for each run, unless runs are so close that it is still cached.
    reads = min(secrets * workload.runs_per_day * DAYS, secrets * SECONDS / _CACHED_SECONDS)
    yield Line(aws.SECRET_CALLS, reads)
    yield Line(aws.KEY_CALLS, reads)


def _shared(workload: Workload) -> Iterator[Line]:
    passes = SECONDS * _PASSES_PER_SECOND * _QUEUES
    units = passes * workload.shards * budgets.POLL_UNITS_PER_SHARD
    yield Line(aws.READS, units, shared=True)
    yield Line(aws.KEYS, _KEYS, shared=True)
