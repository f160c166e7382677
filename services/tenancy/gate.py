"""What every change within a tenant passes: the tenant is open, and its quotas leave room.

Both stand in one item, so that they are judged in the transaction of the change itself.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Final

from mesh.errors import Refusal, ResourceNotFound, TenantInactive
from secmesh.tenancy.v1.tenant_pb2 import TenantQuotas
from services.tenancy.clock import MICROSECONDS, Clock
from services.tenancy.errors import QuotaExceeded
from services.tenancy.store.conditions import All, Condition, Missing
from services.tenancy.store.items import ItemCodec, integer, text
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.port import Check, ConditionFailed, Put, Set, Store, Update
from services.tenancy.store.quotas import Taking, give_back, take
from services.tenancy.store.values import Item, Value

PROVIDERS: Final = "providers"
ACCOUNTS: Final = "accounts"
SCHEDULES: Final = "schedules"
API_KEYS: Final = "api_keys"
SERVICE_CREDENTIALS: Final = "service_credentials"
COUNTERS: Final = (PROVIDERS, ACCOUNTS, SCHEDULES, API_KEYS, SERVICE_CREDENTIALS)
_ADDED: Final = {"max_api_keys": 100, "max_service_credentials": 100}
"""Limits of tenants that are older than the limits themselves."""
CLOSED: Final = "closed"
"""Attribute that says in a word why nothing changes in the tenant; absent while it is open."""
REMEMBERED_SECONDS: Final = 5
"""How old limits may be that a request is judged by."""
_PAGE = 1000
_MOST_REMEMBERED = 10_000
"""Tenants whose limits are remembered."""
CODEC = ItemCodec(TenantQuotas)


def with_limits(item: Item) -> Item:
    """Give the item of a tenant's quotas with every limit there is."""
    return _ADDED | item


def limit_of(counter: str) -> str:
    """Give the attribute that limits a counter."""
    return f"max_{counter}"


class Gate:
    """Takes and gives back places of a tenant's quotas, as long as the tenant is open."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._known: dict[str, tuple[int, dict[str, int]]] = {}

    async def take(self, scope: TenantScope, counter: str) -> Update:
        """Give the action that takes a place; ResourceNotFound for a tenant there is none of.

        If it fails, ``refusal`` says why.
        """
        limits = await self._limits(scope)
        action = take(scope, Taking(counter, limits[counter]))
        return replace(action, condition=_open(action.condition), upsert=False)

    def give_back(self, scope: TenantScope, counter: str) -> Update:
        """Give the action that gives a place back."""
        action = give_back(scope, **{counter: 1})
        return replace(action, condition=_open(action.condition))

    def uncount(self, scope: TenantScope, item: Item, counter: str) -> Check | Update:
        """Give the action that gives a place back in any tenant, by its quotas as they were read.

        Where nothing was counted yet nothing is given back; it fails if that began meanwhile.
        """
        if counter not in item:
            return Check(scope.quota(), Missing(counter))
        return give_back(scope, **{counter: 1})

    def check(self, scope: TenantScope) -> Check:
        """Give the action that has a write happen in an open tenant alone."""
        return Check(scope.quota(), Missing(CLOSED))

    def refusal(self, scope: TenantScope, item: Item | None, counter: str = "") -> Refusal:
        """Say why an action of this gate failed, by the item as it stands."""
        self.forget(scope.tenant)
        name = f"tenants/{scope.tenant}"
        if item is None:
            return ResourceNotFound(name)
        if CLOSED in item:
            return TenantInactive(name, text(item, CLOSED))
        return QuotaExceeded(name, counter, integer(with_limits(item), limit_of(counter)))

    async def require_open(self, scope: TenantScope) -> None:
        """Refuse a tenant that is closed: TenantInactive, ResourceNotFound."""
        item = await self._store.get(scope.quota())
        if item is None or CLOSED in item:
            raise self.refusal(scope, item)

    def forget(self, tenant: str) -> None:
        """Ask for the limits of a tenant anew when they are needed next."""
        self._known.pop(tenant, None)

    async def _limits(self, scope: TenantScope) -> Mapping[str, int]:
        now = self._clock.now()
        known = self._known.get(scope.tenant)
        if known is not None and now - known[0] < REMEMBERED_SECONDS * MICROSECONDS:
            return known[1]
        item = await self._store.get(scope.quota())
        if item is None or CLOSED in item:
            raise self.refusal(scope, item)
        limited = with_limits(item)
        limits = {each: integer(limited, limit_of(each)) for each in COUNTERS}
        if SERVICE_CREDENTIALS not in item:
            await self._count(scope)
        if len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()
        self._known[scope.tenant] = (now, limits)
        return limits

    async def _count(self, scope: TenantScope) -> None:
        """Have what a tenant had before it was counted count, too."""
        query, number = replace(scope.service_credentials(), limit=_PAGE), 0
        while True:
            page = await self._store.query(query)
            number += len(page.items)
            if page.next is None:
                break
            query = replace(query, start=page.next)
        counting = Update(
            scope.quota(), [Set(SERVICE_CREDENTIALS, number)], Missing(SERVICE_CREDENTIALS)
        )
        with suppress(ConditionFailed):  # another process was first
            await self._store.write(counting)


def opened(scope: TenantScope, limits: Mapping[str, int]) -> Put:
    """Give the action that makes the gate of a new tenant."""
    attributes: dict[str, Value] = {"tenant_id": scope.tenant}
    attributes |= {limit_of(counter): limits[counter] for counter in COUNTERS}
    attributes[SERVICE_CREDENTIALS] = 0
    return Put(scope.quota(), attributes, Missing())


def _open(condition: Condition | None) -> Condition:
    return Missing(CLOSED) if condition is None else All(Missing(CLOSED), condition)
