"""TenantService: who is served, and how much each may have."""

from mesh.contract.names import tenant_of
from secmesh.tenancy.v1 import tenant_offboarding_pb2 as offboarding_pb2
from secmesh.tenancy.v1 import tenant_pb2
from secmesh.tenancy.v1 import tenant_service_pb2 as pb
from secmesh.tenancy.v1.tenant_service_pb2_grpc import TenantServiceServicer
from services.tenancy.listing import Listing
from services.tenancy.names import quotas_tenant_in, tenant_in
from services.tenancy.parts import Parts
from services.tenancy.tenants import TENANT

_PLATFORM = "-"
"""Stands in page tokens where else a tenant does; no tenant's id."""


class TenantServicer(TenantServiceServicer):
    """Between messages and what is done with tenants."""

    # ruff: noqa: N802 - methods have the names of the contract

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._tenants = parts.tenants
        self._listing = Listing(parts.store, parts.clock, parts.pages)

    async def CreateTenant(
        self, request: pb.CreateTenantRequest, _context: object
    ) -> tenant_pb2.Tenant:
        """Store it; ResourceExists, TenantOffboarded, ValueTaken, FieldInvalid."""
        tenant = request.tenant_id
        named = self._parts.named(tenant, request.request_id, request)
        return await named.once(
            lambda: self._tenants.create(request.tenant, tenant, named), self._again
        )

    async def GetTenant(self, request: pb.GetTenantRequest, _context: object) -> tenant_pb2.Tenant:
        """Give it; ResourceNotFound."""
        return await self._again(request.name)

    async def ListTenants(
        self, request: pb.ListTenantsRequest, _context: object
    ) -> pb.ListTenantsResponse:
        """Give a page of those of a status; PageTokenInvalid."""
        query = self._tenants.listed(request.status or tenant_pb2.TENANT_STATUS_ACTIVE)
        found, token = await self._listing.page(
            _PLATFORM, query, TENANT, request.page_size, request.page_token, lambda _: True
        )
        return pb.ListTenantsResponse(tenants=found, next_page_token=token)

    async def LookupTenant(
        self, request: pb.LookupTenantRequest, _context: object
    ) -> tenant_pb2.Tenant:
        """Give the one that people call so; ResourceNotFound."""
        return await self._tenants.lookup(request.tenant_name)

    async def UpdateTenant(
        self, request: pb.UpdateTenantRequest, _context: object
    ) -> tenant_pb2.Tenant:
        """Change it; TenantInactive, EtagMismatch, ValueTaken, MaskInvalid, FieldInvalid."""
        named = self._parts.named(tenant_in(request.tenant.name), request.request_id, request)
        paths = request.update_mask.paths
        return await named.once(
            lambda: self._tenants.update(request.tenant, paths, named), self._again
        )

    async def DeleteTenant(
        self, request: pb.DeleteTenantRequest, _context: object
    ) -> tenant_pb2.Tenant:
        """Close it; TenantInactive, EtagMismatch."""
        tenant = tenant_in(request.name)
        named = self._parts.named(tenant, request.request_id, request)
        return await named.once(
            lambda: self._tenants.delete(tenant, request.etag, named), self._again
        )

    async def UndeleteTenant(
        self, request: pb.UndeleteTenantRequest, _context: object
    ) -> tenant_pb2.Tenant:
        """Open it again; ResourceNotDeleted, EtagMismatch."""
        tenant = tenant_in(request.name)
        named = self._parts.named(tenant, request.request_id, request)
        return await named.once(
            lambda: self._tenants.undelete(tenant, request.etag, named), self._again
        )

    async def OffboardTenant(
        self, request: offboarding_pb2.OffboardTenantRequest, _context: object
    ) -> offboarding_pb2.TenantOffboarding:
        """Remove it for good; refused as ``Offboarding.offboard``."""
        tenant, offboarding = tenant_in(request.name), self._parts.offboarding
        if request.validate_only:
            return await offboarding.plan(tenant)
        return await offboarding.offboard(tenant, request.confirm_tenant_id, shred=request.shred)

    async def GetTenantOffboarding(
        self, request: offboarding_pb2.GetTenantOffboardingRequest, _context: object
    ) -> offboarding_pb2.TenantOffboarding:
        """Give how it leaves; ResourceNotFound."""
        return await self._parts.offboarding.told(tenant_of(request.name) or "")

    async def GetTenantQuotas(
        self, request: pb.GetTenantQuotasRequest, _context: object
    ) -> tenant_pb2.TenantQuotas:
        """Give what it may have and has; ResourceNotFound."""
        return await self._quotas(request.name)

    async def UpdateTenantQuotas(
        self, request: pb.UpdateTenantQuotasRequest, _context: object
    ) -> tenant_pb2.TenantQuotas:
        """Change what it may have; ResourceNotFound, TenantInactive, MaskInvalid."""
        named = self._parts.named(
            quotas_tenant_in(request.quotas.name), request.request_id, request
        )
        paths = request.update_mask.paths
        return await named.once(
            lambda: self._tenants.update_quotas(request.quotas, paths, named), self._quotas
        )

    async def _again(self, name: str) -> tenant_pb2.Tenant:
        return await self._tenants.get(tenant_in(name))

    async def _quotas(self, name: str) -> tenant_pb2.TenantQuotas:
        return await self._tenants.quotas(quotas_tenant_in(name))
