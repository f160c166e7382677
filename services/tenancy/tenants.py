"""Tenants: created, renamed, deleted for a time, and how much each may have."""

from collections.abc import Mapping, Sequence

from mesh.errors import EtagMismatch, ResourceExists, ResourceNotFound, TenantInactive
from secmesh.tenancy.v1 import tenant_pb2 as pb
from services.tenancy.clock import Clock
from services.tenancy.errors import (
    ResourceNotDeleted,
    TenantOffboarded,
    ValueTaken,
)
from services.tenancy.gate import CLOSED, CODEC, Gate, limit_of, opened, with_limits
from services.tenancy.names import quotas_tenant_in, tenant_in
from services.tenancy.resources import created, updated
from services.tenancy.retention import purge_time, timestamp
from services.tenancy.store.conditions import Equals, Missing
from services.tenancy.store.guards import claim, exchange, owner_of
from services.tenancy.store.items import (
    VERSION,
    ItemCodec,
    changes,
    integer,
    text,
    version_of,
    version_of_etag,
)
from services.tenancy.store.keys import PlatformScope, TenantScope
from services.tenancy.store.port import Put, Query, Remove, Set, Store, Update
from services.tenancy.store.values import Item
from services.tenancy.writing import NamedRequest, Write

ACTIVE, DELETED = pb.TENANT_STATUS_ACTIVE, pb.TENANT_STATUS_DELETED
TENANT = ItemCodec(pb.Tenant)
_PLATFORM = PlatformScope()


def name_of(tenant: str) -> str:
    """Give the resource name of a tenant."""
    return f"tenants/{tenant}"


def word_of(status: pb.TenantStatus.ValueType) -> str:
    """Give a status as errors name it, such as ``deleted``."""
    return pb.TenantStatus.Name(status).removeprefix("TENANT_STATUS_").lower()


class Tenants:
    """What is done with tenants."""

    def __init__(self, store: Store, clock: Clock, gate: Gate, limits: Mapping[str, int]) -> None:
        """``limits`` are those of a new tenant, by counter (``gate.COUNTERS``)."""
        self._store = store
        self._clock = clock
        self._gate = gate
        self._limits = limits

    async def create(self, given: pb.Tenant, tenant: str, request: NamedRequest) -> pb.Tenant:
        """Store a tenant; ResourceExists, TenantOffboarded, ValueTaken, FieldInvalid."""
        scope, name, now = TenantScope(tenant), name_of(tenant), self._clock.now()
        made = created(given, name, "tenant")
        made.status = ACTIVE
        made.create_time.CopyFrom(timestamp(now))
        made.update_time.CopyFrom(timestamp(now))
        item = tenant_item(made, 1)
        guard = claim(_PLATFORM.tenant_guard(made.tenant_name), tenant)
        write = request.remember(Write(self._store), name)
        write.add(Put(scope.tenant_key(), item, Missing()), lambda there: _taken(name, there))
        write.add(guard, lambda _there: ValueTaken("tenant.tenant_name"))
        write.add(opened(scope, self._limits), lambda _there: ResourceExists(name))
        await write.carry_out()
        return TENANT.message(item)

    async def get(self, tenant: str) -> pb.Tenant:
        """Give a tenant, a deleted one too; ResourceNotFound."""
        return TENANT.message(await self._item(tenant))

    async def lookup(self, tenant_name: str) -> pb.Tenant:
        """Give the tenant that people call so; ResourceNotFound."""
        owner = owner_of(await self._store.get(_PLATFORM.tenant_guard(tenant_name)))
        if not owner:
            raise ResourceNotFound("tenants/-", "no tenant is called so")
        return await self.get(owner)

    def listed(self, status: pb.TenantStatus.ValueType) -> Query:
        """Give the query of the tenants of a status."""
        return _PLATFORM.tenants(_status_key(status))

    async def update(
        self, given: pb.Tenant, paths: Sequence[str], request: NamedRequest
    ) -> pb.Tenant:
        """Change a tenant; ResourceNotFound, TenantInactive, EtagMismatch, ValueTaken."""
        tenant = tenant_in(given.name)
        before = await self._item(tenant)
        _require_etag(before, given.etag, given.name)
        _require(before, ACTIVE)
        made = updated(TENANT.message(before), given, paths, "tenant")
        made.update_time.CopyFrom(timestamp(self._clock.now()))
        write = request.remember(Write(self._store), given.name)
        after = self._change(write, before, made)
        names = (text(before, "tenant_name"), made.tenant_name)
        old, new = map(_PLATFORM.tenant_guard, names)
        write.extend(exchange(old, new, tenant), lambda _there: ValueTaken("tenant.tenant_name"))
        await write.carry_out()
        return TENANT.message(after)

    async def delete(self, tenant: str, etag: str, request: NamedRequest) -> pb.Tenant:
        """Close a tenant for 30 days; ResourceNotFound, TenantInactive, EtagMismatch."""
        before, now = await self._item(tenant), self._clock.now()
        _require_etag(before, etag, name_of(tenant))
        _require(before, ACTIVE)
        made = TENANT.message(before)
        made.status = DELETED
        made.update_time.CopyFrom(timestamp(now))
        made.delete_time.CopyFrom(timestamp(now))
        made.purge_time.CopyFrom(timestamp(purge_time(now)))
        write = request.remember(Write(self._store), made.name)
        after = self._change(write, before, made)
        closing = Update(TenantScope(tenant).quota(), [Set(CLOSED, word_of(DELETED))])
        write.add(closing, lambda _there: ResourceNotFound(made.name))
        await write.carry_out()
        self._gate.forget(tenant)
        return TENANT.message(after)

    async def undelete(self, tenant: str, etag: str, request: NamedRequest) -> pb.Tenant:
        """Open a deleted tenant again; ResourceNotFound, ResourceNotDeleted, EtagMismatch."""
        before, now = await self._item(tenant), self._clock.now()
        name = name_of(tenant)
        _require_etag(before, etag, name)
        made = TENANT.message(before)
        if made.status == ACTIVE:
            raise ResourceNotDeleted(name)
        if made.status != DELETED:
            raise TenantInactive(name, word_of(made.status))
        if integer(before, "purge_time") <= now:
            raise ResourceNotFound(name)
        made.status = ACTIVE
        made.update_time.CopyFrom(timestamp(now))
        made.ClearField("delete_time")
        made.ClearField("purge_time")
        write = request.remember(Write(self._store), name)
        after = self._change(write, before, made)
        opening = Update(TenantScope(tenant).quota(), [Remove(CLOSED)])
        write.add(opening, lambda _there: ResourceNotFound(name))
        await write.carry_out()
        return TENANT.message(after)

    async def quotas(self, tenant: str) -> pb.TenantQuotas:
        """Give what a tenant may have and has; ResourceNotFound."""
        item = await self._store.get(TenantScope(tenant).quota())
        if item is None:
            raise ResourceNotFound(f"{name_of(tenant)}/quotas")
        return CODEC.message(with_limits(item))

    async def update_quotas(
        self, given: pb.TenantQuotas, paths: Sequence[str], request: NamedRequest
    ) -> pb.TenantQuotas:
        """Change what a tenant may have; ResourceNotFound, TenantInactive."""
        tenant = quotas_tenant_in(given.name)
        scope, before = TenantScope(tenant), await self.quotas(tenant)
        made = updated(before, given, paths, "quotas")
        limits = [limit_of(counter) for counter in self._limits]
        write = request.remember(Write(self._store), given.name)
        # Counters move meanwhile: limits alone are written.
        setting = Update(
            scope.quota(),
            [Set(limit, getattr(made, limit)) for limit in limits],
            Missing(CLOSED),
        )
        write.add(setting, lambda there: self._gate.refusal(scope, there))
        await write.carry_out()
        self._gate.forget(tenant)
        return made

    async def _item(self, tenant: str) -> Item:
        item = await self._store.get(TenantScope(tenant).tenant_key())
        if item is None:
            raise ResourceNotFound(name_of(tenant))
        return item

    def _change(self, write: Write, before: Item, made: pb.Tenant) -> Item:
        version = version_of(before)
        after = tenant_item(made, version + 1)
        action = Update(
            TenantScope(text(before, "tenant_id")).tenant_key(),
            changes(before, after),
            Equals(VERSION, version),
        )
        write.add(action, lambda _there: EtagMismatch(made.name))
        return after


def tenant_item(made: pb.Tenant, version: int) -> Item:
    """Give the item of a tenant with its place among those of its status."""
    item = TENANT.item(made, version=version)
    key = _status_key(made.status)
    return item | _PLATFORM.by_status(key, integer(item, "create_time"), text(item, "tenant_id"))


def _status_key(status: pb.TenantStatus.ValueType) -> str:
    return word_of(status).upper()


def _require_etag(item: Item, etag: str, name: str) -> None:
    if etag and version_of_etag(etag) != version_of(item):
        raise EtagMismatch(name)


def _require(item: Item, status: pb.TenantStatus.ValueType) -> None:
    found = pb.TenantStatus.Value(text(item, "status"))
    if found != status:
        raise TenantInactive(name_of(text(item, "tenant_id")), word_of(found))


def _taken(name: str, there: Item | None) -> ResourceExists | TenantOffboarded:
    status = "" if there is None else text(there, "status")
    if status == pb.TenantStatus.Name(pb.TENANT_STATUS_OFFBOARDED):
        return TenantOffboarded(name)
    return ResourceExists(name)
