"""Quotas: counters of a tenant, moved in the transaction that creates or removes.

A counter goes up only as long as it stays within its limit, so that no two requests can
share the last place::

    actions = [take(scope, Taking("accounts", limit)), Put(...), ...]

A ConditionFailed at its position means that a quota is used up; ``used_up`` says which.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from services.tenancy.store.conditions import All, Any, AtMost, Condition, Missing
from services.tenancy.store.items import integer
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.port import Add, Update
from services.tenancy.store.values import Value


@dataclass(frozen=True)
class Taking:
    """So many of what a counter counts, up to its limit."""

    counter: str
    limit: int
    number: int = 1


def take(scope: TenantScope, *takings: Taking) -> Update:
    """Give the action that takes all of these, or none: one for all counters of a tenant."""
    changes = [Add(each.counter, each.number) for each in takings]
    return Update(scope.quota(), changes, All(*map(_fits, takings)), upsert=True)


def give_back(scope: TenantScope, **numbers: int) -> Update:
    """Give the action that counts back, such as ``give_back(scope, accounts=1)``."""
    return Update(scope.quota(), [Add(name, -number) for name, number in numbers.items()])


def used_up(item: Mapping[str, Value] | None, *takings: Taking) -> Taking:
    """Give the first that does not fit beside what the counters say."""
    counted = item or {}
    full = (each for each in takings if integer(counted, each.counter) + each.number > each.limit)
    return next(full, takings[0])


def _fits(taking: Taking) -> Condition:
    room = AtMost(taking.counter, taking.limit - taking.number)
    return room if taking.number > taking.limit else Any(Missing(taking.counter), room)
