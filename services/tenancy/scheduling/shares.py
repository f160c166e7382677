"""Fair shares of an executor's slots between tenants."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar


class OfTenant(Protocol):
    """Something that belongs to a tenant."""

    @property
    def tenant(self) -> str:
        """The tenant's id."""


Candidate = TypeVar("Candidate", bound=OfTenant)


class Shares:
    """Counts what runs of each tenant, and gives no tenant more than its share of the slots."""

    def __init__(self, slots: int, per_tenant: int) -> None:
        self._slots = slots
        self._per_tenant = per_tenant
        self._running: Counter[str] = Counter()

    @property
    def free(self) -> int:
        """Slots in which nothing runs."""
        return self._slots - self._running.total()

    def take(self, tenant: str) -> bool:
        """Take a slot for a tenant; False if all are taken, or the tenant has its share."""
        if self.free <= 0 or self._running[tenant] >= self._per_tenant:
            return False
        self._running[tenant] += 1
        return True

    def give_back(self, tenant: str) -> None:
        """Give a slot back."""
        self._running[tenant] -= 1
        if not self._running[tenant]:
            del self._running[tenant]

    def has_room_for(self, tenant: str) -> bool:
        """Tell whether ``take`` would answer True."""
        return self.free > 0 and self._running[tenant] < self._per_tenant


def by_turns(candidates: Iterable[Candidate]) -> Iterator[Candidate]:
    """Give candidates one of each tenant in turn, each tenant's in their order."""
    queues: dict[str, deque[Candidate]] = defaultdict(deque)
    for each in candidates:
        queues[each.tenant].append(each)
    while queues:
        for tenant in list(queues):
            yield queues[tenant].popleft()
            if not queues[tenant]:
                del queues[tenant]
