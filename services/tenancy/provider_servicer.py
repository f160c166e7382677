"""ProviderService: the clouds that tenants have accounts in."""

from mesh.identifiers import new_uuid
from secmesh.tenancy.v1 import provider_pb2
from secmesh.tenancy.v1 import provider_service_pb2 as pb
from secmesh.tenancy.v1.provider_service_pb2_grpc import ProviderServiceServicer
from services.tenancy.listing import Listing
from services.tenancy.names import ids_in
from services.tenancy.parts import Parts
from services.tenancy.providers import COLLECTION, DELETED, PROVIDER

_PARENT = "tenants/"


class ProviderServicer(ProviderServiceServicer):
    """Between messages and what is done with providers."""

    # ruff: noqa: N802 - methods have the names of the contract

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._providers = parts.providers
        self._listing = Listing(parts.store, parts.clock, parts.pages)

    async def CreateProvider(
        self, request: pb.CreateProviderRequest, _context: object
    ) -> provider_pb2.Provider:
        """Store it; ResourceExists, ValueTaken, QuotaExceeded, TenantInactive, FieldInvalid."""
        tenant = request.parent.removeprefix(_PARENT)
        provider = request.provider_id or new_uuid()
        named = self._parts.named(tenant, request.request_id, request)
        return await named.once(
            lambda: self._providers.create(tenant, provider, request.provider, named), self._again
        )

    async def GetProvider(
        self, request: pb.GetProviderRequest, _context: object
    ) -> provider_pb2.Provider:
        """Give it; ResourceNotFound."""
        return await self._again(request.name)

    async def ListProviders(
        self, request: pb.ListProvidersRequest, _context: object
    ) -> pb.ListProvidersResponse:
        """Give a page of a tenant's; PageTokenInvalid."""
        tenant = request.parent.removeprefix(_PARENT)
        wanted, deleted = request.provider_type, request.show_deleted
        found, token = await self._listing.page(
            tenant,
            self._providers.listed(tenant),
            PROVIDER,
            request.page_size,
            request.page_token,
            lambda each: (
                (deleted or each.status != DELETED)
                and wanted in (provider_pb2.PROVIDER_TYPE_UNSPECIFIED, each.provider_type)
            ),
            str(deleted),
            str(wanted),
        )
        return pb.ListProvidersResponse(providers=found, next_page_token=token)

    async def UpdateProvider(
        self, request: pb.UpdateProviderRequest, _context: object
    ) -> provider_pb2.Provider:
        """Change it; ResourceDeleted, EtagMismatch, ValueTaken, MaskInvalid, FieldInvalid."""
        tenant, _ = ids_in(request.provider.name, COLLECTION)
        named = self._parts.named(tenant, request.request_id, request)
        paths = request.update_mask.paths
        return await named.once(
            lambda: self._providers.update(request.provider, paths, named), self._again
        )

    async def DeleteProvider(
        self, request: pb.DeleteProviderRequest, _context: object
    ) -> provider_pb2.Provider:
        """Delete it for 30 days; ResourceReferenced, ResourceDeleted, EtagMismatch."""
        tenant, provider = ids_in(request.name, COLLECTION)
        named = self._parts.named(tenant, request.request_id, request)
        return await named.once(
            lambda: self._providers.delete(tenant, provider, request.etag, named), self._again
        )

    async def UndeleteProvider(
        self, request: pb.UndeleteProviderRequest, _context: object
    ) -> provider_pb2.Provider:
        """Bring it back; ResourceNotDeleted, QuotaExceeded, EtagMismatch."""
        tenant, provider = ids_in(request.name, COLLECTION)
        named = self._parts.named(tenant, request.request_id, request)
        return await named.once(
            lambda: self._providers.undelete(tenant, provider, request.etag, named), self._again
        )

    async def _again(self, name: str) -> provider_pb2.Provider:
        return await self._providers.get(*ids_in(name, COLLECTION))
