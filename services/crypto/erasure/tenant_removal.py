"""A tenant shredded: refused, then each person erased with a certificate, then no key left.

What is sealed by these keys opens nowhere any more, in no backup either once its time is over.
Whoever is stopped has done a part: persons are erased as by ``Erasing``, and the next call goes on.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from mesh.errors import ResourceNotFound
from mesh.identifiers import new_uuid
from mesh.server.call import current_call
from mesh.sql.tenant_closing import TenantClosing
from mesh.sql.transactions import Transactions
from services.crypto.audit.entry import Access, Audit, Operation
from services.crypto.erasure.erasing import Erasing
from services.crypto.erasure.gate_store import shut_gate
from services.crypto.erasure.tenant_removal_store import TenantRemovalStore
from services.crypto.keys.news import tell

_AT_ONCE = 100
"""Persons that are read at a time."""
_TOGETHER = 4
"""Persons that are erased at a time."""


@dataclass
class Shredded:
    """What a removal did and left, by table."""

    removed: dict[str, int] = field(default_factory=dict)
    remaining: Mapping[str, int] = field(default_factory=dict)
    kept: Mapping[str, int] = field(default_factory=dict)
    backups_until: datetime | None = None
    """Until when backups of the database hold wrapped keys, if nothing remains from now on."""
    settled: bool = True
    """Whether nobody writes in the tenant any more."""

    def add(self, removed: Mapping[str, int]) -> None:
        """Count what was removed."""
        for name, number in removed.items():
            if number:
                self.removed[name] = self.removed.get(name, 0) + number


class TenantShredding:
    """Works on one database."""

    def __init__(
        self,
        transactions: Transactions,
        erasing: Erasing,
        audit: Audit,
        forget: Callable[[str], None],
        backups: timedelta,
    ) -> None:
        """``forget`` lets go of a tenant's keys; ``backups`` is how long backups are kept."""
        self._transactions = transactions
        self._erasing = erasing
        self._audit = audit
        self._forget = forget
        self._backups = backups
        self._store = TenantRemovalStore()
        if transactions.removed is None:
            raise ValueError("these transactions would not refuse a tenant that was removed")
        self._closing = TenantClosing(transactions.removed, transactions.transaction)

    async def count(self, tenant: str) -> Shredded:
        """Tell what there is to remove, and what would stay."""
        async with self._transactions.connection(tenant) as connection:
            remaining = await self._store.remaining(connection, tenant)
            kept = await self._store.kept(connection, tenant)
        until = datetime.now(UTC) + self._backups
        return Shredded(remaining=remaining, kept=kept, backups_until=until)

    async def remove(self, tenant: str, seconds: float) -> Shredded:
        """Refuse the tenant, erase persons until a time is over, then destroy what is left."""
        await self._closing.close(tenant)
        settled = await self._closing.settle(tenant, seconds)
        done, end = Shredded(), time.monotonic() + seconds
        while persons := await self._persons(tenant):
            await self._erase(tenant, persons, done, end)
            if time.monotonic() >= end:
                break
        else:
            done.add(await self._destroy(tenant))
        left = await self.count(tenant)
        left.removed, left.settled = done.removed, settled
        return left

    async def _persons(self, tenant: str) -> list[str]:
        async with self._transactions.connection(tenant) as connection:
            return await self._store.persons(connection, tenant, _AT_ONCE)

    async def _erase(self, tenant: str, persons: list[str], done: Shredded, end: float) -> None:
        for start in range(0, len(persons), _TOGETHER):
            if start and time.monotonic() >= end:
                return
            some = persons[start : start + _TOGETHER]
            # All are waited for: nothing goes on behind the back of who is refused.
            ended = await asyncio.gather(
                *(self._erase_one(tenant, each) for each in some), return_exceptions=True
            )
            for each in ended:
                if isinstance(each, BaseException):
                    raise each
                done.add({"users": each})

    async def _erase_one(self, tenant: str, person: str) -> int:
        """Erase a person; 0 if another did meanwhile."""
        try:
            await self._erasing.erase(tenant, person, "", new_uuid())
        except ResourceNotFound:
            return 0
        return 1

    async def _destroy(self, tenant: str) -> dict[str, int]:
        async with self._transactions.transaction(tenant) as connection:
            # Nobody makes a person or a key meanwhile; who was faster is found by the count.
            await shut_gate(connection, tenant)
            done = await self._store.destroy_keys(connection, tenant)
            done |= await self._store.forget_decisions(connection, tenant)
            await self._store.drop_rotations(connection, tenant)
            await tell(connection, tenant)
            if any(done.values()):
                await self._audit.record([_access(tenant)])
        self._forget(tenant)
        return done


def _access(tenant: str) -> Access:
    call = current_call()
    return Access(
        tenant,
        Operation.ERASE,
        call.caller.subject,
        call.request_id,
        details="destroy all keys of the tenant",
    )
