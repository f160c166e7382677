"""Who did what with which credential, for good: one chain of entries for each tenant.

The number of an entry is its key and is written once, so that two processes cannot both write
the next one. Entries that come while one is being written go together in the next write.
"""

import asyncio
import uuid
from collections import OrderedDict
from dataclasses import dataclass, field
from dataclasses import replace as replaced

from secmesh.tenancy.v1.credential_access_pb2 import CredentialAccess
from services.tenancy.clock import Clock
from services.tenancy.credentials.access_chain import Head, head_of, linked
from services.tenancy.retention import timestamp
from services.tenancy.store.conditions import Missing
from services.tenancy.store.items import ItemCodec
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.port import (
    ConditionFailed,
    Conflict,
    Put,
    Query,
    Store,
    StoreUnavailable,
)

MOST_AT_ONCE = 25
TRIES = 6
_MOST_CHAINS = 4096
ENTRY = ItemCodec(CredentialAccess)


@dataclass
class _Waiting:
    entry: CredentialAccess
    written: "asyncio.Future[None]"


@dataclass
class _Chain:
    scope: TenantScope
    head: Head | None = None
    """None: another may have written since."""
    waiting: list[_Waiting] = field(default_factory=list)
    writer: "asyncio.Task[None] | None" = None


class AccessLog:
    """Writes entries; each is durable when ``record`` returns."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._chains: OrderedDict[str, _Chain] = OrderedDict()

    async def record(self, scope: TenantScope, entry: CredentialAccess) -> None:
        """Add an entry, which gets its id, time, number and hashes here.

        Raises StoreUnavailable and the like: then whatever it was about must not happen.
        """
        chain = self._chain(scope)
        entry.access_id = str(uuid.uuid4())
        entry.time.CopyFrom(timestamp(self._clock.now()))
        waiting = _Waiting(entry, asyncio.get_running_loop().create_future())
        chain.waiting.append(waiting)
        if chain.writer is None:
            # A task of its own: who is cancelled does not take the others' entries along.
            chain.writer = asyncio.create_task(self._drain(chain))
        await waiting.written

    def listed(self, scope: TenantScope) -> Query:
        """Give the query of a tenant's entries, the newest first."""
        return scope.credential_accesses()

    async def close(self) -> None:
        """Wait for what is being written."""
        writers = [each.writer for each in self._chains.values() if each.writer]
        await asyncio.gather(*writers, return_exceptions=True)

    async def _drain(self, chain: _Chain) -> None:
        try:
            while chain.waiting:
                together = chain.waiting[:MOST_AT_ONCE]
                error = await self._written(chain, [each.entry for each in together])
                del chain.waiting[: len(together)]
                for each in together:
                    if each.written.done():
                        continue
                    if error is None:
                        each.written.set_result(None)
                    else:
                        each.written.set_exception(error)
        finally:
            chain.writer = None

    async def _written(self, chain: _Chain, entries: list[CredentialAccess]) -> Exception | None:
        """Write entries one after another in the chain; gives why that failed."""
        tried: list[CredentialAccess] = []
        error: Exception | None = None
        for _ in range(TRIES):
            try:
                head = chain.head or await head_in(self._store, chain.scope)
                if tried and await self._is_there(chain.scope, tried[0]):
                    # The write whose answer was lost, before whatever came after it.
                    chain.head = None
                    return None
                tried = _follow(head, entries)
                puts = [
                    Put(chain.scope.credential_access(each.number), ENTRY.item(each), Missing())
                    for each in tried
                ]
                await self._store.write(*puts)
            except (ConditionFailed, Conflict, StoreUnavailable) as failed:
                chain.head, error = None, failed
            except Exception as failed:  # noqa: BLE001 - told to all who wait
                chain.head = None
                return failed
            else:
                chain.head = head_of(tried[-1])
                return None
        if isinstance(error, ConditionFailed):
            return StoreUnavailable("others write the log")
        return error

    async def _is_there(self, scope: TenantScope, entry: CredentialAccess) -> bool:
        item = await self._store.get(scope.credential_access(entry.number))
        return item is not None and ENTRY.message(item).hash == entry.hash

    def _chain(self, scope: TenantScope) -> _Chain:
        chain = self._chains.get(scope.tenant)
        if chain is None:
            chain = self._chains[scope.tenant] = _Chain(scope)
        self._chains.move_to_end(scope.tenant)
        if len(self._chains) > _MOST_CHAINS:
            idle = (tenant for tenant, each in self._chains.items() if each.writer is None)
            oldest = next(idle)
            if oldest != scope.tenant:
                del self._chains[oldest]
        return chain


async def head_in(store: Store, scope: TenantScope) -> Head:
    """Give where a tenant's log ends."""
    page = await store.query(replaced(scope.credential_accesses(), limit=1))
    return head_of(ENTRY.message(page.items[0])) if page.items else Head()


def _follow(head: Head, entries: list[CredentialAccess]) -> list[CredentialAccess]:
    made = []
    for each in entries:
        entry = linked(head, each)
        made.append(entry)
        head = head_of(entry)
    return made
