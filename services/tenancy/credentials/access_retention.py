"""Entries of access logs whose time is over: removed, and what is left can still be proved.

First a checkpoint says up to where the log is removed, in one transaction with the entry that
tells of it; then the entries go, the oldest first. Whoever breaks off leaves entries that no
longer count, which the next one removes.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace as replaced
from itertools import takewhile

from secmesh.tenancy.v1 import credential_access_pb2 as pb
from services.tenancy.clock import MICROSECONDS, Clock
from services.tenancy.credentials.access_chain import first_fault, following, linked, start_of
from services.tenancy.credentials.access_log import ENTRY, TRIES, head_in
from services.tenancy.credentials.accesses import SERVICE
from services.tenancy.retention import LEAST_ACCESS_LOG_DAYS, timestamp
from services.tenancy.store.conditions import Equals, Missing
from services.tenancy.store.items import VERSION, ItemCodec, version_of
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.port import (
    MAX_ACTIONS,
    ConditionFailed,
    Conflict,
    Delete,
    Put,
    Query,
    Store,
)

CHECKPOINT = ItemCodec(pb.CredentialAccessCheckpoint)
REMOVE = pb.CREDENTIAL_ACTION_REMOVE_ENTRIES
STEP = 1000
"""Entries that one checkpoint is about at most."""
CALLS_IDLE = 1
"""Calls of the store for a tenant of whose log nothing is over."""
CALLS_PER_STEP = 4 + STEP // MAX_ACTIONS
"""Calls for each step, unless others write the log at the same time."""
_DAY = 86_400 * MICROSECONDS


class LogBroken(Exception):
    """A log that is not what was written, of which nothing is removed: it is evidence."""

    def __init__(self, tenant: str, number: int) -> None:
        super().__init__(f"the access log of tenants/{tenant} is broken at entry {number}")
        self.tenant = tenant
        self.number = number
        """Of the first entry that does not fit; that of the checkpoint, if it is that."""


@dataclass(frozen=True)
class Removed:
    """What was done to one tenant's log."""

    entries: int = 0
    more: bool = False
    """Whether entries may be left that are over."""


async def checkpoint_of(store: Store, scope: TenantScope) -> pb.CredentialAccessCheckpoint | None:
    """Give the checkpoint of a tenant's log; None if nothing was ever removed."""
    item = await store.get(scope.access_checkpoint())
    return None if item is None else CHECKPOINT.message(item)


class AccessRetention:
    """Removes what is over, in any number of processes at a time."""

    def __init__(self, store: Store, clock: Clock, days: int) -> None:
        """Take the days for which entries are kept; ValueError if they are too few."""
        if days < LEAST_ACCESS_LOG_DAYS:
            raise ValueError(f"entries are kept for {LEAST_ACCESS_LOG_DAYS} days at least")
        self._store = store
        self._clock = clock
        self._days = days

    async def remove_over(self, tenant: str, steps: int = 10) -> Removed:
        """Remove the entries of a tenant's log that are over, at most ``steps`` times 1,000.

        It takes ``CALLS_IDLE`` call of the store if there are none, otherwise
        ``CALLS_PER_STEP`` more for each step. LogBroken; StoreUnavailable and the like: the
        same again goes on.
        """
        scope, entries = TenantScope(tenant), 0
        if not self._over(await self._oldest(scope, 1)):
            return Removed()
        for _ in range(steps):
            number, more = await self._step(scope)
            entries += number
            if not more:
                return Removed(entries)
        return Removed(entries, more=True)

    async def _step(self, scope: TenantScope) -> tuple[int, bool]:
        """Give how many entries were removed, and whether there may be more."""
        # The checkpoint is read after the entries: what it says of them is then true.
        found = await self._oldest(scope, STEP)
        item = await self._store.get(scope.access_checkpoint())
        before = None if item is None else CHECKPOINT.message(item)
        start = start_of(before)
        if start is None:
            raise LogBroken(scope.tenant, before.number if before else 0)
        if left := [each for each in found if each.number <= start.number]:
            # Of who broke off.
            return await self._remove(scope, left), True
        over = self._over(found)
        if (fault := first_fault(over, start)) is not None:
            raise LogBroken(scope.tenant, fault)
        if all(each.action == REMOVE for each in over):
            # Each removal writes such an entry: to remove these alone would never end.
            return 0, False
        now = timestamp(self._clock.now())
        condition = Missing() if item is None else Equals(VERSION, version_of(item))
        version = 1 if item is None else version_of(item) + 1
        checkpoint = following(before, over[-1], now)
        put = Put(
            scope.access_checkpoint(), CHECKPOINT.item(checkpoint, version=version), condition
        )
        if not await self._tell(scope, checkpoint, put):
            return 0, True
        return await self._remove(scope, over), len(over) == len(found)

    async def _tell(
        self, scope: TenantScope, checkpoint: pb.CredentialAccessCheckpoint, put: Put
    ) -> bool:
        """Write a checkpoint with the entry that tells of it; False if another was first."""
        entry = pb.CredentialAccess(
            access_id=str(uuid.uuid4()),
            time=checkpoint.time,
            action=REMOVE,
            subject=SERVICE,
            granted=True,
            checkpoint_hash=checkpoint.hash,
        )
        for _ in range(TRIES):
            made = linked(await head_in(self._store, scope), entry)
            place = scope.credential_access(made.number)
            try:
                await self._store.write(put, Put(place, ENTRY.item(made), Missing()))
            except ConditionFailed as failed:
                if failed.position == 0:
                    return False
            else:
                return True
        raise Conflict("others write the log")

    async def _remove(self, scope: TenantScope, entries: Sequence[pb.CredentialAccess]) -> int:
        # One after another: what is left has no gap, wherever this ends.
        keys = [scope.credential_access(each.number) for each in entries]
        for at in range(0, len(keys), MAX_ACTIONS):
            await self._store.write(*map(Delete, keys[at : at + MAX_ACTIONS]))
        return len(keys)

    async def _oldest(self, scope: TenantScope, number: int) -> list[pb.CredentialAccess]:
        query: Query = replaced(scope.credential_accesses(), limit=number, forward=True)
        page = await self._store.query(query)
        return [ENTRY.message(item) for item in page.items]

    def _over(self, entries: Sequence[pb.CredentialAccess]) -> list[pb.CredentialAccess]:
        """Give the first entries whose time is over, up to one whose time is not."""
        until = self._clock.now() - self._days * _DAY
        return list(takewhile(lambda each: each.time.ToMicroseconds() < until, entries))
