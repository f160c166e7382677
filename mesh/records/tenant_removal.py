"""What services that keep rows answer to who removes a tenant."""

from collections.abc import Awaitable, Callable, Mapping

from google.protobuf.timestamp_pb2 import Timestamp

from mesh.server.tenant_removal import (
    REMOVAL_SECONDS,
    closed_tenant,
    confirmed_tenant,
    tenant_rows,
)
from mesh.sql.backup.folder import BackupFolder
from mesh.sql.tenant_removal import TenantRemoval
from secmesh.rpc.v1.tenant_removal_pb2 import (
    RemoveTenantRequest,
    RemoveTenantResponse,
    TenantRemainder,
)


class RowsRemoval:
    """Refuses tenants, removes their rows, and tells of the backups that hold them still."""

    def __init__(
        self,
        removal: TenantRemoval,
        folder: BackupFolder,
        end: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        """``end`` ends what goes on in a tenant; nothing more is begun in it by then."""
        self._removal = removal
        self._folder = folder
        self._end = end

    async def answer(self, request: RemoveTenantRequest) -> RemoveTenantResponse:
        """Remove or count; OwnerMissing, FieldInvalid."""
        tenant = confirmed_tenant(request)
        answer = RemoveTenantResponse()
        settled = True
        if request.validate_only:
            remaining: Mapping[str, int] = await self._removal.count(tenant)
        else:
            settled = await self._close(tenant)
            done = await self._removal.remove(tenant, REMOVAL_SECONDS)
            remaining = done.remaining
            answer.removed.extend(tenant_rows(done.removed))
        answer.remaining.extend(tenant_rows(remaining))
        answer.done = settled and not remaining
        if await self._removal.is_closed(tenant):
            answer.remainders.append(closed_tenant())
        if backups := self._backups():
            answer.remainders.append(backups)
        return answer

    async def _close(self, tenant: str) -> bool:
        """Refuse a tenant first of all; False if someone still writes in it."""
        closing = self._removal.closing
        await closing.close(tenant)
        if self._end is not None:
            await self._end(tenant)
        return await closing.settle(tenant, REMOVAL_SECONDS)

    def _backups(self) -> TenantRemainder | None:
        found = self._folder.all()
        if not found:
            return None
        newest = Timestamp()
        newest.FromMicroseconds(found[0].created)
        note = (
            "backups of the whole store, which hold what there was of the tenant when they were "
            f"made, the newest at {newest.ToJsonString()}; delete them, and after a restore "
            "remove the tenant once more"
        )
        return TenantRemainder(place="backups", number=len(found), note=note)
