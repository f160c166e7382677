"""What is told of a tenant that leaves, kept beside the trace that its id was used."""

from collections.abc import Sequence

from mesh.errors import ResourceNotFound
from mesh.server.call import find_current_call
from secmesh.tenancy.v1 import tenant_offboarding_pb2 as pb
from services.tenancy.clock import Clock
from services.tenancy.errors import WritesCollided
from services.tenancy.other_stores import is_left
from services.tenancy.retention import timestamp
from services.tenancy.store.conditions import Equals, Missing
from services.tenancy.store.items import VERSION, ItemCodec, version_of
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.port import ConditionFailed, Put, Store

_CODEC = ItemCodec(pb.TenantOffboarding)
_TRIES = 8
"""Two calls may tell at once."""


class Closing:
    """Reads and writes what is told, one of each tenant."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def get(self, tenant: str) -> pb.TenantOffboarding:
        """Give it; ResourceNotFound if the tenant does not leave."""
        found = await self._found(TenantScope(tenant))
        if found is None:
            raise ResourceNotFound(name_of(tenant))
        return found[0]

    async def begin(self, tenant: str, *, shred: bool) -> None:
        """Note who wants it, unless somebody did before."""
        scope, now = TenantScope(tenant), timestamp(self._clock.now())
        call = find_current_call()
        made = pb.TenantOffboarding(
            name=name_of(tenant),
            requested_by=call.caller.subject if call is not None else "",
            shred=shred,
            create_time=now,
            update_time=now,
        )
        try:
            await self._store.write(Put(scope.offboarding(), _CODEC.item(made), Missing()))
        except ConditionFailed:
            return

    async def tell(self, tenant: str, stores: Sequence[pb.OffboardedStore]) -> pb.TenantOffboarding:
        """Add what one call did to what was told before; WritesCollided."""
        scope = TenantScope(tenant)
        for _ in range(_TRIES):
            found = await self._found(scope)
            if found is None:
                raise ResourceNotFound(name_of(tenant))
            made, version = found
            self._add(made, stores)
            item = _CODEC.item(made, version=version + 1)
            try:
                await self._store.write(Put(scope.offboarding(), item, Equals(VERSION, version)))
            except ConditionFailed:
                continue
            return made
        raise WritesCollided

    def _add(self, made: pb.TenantOffboarding, stores: Sequence[pb.OffboardedStore]) -> None:
        known = {each.store: each for each in made.stores}
        for each in stores:
            if (before := known.get(each.store)) is None:
                made.stores.add().CopyFrom(each)
                continue
            removed = before.removed + each.removed
            if not self._leaves_still(before, each):
                before.CopyFrom(each)
            before.removed = removed
        made.update_time.CopyFrom(timestamp(self._clock.now()))
        if not all(is_left(each) for each in made.stores):
            made.ClearField("complete_time")
        elif not made.HasField("complete_time"):
            made.complete_time.CopyFrom(made.update_time)

    def _leaves_still(self, before: pb.OffboardedStore, after: pb.OffboardedStore) -> bool:
        """Tell whether what was told to leave is no longer seen, and is still there."""
        seen = after.state != pb.OFFBOARDED_STATE_REMOVED
        until = before.remains_until.ToMicroseconds()
        return not seen and before.HasField("remains_until") and until > self._clock.now()

    async def _found(self, scope: TenantScope) -> tuple[pb.TenantOffboarding, int] | None:
        item = await self._store.get(scope.offboarding())
        return None if item is None else (_CODEC.message(item), version_of(item))


def name_of(tenant: str) -> str:
    """Give the resource name of what is told of a tenant that leaves."""
    return f"tenants/{tenant}/offboarding"
