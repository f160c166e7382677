"""TenantRemovalService: tenants that are no longer served."""

import asyncio

from mesh.contract.names import tenant_of
from mesh.records.tenant_removal import RowsRemoval
from mesh.server.tenant_removal import confirmed_tenant
from secmesh.inventory.v1.tenant_removal_service_pb2_grpc import TenantRemovalServiceServicer
from secmesh.rpc.v1.tenant_removal_pb2 import RemoveTenantRequest, RemoveTenantResponse
from services.inventory.collect.runner import SyncRunner
from services.inventory.errors import SyncEnded
from services.inventory.sync_store import SyncStore

_LOOKS, _PAUSE = 50, 0.2
"""How often, and after how many seconds, runs that were cancelled are looked at."""


class TenantRemovalServicer(TenantRemovalServiceServicer):
    """Removes rows; tenant and permission were checked before."""

    def __init__(self, removal: RowsRemoval, runner: SyncRunner, syncs: SyncStore) -> None:
        self._removal = removal
        self._runner = runner
        self._syncs = syncs

    async def RemoveTenant(  # noqa: N802  # the contract's name
        self, request: RemoveTenantRequest, _context: object
    ) -> RemoveTenantResponse:
        """End what is going on, then remove; FieldInvalid."""
        confirmed_tenant(request)
        if not request.validate_only:
            await self._end_runs(tenant_of(request.name) or "")
        return await self._removal.answer(request)

    async def _end_runs(self, tenant: str) -> None:
        """Cancel runs, and wait a while: what they still write is removed with all else."""
        for _ in range(_LOOKS):
            running = await self._syncs.running(tenant)
            if not running:
                return
            for each in running:
                try:
                    await self._runner.cancel(each.name)
                except SyncEnded:
                    continue
            await asyncio.sleep(_PAUSE)
