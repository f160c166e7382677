"""Providers: the clouds that a tenant has accounts in."""

from collections.abc import Mapping, Sequence

from mesh.errors import EtagMismatch, Refusal, ResourceExists, ResourceNotFound, ResourceReferenced
from secmesh.tenancy.v1 import provider_pb2 as pb
from services.tenancy.clock import Clock
from services.tenancy.errors import ResourceDeleted, ResourceNotDeleted, ValueTaken
from services.tenancy.gate import PROVIDERS, Gate
from services.tenancy.names import ids_in
from services.tenancy.resources import created, updated
from services.tenancy.retention import (
    claim_free,
    expiry,
    free,
    is_gone,
    purge_time,
    timestamp,
)
from services.tenancy.store.conditions import All, Any, Equals, Missing
from services.tenancy.store.guards import OWNER, release
from services.tenancy.store.items import (
    VERSION,
    ItemCodec,
    changes,
    version_of,
    version_of_etag,
)
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.port import Add, Key, Put, Query, Remove, Set, Store, Update
from services.tenancy.store.tables import EXPIRES_AT
from services.tenancy.store.values import Item, Value
from services.tenancy.writing import NamedRequest, Write

COLLECTION = "providers"
ACTIVE, DELETED = pb.PROVIDER_STATUS_ACTIVE, pb.PROVIDER_STATUS_DELETED
PROVIDER = ItemCodec(pb.Provider)
_COUNT = "account_count"
_STATUS = "status"


def name_of(tenant: str, provider: str) -> str:
    """Give the resource name of a provider."""
    return f"tenants/{tenant}/providers/{provider}"


def csp_of(provider_type: pb.ProviderType.ValueType) -> str:
    """Give a vendor as keys have it, such as ``aws``."""
    return pb.ProviderType.Name(provider_type).removeprefix("PROVIDER_TYPE_").lower()


class Providers:
    """What is done with providers."""

    def __init__(self, store: Store, clock: Clock, gate: Gate) -> None:
        self._store = store
        self._clock = clock
        self._gate = gate

    async def create(
        self, tenant: str, provider: str, given: pb.Provider, request: NamedRequest
    ) -> pb.Provider:
        """Store a provider.

        Raises ResourceExists, ValueTaken, QuotaExceeded, TenantInactive, FieldInvalid, and
        ResourceNotFound for a tenant there is none of.
        """
        scope, name, now = TenantScope(tenant), name_of(tenant, provider), self._clock.now()
        made = created(given, name, "provider")
        made.status = ACTIVE
        made.create_time.CopyFrom(timestamp(now))
        made.update_time.CopyFrom(timestamp(now))
        item = PROVIDER.item(made)
        taking = await self._gate.take(scope, PROVIDERS)
        write = request.remember(Write(self._store), name)
        write.add(taking, lambda there: self._gate.refusal(scope, there, PROVIDERS))
        write.add(Put(scope.provider(provider), item, free(now)), lambda _: ResourceExists(name))
        guard = claim_free(_guard(scope, made), provider, now)
        write.add(guard, lambda _there: ValueTaken("provider.provider_name"))
        await write.carry_out()
        return PROVIDER.message(item)

    async def get(self, tenant: str, provider: str) -> pb.Provider:
        """Give a provider, a deleted one too until it is purged; ResourceNotFound."""
        return PROVIDER.message(await self._item(tenant, provider))

    def listed(self, tenant: str) -> Query:
        """Give the query of a tenant's providers."""
        return TenantScope(tenant).providers()

    async def update(
        self, given: pb.Provider, paths: Sequence[str], request: NamedRequest
    ) -> pb.Provider:
        """Change a provider; ResourceNotFound, ResourceDeleted, EtagMismatch, ValueTaken."""
        tenant, provider = ids_in(given.name, COLLECTION)
        scope, now = TenantScope(tenant), self._clock.now()
        before = await self._item(tenant, provider)
        old = PROVIDER.message(before)
        _require_etag(before, given.etag, given.name)
        if old.status != ACTIVE:
            raise ResourceDeleted(given.name)
        made = updated(old, given, paths, "provider")
        made.update_time.CopyFrom(timestamp(now))
        write = request.remember(Write(self._store), given.name)
        after = self._change(write, before, made)
        former, wanted = _guard(scope, old), _guard(scope, made)
        if former != wanted:
            guard = claim_free(wanted, provider, now)
            write.add(guard, lambda _there: ValueTaken("provider.provider_name"))
            write.add(release(former, provider), lambda _there: EtagMismatch(given.name))
        write.add(self._gate.check(scope), lambda there: self._gate.refusal(scope, there))
        await write.carry_out()
        return PROVIDER.message(after)

    async def delete(
        self, tenant: str, provider: str, etag: str, request: NamedRequest
    ) -> pb.Provider:
        """Delete a provider without accounts; ResourceReferenced, ResourceDeleted, EtagMismatch."""
        scope, now = TenantScope(tenant), self._clock.now()
        before = await self._item(tenant, provider)
        made = PROVIDER.message(before)
        _require_etag(before, etag, made.name)
        if made.status != ACTIVE:
            raise ResourceDeleted(made.name)
        ends = purge_time(now)
        made.status = DELETED
        made.update_time.CopyFrom(timestamp(now))
        made.delete_time.CopyFrom(timestamp(now))
        made.purge_time.CopyFrom(timestamp(ends))
        write = request.remember(Write(self._store), made.name)
        after = self._change(write, before, made, {EXPIRES_AT: expiry(ends)}, empty=True)
        held = Update(_guard(scope, made), [Set(EXPIRES_AT, expiry(ends))], Equals(OWNER, provider))
        write.add(held, lambda _there: EtagMismatch(made.name))
        giving = self._gate.give_back(scope, PROVIDERS)
        write.add(giving, lambda there: self._gate.refusal(scope, there))
        await write.carry_out()
        return PROVIDER.message(after)

    async def undelete(
        self, tenant: str, provider: str, etag: str, request: NamedRequest
    ) -> pb.Provider:
        """Bring a deleted provider back; ResourceNotDeleted, EtagMismatch, QuotaExceeded."""
        scope, now = TenantScope(tenant), self._clock.now()
        before = await self._item(tenant, provider)
        made = PROVIDER.message(before)
        _require_etag(before, etag, made.name)
        if made.status != DELETED:
            raise ResourceNotDeleted(made.name)
        made.status = ACTIVE
        made.update_time.CopyFrom(timestamp(now))
        made.ClearField("delete_time")
        made.ClearField("purge_time")
        taking = await self._gate.take(scope, PROVIDERS)
        write = request.remember(Write(self._store), made.name)
        write.add(taking, lambda there: self._gate.refusal(scope, there, PROVIDERS))
        after = self._change(write, before, made)
        held = Update(_guard(scope, made), [Remove(EXPIRES_AT)], Equals(OWNER, provider))
        write.add(held, lambda _there: EtagMismatch(made.name))
        await write.carry_out()
        return PROVIDER.message(after)

    def add_account(self, tenant: str, provider: str, write: Write) -> None:
        """Have a write count an account more; ResourceNotFound or ResourceDeleted if it cannot."""
        action = Update(
            TenantScope(tenant).provider(provider),
            [Add(_COUNT, 1)],
            Equals(_STATUS, pb.ProviderStatus.Name(ACTIVE)),
        )
        name = name_of(tenant, provider)
        write.add(action, lambda there: self._unfit(name, there))

    def remove_account(self, tenant: str, provider: str, write: Write) -> None:
        """Have a write count an account less."""
        action = Update(TenantScope(tenant).provider(provider), [Add(_COUNT, -1)])
        write.add(action, lambda _there: ResourceNotFound(name_of(tenant, provider)))

    async def _item(self, tenant: str, provider: str) -> Item:
        item = await self._store.get(TenantScope(tenant).provider(provider))
        if item is None or is_gone(item, self._clock.now()):
            raise ResourceNotFound(name_of(tenant, provider))
        return item

    def _unfit(self, name: str, there: Item | None) -> Refusal:
        gone = is_gone(there, self._clock.now())
        return ResourceNotFound(name) if gone else ResourceDeleted(name)

    def _change(
        self,
        write: Write,
        before: Item,
        made: pb.Provider,
        more: Mapping[str, Value] | None = None,
        *,
        empty: bool = False,
    ) -> Item:
        """Have a write replace a provider; ``empty`` asks that it has no accounts."""
        version = version_of(before)
        after = PROVIDER.item(made, version=version + 1) | dict(more or {})
        # Accounts come and go without being changes of the provider.
        told = [each for each in changes(before, after) if each.attribute != _COUNT]
        condition = Equals(VERSION, version)
        without = All(condition, Any(Missing(_COUNT), Equals(_COUNT, 0)))
        action = Update(_key(made.name), told, without if empty else condition)

        def meaning(there: Item | None) -> Refusal:
            if empty and there is not None and version_of(there) == version:
                return ResourceReferenced(made.name, "accounts")
            return EtagMismatch(made.name)

        write.add(action, meaning)
        return after


def _key(name: str) -> Key:
    tenant, provider = ids_in(name, COLLECTION)
    return TenantScope(tenant).provider(provider)


def _guard(scope: TenantScope, made: pb.Provider) -> Key:
    return scope.provider_guard(csp_of(made.provider_type), made.provider_name)


def _require_etag(item: Item, etag: str, name: str) -> None:
    if etag and version_of_etag(etag) != version_of(item):
        raise EtagMismatch(name)
