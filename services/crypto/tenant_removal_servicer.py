"""TenantRemovalService: tenants that are no longer served."""

from collections.abc import Iterator

from google.protobuf.timestamp_pb2 import Timestamp

from mesh.server.tenant_removal import (
    REMOVAL_SECONDS,
    closed_tenant,
    confirmed_tenant,
    tenant_rows,
)
from mesh.sql.removed_tenants import NAME as REMOVED
from secmesh.crypto.v1.tenant_removal_service_pb2_grpc import TenantRemovalServiceServicer
from secmesh.rpc.v1.tenant_removal_pb2 import (
    RemoveTenantRequest,
    RemoveTenantResponse,
    TenantRemainder,
)
from services.crypto.erasure.tenant_removal import Shredded, TenantShredding

_WHY = {
    "erasures": "certificates, which keep those who were erased from coming back; also in the "
    "second place of the audit",
    "encryption_audit": "names pseudonyms alone; leaves by the audit's retention, its checkpoints "
    "outside of the database by theirs",
    "users_change_log": "names pseudonyms in the place of persons",
    "key_rotation_log": "tells which keys were rotated when",
    "user_imports": "tells how many persons were imported",
    "tenant_keys": "versions without their keys, which keep new ones from being made",
}
_KEYS = "versions without their keys"
_BACKUPS = (
    "backups of the database hold wrapped keys for as long as they are kept; after a restore "
    "replay erasures, and remove the tenant once more"
)


class TenantRemovalServicer(TenantRemovalServiceServicer):
    """Shreds tenants; tenant and permission were checked before."""

    def __init__(self, shredding: TenantShredding) -> None:
        self._shredding = shredding

    async def RemoveTenant(  # noqa: N802  # the contract's name
        self, request: RemoveTenantRequest, _context: object
    ) -> RemoveTenantResponse:
        """Shred or count; FieldInvalid, DependencyUnavailable if the audit cannot be told."""
        tenant = confirmed_tenant(request)
        if request.validate_only:
            done = await self._shredding.count(tenant)
        else:
            done = await self._shredding.remove(tenant, REMOVAL_SECONDS)
        return RemoveTenantResponse(
            removed=tenant_rows(done.removed),
            remaining=tenant_rows(done.remaining),
            remainders=_remainders(done),
            done=done.settled and not done.remaining,
        )


def _remainders(done: Shredded) -> Iterator[TenantRemainder]:
    for name in sorted(done.kept):
        if name == REMOVED:
            yield closed_tenant()
            continue
        yield TenantRemainder(place=name, number=done.kept[name], note=_WHY.get(name, _KEYS))
    there = done.remaining or done.kept.keys() - {REMOVED}
    if done.backups_until is not None and there:
        until = Timestamp()
        until.FromDatetime(done.backups_until)
        yield TenantRemainder(place="backups", until=until, note=_BACKUPS)
