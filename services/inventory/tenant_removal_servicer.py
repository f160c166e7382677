"""TenantRemovalService: tenants that are no longer served."""

from mesh.records.tenant_removal import RowsRemoval
from mesh.sql.backup.folder import BackupFolder
from mesh.sql.tenant_removal import TenantRemoval
from secmesh.inventory.v1.tenant_removal_service_pb2_grpc import TenantRemovalServiceServicer
from secmesh.rpc.v1.tenant_removal_pb2 import RemoveTenantRequest, RemoveTenantResponse
from services.inventory.collect.runner import SyncRunner


class TenantRemovalServicer(TenantRemovalServiceServicer):
    """Removes rows; tenant and permission were checked before."""

    def __init__(self, removal: TenantRemoval, folder: BackupFolder, runner: SyncRunner) -> None:
        self._removal = RowsRemoval(removal, folder, runner.end_all)

    async def RemoveTenant(  # noqa: N802  # the contract's name
        self, request: RemoveTenantRequest, _context: object
    ) -> RemoveTenantResponse:
        """End what is going on, then remove; FieldInvalid."""
        return await self._removal.answer(request)
