"""Tenants that leave: all that is kept for them removed, in an order that a second call goes on."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace

from mesh.errors import EtagMismatch, FieldInvalid, ResourceNotFound
from secmesh.tenancy.v1 import tenant_offboarding_pb2 as pb
from secmesh.tenancy.v1 import tenant_pb2
from services.tenancy.accounts import AccountSecrets
from services.tenancy.api_keys import KEY_HASH
from services.tenancy.clock import MICROSECONDS, Clock
from services.tenancy.closing import Closing
from services.tenancy.closing import name_of as closing_name
from services.tenancy.errors import TenantNotDeleted, TenantRestorable
from services.tenancy.gate import CLOSED
from services.tenancy.other_stores import OtherStore, all_leave, is_left
from services.tenancy.retention import purge_time, timestamp
from services.tenancy.store.conditions import Equals, Exists
from services.tenancy.store.guards import owner_of
from services.tenancy.store.items import VERSION, changes, integer, text, version_of
from services.tenancy.store.keys import PlatformScope, TenantScope, key_of, month_of
from services.tenancy.store.port import ConditionFailed, Delete, Key, Query, Set, Store, Update
from services.tenancy.store.tables import Table
from services.tenancy.store.values import Item
from services.tenancy.tenants import DELETED, TENANT, name_of, tenant_item, word_of
from services.tenancy.writing import Write

OFFBOARDING = tenant_pb2.TENANT_STATUS_OFFBOARDING
OFFBOARDED = tenant_pb2.TENANT_STATUS_OFFBOARDED
SECRETS = "secrets"
"""What the place of secrets is called in what is told."""
_AT_MOST = "at most one for each account; those that are deleted can be restored"
_PAGE = 100
_AT_ONCE = 16
_MONTH = 28 * 24 * 3600 * MICROSECONDS
"""No month is shorter."""
_LONGEST_REST = 6 * 3600 * MICROSECONDS


class Offboarding:
    """Removes tenants."""

    def __init__(
        self, store: Store, clock: Clock, secrets: AccountSecrets, others: Sequence[OtherStore]
    ) -> None:
        self._store = store
        self._clock = clock
        self._secrets = secrets
        self._others = others
        self._closing = Closing(store, clock)

    async def told(self, tenant: str) -> pb.TenantOffboarding:
        """Give how a tenant leaves; ResourceNotFound if it does not."""
        return await self._closing.get(tenant)

    async def rests(self, tenant: str, least: float) -> bool:
        """Tell whether its last call is so few seconds ago that nobody need send another.

        It rests longer the longer it takes: half of the time since it began, 6 hours at most.
        """
        try:
            told = await self._closing.get(tenant)
        except ResourceNotFound:
            return False
        began, last = told.create_time.ToMicroseconds(), told.update_time.ToMicroseconds()
        rest = max(round(least * MICROSECONDS), min((last - began) // 2, _LONGEST_REST))
        return self._clock.now() - last < rest

    async def plan(self, tenant: str) -> pb.TenantOffboarding:
        """Count what there is everywhere, and change nothing; ResourceNotFound."""
        scope, item = TenantScope(tenant), await self._store.get(TenantScope(tenant).tenant_key())
        if item is None:
            raise ResourceNotFound(name_of(tenant))
        others = await all_leave(self._others, tenant, count=True)
        keys = self._parts(scope, integer(item, "create_time"))
        own = [_counted(table, await _number(each)) for table, each in keys]
        accounts = await _number(self._keys([scope.accounts()]))
        secrets = pb.OffboardedStore(store=SECRETS, remaining=accounts, note=_AT_MOST)
        secrets.state = pb.OFFBOARDED_STATE_REMAINS if accounts else pb.OFFBOARDED_STATE_REMOVED
        return pb.TenantOffboarding(name=closing_name(tenant), stores=[*own, secrets, *others])

    async def offboard(
        self, tenant: str, confirmed: str, *, shred: bool = False
    ) -> pb.TenantOffboarding:
        """Remove a deleted tenant; give what was removed by all calls, and what remains.

        ResourceNotFound, TenantNotDeleted, FieldInvalid; TenantRestorable as long as it can be
        undeleted, unless it is to be ``shred``.
        """
        if confirmed != tenant:
            raise FieldInvalid.of("confirm_tenant_id", "is not the tenant's id", "UNCONFIRMED")
        scope, began = TenantScope(tenant), await self._begun(tenant, shred=shred)
        others = await all_leave(self._others, tenant)
        if others:
            await self._closing.tell(tenant, others)
        empty = [await self._remove_secrets(scope)]
        for table, keys in self._parts(scope, began):
            told = _removed(table, await self._remove(keys))
            # What was removed is told at once: who goes on does not find it any more.
            if told.removed:
                await self._closing.tell(tenant, [told])
            else:
                empty.append(told)
        made = await self._closing.tell(tenant, empty)
        # The tenant is gone when it is gone everywhere: until then it can be seen that it leaves.
        if all(map(is_left, others)):
            await self._end(scope)
        return made

    def _parts(self, scope: TenantScope, began: int) -> Iterator[tuple[Table, AsyncIterator[Key]]]:
        """Give the keys of all items, by table."""
        yield Table.EXECUTIONS, self._executions(scope, began)
        yield Table.SCAN_RESULTS, self._results(scope, began)
        # Last those that lead to the others, so that a call that breaks off can be sent again.
        for table in (Table.SCHEDULES, Table.ACCOUNTS, Table.PROVIDERS):
            yield table, self._keys(scope.partitions(table))
        yield Table.TENANTS, self._of_tenants(scope)

    async def _of_tenants(self, scope: TenantScope) -> AsyncIterator[Key]:
        async for key in self._api_key_lookups(scope):
            yield key
        async for key in self._keys(scope.partitions(Table.TENANTS)):
            yield key

    async def _begun(self, tenant: str, *, shred: bool) -> int:
        """Close the tenant for good; give when it was created (microseconds since 1970)."""
        scope = TenantScope(tenant)
        before = await self._store.get(scope.tenant_key())
        if before is None:
            raise ResourceNotFound(name_of(tenant))
        made = TENANT.message(before)
        if made.status not in (DELETED, OFFBOARDING, OFFBOARDED):
            raise TenantNotDeleted(made.name)
        self._require_over(made, shred=shred)
        if made.status == DELETED:
            made.status = OFFBOARDING
            made.ClearField("purge_time")
            write = self._changing(before, made)
            closing = Update(scope.quota(), [Set(CLOSED, word_of(OFFBOARDING))])
            await write.add(closing, lambda _there: EtagMismatch(made.name)).carry_out()
        await self._closing.begin(tenant, shred=shred)
        return integer(before, "create_time")

    def _require_over(self, made: tenant_pb2.Tenant, *, shred: bool) -> None:
        """Leave a tenant that can be undeleted, unless nobody wants that."""
        until = made.purge_time
        if made.status == DELETED and not shred and until.ToMicroseconds() > self._clock.now():
            raise TenantRestorable(made.name, until.ToJsonString())

    async def _end(self, scope: TenantScope) -> None:
        """Leave of the tenant that its id was used."""
        before = await self._store.get(scope.tenant_key())
        if before is None or text(before, "status") == tenant_pb2.TenantStatus.Name(OFFBOARDED):
            return
        made = TENANT.message(before)
        made.status = OFFBOARDED
        guard = PlatformScope().tenant_guard(made.tenant_name)
        owner = owner_of(await self._store.get(guard))
        made.ClearField("tenant_name")
        made.ClearField("description")
        made.update_time.CopyFrom(timestamp(self._clock.now()))
        write = self._changing(before, made)
        write.add(Delete(scope.quota()), lambda _there: EtagMismatch(made.name))
        if owner == scope.tenant:
            write.add(Delete(guard), lambda _there: EtagMismatch(made.name))
        await write.carry_out()

    def _changing(self, before: Item, made: tenant_pb2.Tenant) -> Write:
        version = version_of(before)
        action = Update(
            TenantScope(text(before, "tenant_id")).tenant_key(),
            changes(before, tenant_item(made, version + 1)),
            Equals(VERSION, version),
        )
        return Write(self._store).add(action, lambda _there: EtagMismatch(made.name))

    async def _remove_secrets(self, scope: TenantScope) -> pb.OffboardedStore:
        """Have the secrets of all accounts deleted; Secrets Manager keeps them for 30 days."""
        number = 0
        async for item in self._items(scope.accounts()):
            await self._secrets.delete(scope.tenant, text(item, "account_id"))
            number += 1
        told = pb.OffboardedStore(store=SECRETS, state=pb.OFFBOARDED_STATE_REMOVED)
        if number:
            told.state = pb.OFFBOARDED_STATE_LEAVING
            told.remaining = number
            told.remains_until.CopyFrom(timestamp(purge_time(self._clock.now())))
            told.note = _AT_MOST
        return told

    async def _executions(self, scope: TenantScope, began: int) -> AsyncIterator[Key]:
        async for item in self._items(scope.schedules()):
            identity = text(item, "schedule_id")
            queries = (
                scope.executions_of_schedule(identity),
                scope.manual_executions_of_schedule(identity),
            )
            async for key in self._keys(queries):
                yield key
        # Those of schedules that are gone.
        months = [scope.executions_of_month(each) for each in self._months(began)]
        async for key in self._keys(months):
            yield key

    async def _results(self, scope: TenantScope, began: int) -> AsyncIterator[Key]:
        async for item in self._items(scope.accounts()):
            identity = text(item, "account_id")
            latest = scope.latest_scan_result(identity)
            if await self._store.get(latest) is not None:
                yield latest
            async for key in self._keys((scope.scan_results_of_account(identity),)):
                yield key
        months = [scope.scan_results_of_month(each) for each in self._months(began)]
        async for key in self._keys(months):
            yield key

    async def _api_key_lookups(self, scope: TenantScope) -> AsyncIterator[Key]:
        async for item in self._items(scope.api_keys()):
            yield PlatformScope().api_key_lookup(text(item, KEY_HASH))

    def _months(self, began: int) -> list[str]:
        """Give the months from one moment to now."""
        now = self._clock.now()
        moments = [*range(began, now, _MONTH), now]
        return list(dict.fromkeys(map(month_of, moments)))

    async def _items(self, query: Query) -> AsyncIterator[Item]:
        """Give what a query finds, one page after the other."""
        asked: Query | None = replace(query, limit=_PAGE)
        while asked is not None:
            page = await self._store.query(asked)
            for item in page.items:
                yield item
            asked = replace(asked, start=page.next) if page.next is not None else None

    async def _keys(self, queries: Sequence[Query]) -> AsyncIterator[Key]:
        for query in queries:
            async for item in self._items(query):
                yield key_of(query.table, item)

    async def _remove(self, keys: AsyncIterator[Key]) -> int:
        """Remove items, some at a time; give the number of those that were there."""
        waiting: list[Key] = []
        number = 0
        async for key in keys:
            waiting.append(key)
            if len(waiting) == _AT_ONCE:
                number += sum(await asyncio.gather(*map(self._delete, waiting)))
                waiting = []
        return number + sum(await asyncio.gather(*map(self._delete, waiting)))

    async def _delete(self, key: Key) -> int:
        # An index may show what is gone.
        try:
            await self._store.write(Delete(key, Exists()))
        except ConditionFailed:
            return 0
        return 1


def _removed(table: Table, number: int) -> pb.OffboardedStore:
    state = pb.OFFBOARDED_STATE_REMOVED
    return pb.OffboardedStore(store=f"tenancy.{table.value}", state=state, removed=number)


def _counted(table: Table, number: int) -> pb.OffboardedStore:
    state = pb.OFFBOARDED_STATE_REMAINS if number else pb.OFFBOARDED_STATE_REMOVED
    return pb.OffboardedStore(store=f"tenancy.{table.value}", state=state, remaining=number)


async def _number(keys: AsyncIterator[Key]) -> int:
    """Count items, those once that several queries find."""
    return len({key async for key in keys})
