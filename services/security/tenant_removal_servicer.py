"""TenantRemovalService: tenants that are no longer served."""

from mesh.records.tenant_removal import RowsRemoval
from secmesh.rpc.v1.tenant_removal_pb2 import RemoveTenantRequest, RemoveTenantResponse
from secmesh.security.v1.tenant_removal_service_pb2_grpc import TenantRemovalServiceServicer


class TenantRemovalServicer(TenantRemovalServiceServicer):
    """Removes rows; tenant and permission were checked before."""

    def __init__(self, removal: RowsRemoval) -> None:
        self._removal = removal

    async def RemoveTenant(  # noqa: N802  # the contract's name
        self, request: RemoveTenantRequest, _context: object
    ) -> RemoveTenantResponse:
        """Remove or count; OwnerMissing, FieldInvalid."""
        return await self._removal.answer(request)
