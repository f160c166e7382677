"""CredentialService: secrets of accounts, and sessions made by them."""

from mesh.contract.names import NamePattern
from mesh.errors import DependencyUnavailable, ResourceNotFound
from secmesh.tenancy.v1 import credential_pb2
from secmesh.tenancy.v1 import credential_service_pb2 as pb
from secmesh.tenancy.v1.credential_service_pb2_grpc import CredentialServiceServicer
from services.tenancy.credentials.access_log import ENTRY
from services.tenancy.credentials.access_retention import checkpoint_of
from services.tenancy.credentials.accesses import use_of_call
from services.tenancy.credentials.parts import CredentialParts
from services.tenancy.credentials.secret_text import secret_of, type_of_word
from services.tenancy.credentials.vending import Wanted
from services.tenancy.listing import Listing
from services.tenancy.retention import timestamp
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.pages import PageTokens
from services.tenancy.writing import Naming

_CREDENTIAL = NamePattern("tenants/{tenant}/accounts/{account}/credential")
_ACCOUNT = NamePattern("tenants/{tenant}/accounts/{account}")
_PARENT = "tenants/"
_LIFETIME_SECONDS = 900
_KEYS = "access-keys"


class CredentialServicer(CredentialServiceServicer):
    """Between messages and what is done with credentials."""

    # ruff: noqa: N802 - methods have the names of the contract

    def __init__(self, parts: CredentialParts, pages: PageTokens, named: Naming) -> None:
        self._named = named
        self._keeper = parts.keeper
        self._rotation = parts.rotation
        self._scheduled = parts.scheduled
        self._vendor = parts.vendor
        self._log = parts.log
        self._store = parts.store
        self._listing = Listing(parts.store, parts.clock, pages)

    async def StoreCredential(
        self, request: pb.StoreCredentialRequest, _context: object
    ) -> credential_pb2.Credential:
        """Store it; ResourceExists, ResourceDeleted, CredentialTypeUnfit, TooLarge."""
        tenant, account = _ids(_CREDENTIAL, request.name)
        secret = secret_of(request, request.metadata)
        named = self._named(tenant, request.request_id, request)
        return await self._keeper.store(tenant, account, secret, named, use_of_call())

    async def GetCredential(
        self, request: pb.GetCredentialRequest, _context: object
    ) -> credential_pb2.Credential:
        """Say what is known of it; ResourceNotFound."""
        return await self._keeper.describe(*_ids(_CREDENTIAL, request.name))

    async def RetrieveCredential(
        self, request: pb.RetrieveCredentialRequest, _context: object
    ) -> pb.RetrieveCredentialResponse:
        """Give the secret; ResourceNotFound, CredentialVersionUnfit, SecretStoreRefused."""
        tenant, account = _ids(_CREDENTIAL, request.name)
        use = use_of_call(request.purpose)
        found = await self._keeper.retrieve(tenant, account, request.version, use)
        return pb.RetrieveCredentialResponse(
            credential_type=type_of_word(found.secret.credential_type),
            credentials=found.secret.credentials,
            metadata=found.secret.metadata,
            version=found.version,
        )

    async def VendCredentials(
        self, request: pb.VendCredentialsRequest, _context: object
    ) -> pb.VendCredentialsResponse:
        """Give a session; AccountStatusUnfit, AccountEntryDenied, ProviderUnsupported."""
        tenant, account = _ids(_ACCOUNT, request.name)
        seconds = request.lifetime.seconds if request.HasField("lifetime") else _LIFETIME_SECONDS
        wanted = Wanted(seconds, tuple(request.actions), request.refused_access_key_id)
        use = use_of_call(request.purpose, request.execution_id)
        vended = await self._vendor.vend(tenant, account, wanted, use)
        keys = vended.session.keys
        return pb.VendCredentialsResponse(
            access_key_id=keys.access_key_id,
            secret_access_key=keys.secret_access_key,
            session_token=keys.session_token,
            expire_time=timestamp(vended.session.expires_at),
            cloud_account_id=vended.cloud_account_id,
            version=vended.version,
            federated=vended.session.federated,
        )

    async def ListCredentialVersions(
        self, request: pb.ListCredentialVersionsRequest, _context: object
    ) -> pb.ListCredentialVersionsResponse:
        """List them; ResourceNotFound."""
        credential = await self._keeper.describe(*_ids(_CREDENTIAL, request.name))
        return pb.ListCredentialVersionsResponse(versions=credential.versions)

    async def RotateCredential(
        self, request: pb.RotateCredentialRequest, _context: object
    ) -> credential_pb2.Credential:
        """Put another in place; CredentialRefused, CredentialRotating, EtagMismatch."""
        tenant, account = _ids(_CREDENTIAL, request.name)
        known = await self._keeper.describe(tenant, account)
        secret = secret_of(request, known.metadata)
        named = self._named(tenant, request.request_id, request)
        return await self._rotation.rotate(
            tenant,
            account,
            secret,
            request.etag,
            named,
            use_of_call(),
            untested=request.untested,
        )

    async def SetCredentialRotation(
        self, request: pb.SetCredentialRotationRequest, _context: object
    ) -> credential_pb2.Credential:
        """Have it change by itself; EtagMismatch, ProviderUnsupported."""
        tenant, account = _ids(_CREDENTIAL, request.name)
        if self._scheduled is None:
            raise DependencyUnavailable(_KEYS)
        return await self._scheduled.set_interval(
            tenant, account, request.interval_days, request.etag, use_of_call()
        )

    async def RollbackCredential(
        self, request: pb.RollbackCredentialRequest, _context: object
    ) -> credential_pb2.Credential:
        """Put an older version back; CredentialVersionUnfit, EtagMismatch."""
        tenant, account = _ids(_CREDENTIAL, request.name)
        return await self._keeper.roll_back(
            tenant, account, request.version, request.etag, use_of_call()
        )

    async def DeleteCredential(
        self, request: pb.DeleteCredentialRequest, _context: object
    ) -> credential_pb2.Credential:
        """Delete it for 30 days; EtagMismatch."""
        tenant, account = _ids(_CREDENTIAL, request.name)
        return await self._keeper.delete_credential(tenant, account, request.etag, use_of_call())

    async def UndeleteCredential(
        self, request: pb.UndeleteCredentialRequest, _context: object
    ) -> credential_pb2.Credential:
        """Bring it back; ResourceNotDeleted, ResourceDeleted, EtagMismatch."""
        tenant, account = _ids(_CREDENTIAL, request.name)
        return await self._keeper.undelete_credential(tenant, account, request.etag, use_of_call())

    async def ListCredentialAccesses(
        self, request: pb.ListCredentialAccessesRequest, _context: object
    ) -> pb.ListCredentialAccessesResponse:
        """List the newest first; PageTokenInvalid."""
        tenant = request.parent.removeprefix(_PARENT)
        query = self._log.listed(TenantScope(tenant))
        found, token = await self._listing.page(
            tenant, query, ENTRY, request.page_size, request.page_token, lambda _entry: True
        )
        # Read after the entries, of which it says which count no more.
        checkpoint = await checkpoint_of(self._store, TenantScope(tenant))
        if checkpoint is None:
            return pb.ListCredentialAccessesResponse(accesses=found, next_page_token=token)
        left = [each for each in found if each.number > checkpoint.number]
        return pb.ListCredentialAccessesResponse(
            accesses=left,
            next_page_token=token if len(left) == len(found) else "",
            checkpoint=checkpoint,
        )


def _ids(pattern: NamePattern, name: str) -> tuple[str, str]:
    ids = pattern.parse(name)
    if ids is None:
        raise ResourceNotFound(name)
    return ids[0], ids[1]
