"""What services that keep rows answer to who removes a tenant."""

from collections.abc import Mapping

from google.protobuf.timestamp_pb2 import Timestamp

from mesh.server.tenant_removal import REMOVAL_SECONDS, confirmed_tenant, tenant_rows
from mesh.sql.backup.folder import BackupFolder
from mesh.sql.tenant_removal import TenantRemoval
from secmesh.rpc.v1.tenant_removal_pb2 import (
    RemoveTenantRequest,
    RemoveTenantResponse,
    TenantRemainder,
)


class RowsRemoval:
    """Removes the rows of tenants, and tells of the backups that hold them still."""

    def __init__(self, removal: TenantRemoval, folder: BackupFolder) -> None:
        self._removal = removal
        self._folder = folder

    async def answer(self, request: RemoveTenantRequest) -> RemoveTenantResponse:
        """Remove or count; OwnerMissing, FieldInvalid."""
        tenant = confirmed_tenant(request)
        answer = RemoveTenantResponse()
        if request.validate_only:
            remaining: Mapping[str, int] = await self._removal.count(tenant)
        else:
            done = await self._removal.remove(tenant, REMOVAL_SECONDS)
            remaining = done.remaining
            answer.removed.extend(tenant_rows(done.removed))
        answer.remaining.extend(tenant_rows(remaining))
        answer.done = not remaining
        if backups := self._backups():
            answer.remainders.append(backups)
        return answer

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
