"""ApiKeyService: keys by which programs call the gateway, and what gateways ask about them."""

from mesh.server.call import current_call
from secmesh.tenancy.v1 import api_key_pb2
from secmesh.tenancy.v1 import api_key_service_pb2 as pb
from secmesh.tenancy.v1.api_key_service_pb2_grpc import ApiKeyServiceServicer
from services.tenancy.api_keys import API_KEY, COLLECTION, shown
from services.tenancy.listing import Listing
from services.tenancy.names import ids_in
from services.tenancy.parts import Parts

_PARENT = "tenants/"


class ApiKeyServicer(ApiKeyServiceServicer):
    """Between messages and what is done with API keys."""

    # ruff: noqa: N802 - methods have the names of the contract

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._keys = parts.api_keys
        self._listing = Listing(parts.store, parts.clock, parts.pages)

    async def CreateApiKey(
        self, request: pb.CreateApiKeyRequest, _context: object
    ) -> pb.CreateApiKeyResponse:
        """Make it; FieldInvalid, ScopeExceeded, QuotaExceeded, TenantInactive."""
        tenant = request.parent.removeprefix(_PARENT)
        named = self._parts.named(tenant, request.request_id, request)
        caller = current_call().caller

        async def make() -> pb.CreateApiKeyResponse:
            made, key = await self._keys.create(tenant, request.api_key, caller, named)
            return pb.CreateApiKeyResponse(api_key=made, key_text=key.text())

        async def again(name: str) -> pb.CreateApiKeyResponse:
            return pb.CreateApiKeyResponse(api_key=await self._again(name))

        return await named.once(make, again)

    async def GetApiKey(self, request: pb.GetApiKeyRequest, _context: object) -> api_key_pb2.ApiKey:
        """Give what is known of it; ResourceNotFound."""
        return await self._again(request.name)

    async def ListApiKeys(
        self, request: pb.ListApiKeysRequest, _context: object
    ) -> pb.ListApiKeysResponse:
        """Give a page of a tenant's; PageTokenInvalid."""
        tenant, revoked = request.parent.removeprefix(_PARENT), request.show_revoked
        found, token = await self._listing.page(
            tenant,
            self._keys.listed(tenant),
            API_KEY,
            request.page_size,
            request.page_token,
            lambda each: revoked or not each.HasField("revoke_time"),
            str(revoked),
        )
        now = self._parts.clock.now()
        told = [shown(each, now) for each in found]
        return pb.ListApiKeysResponse(api_keys=told, next_page_token=token)

    async def UpdateApiKey(
        self, request: pb.UpdateApiKeyRequest, _context: object
    ) -> api_key_pb2.ApiKey:
        """Change it; ApiKeyRevoked, EtagMismatch, MaskInvalid, FieldInvalid, TenantInactive."""
        tenant, _ = ids_in(request.api_key.name, COLLECTION)
        named = self._parts.named(tenant, request.request_id, request)
        paths = request.update_mask.paths
        return await named.once(
            lambda: self._keys.update(request.api_key, paths, named), self._again
        )

    async def RevokeApiKey(
        self, request: pb.RevokeApiKeyRequest, _context: object
    ) -> api_key_pb2.ApiKey:
        """End it for good; ResourceNotFound, EtagMismatch, TenantInactive."""
        tenant, api_key = ids_in(request.name, COLLECTION)
        named = self._parts.named(tenant, request.request_id, request)
        return await named.once(
            lambda: self._keys.revoke(tenant, api_key, request.etag, named), self._again
        )

    async def ResolveApiKey(
        self, request: pb.ResolveApiKeyRequest, _context: object
    ) -> pb.ResolveApiKeyResponse:
        """Tell what it is good for."""
        return await self._keys.resolve(request.key_id, request.secret_sha256)

    async def _again(self, name: str) -> api_key_pb2.ApiKey:
        return await self._keys.get(*ids_in(name, COLLECTION))
