"""TokenService: the issuer of the mesh."""

from collections.abc import Sequence

from google.protobuf.empty_pb2 import Empty

from mesh.contract.names import NamePattern
from mesh.errors import ResourceNotFound
from mesh.identifiers import new_uuid
from mesh.server.call import current_call
from secmesh.tenancy.v1 import service_credential_pb2, signing_key_pb2
from secmesh.tenancy.v1 import token_service_pb2 as pb
from secmesh.tenancy.v1.token_service_pb2_grpc import TokenServiceServicer
from services.tenancy.clock import MICROSECONDS
from services.tenancy.issuing.parts import IssuingParts
from services.tenancy.issuing.service_credentials import CREDENTIAL, Issued
from services.tenancy.issuing.tokens import ALGORITHM, Wanted
from services.tenancy.listing import Listing
from services.tenancy.retention import timestamp
from services.tenancy.store.pages import PageTokens
from services.tenancy.writing import Naming

_NAME = NamePattern("tenants/{tenant}/serviceCredentials/{service_credential}")
_PARENT = "tenants/"
_BEARER = "Bearer"


class TokenServicer(TokenServiceServicer):
    """Between messages and what is done with credentials, tokens and keys."""

    # ruff: noqa: N802 - methods have the names of the contract

    def __init__(self, parts: IssuingParts, pages: PageTokens, named: Naming) -> None:
        self._named = named
        self._clock = parts.clock
        self._credentials = parts.credentials
        self._tokens = parts.tokens
        self._keys = parts.keys
        self._listing = Listing(parts.store, parts.clock, pages)

    async def IssueToken(
        self, request: pb.IssueTokenRequest, _context: object
    ) -> pb.IssueTokenResponse:
        """Give a token; ClientCredentialsInvalid, -Expired, ScopeExceeded, AudienceUnknown."""
        wanted = Wanted(
            request.client_id,
            request.client_secret,
            request.scope,
            tuple(request.tenants),
            request.audience,
        )
        made = await self._tokens.issue(wanted)
        left = made.expires_at - self._clock.now() // MICROSECONDS
        return pb.IssueTokenResponse(
            access_token=made.text,
            token_type=_BEARER,
            expires_in=left,
            expire_time=timestamp(made.expires_at * MICROSECONDS),
            scope=made.scope,
        )

    async def GetKeySet(self, _request: pb.GetKeySetRequest, _context: object) -> pb.JsonWebKeySet:
        """Give the public keys."""
        return pb.JsonWebKeySet(keys=[_jwk(each) for each in await self._keys.published()])

    async def CreateServiceCredential(
        self, request: pb.CreateServiceCredentialRequest, _context: object
    ) -> pb.IssuedServiceCredential:
        """Make one; ResourceExists, ScopeExceeded, QuotaExceeded, TenantInactive, FieldInvalid."""
        tenant = request.parent.removeprefix(_PARENT)
        credential = request.service_credential_id or new_uuid()
        by, given = current_call().caller, request.service_credential
        named = self._named(tenant, request.request_id, request)

        async def make() -> pb.IssuedServiceCredential:
            return _issued(await self._credentials.create(tenant, credential, given, by, named))

        return await named.once(make, self._again)

    async def GetServiceCredential(
        self, request: pb.GetServiceCredentialRequest, _context: object
    ) -> service_credential_pb2.ServiceCredential:
        """Give it; ResourceNotFound."""
        return await self._credentials.get(*_ids(request.name))

    async def ListServiceCredentials(
        self, request: pb.ListServiceCredentialsRequest, _context: object
    ) -> pb.ListServiceCredentialsResponse:
        """Give a page of a tenant's; PageTokenInvalid."""
        tenant = request.parent.removeprefix(_PARENT)
        found, token = await self._listing.page(
            tenant,
            self._credentials.listed(tenant),
            CREDENTIAL,
            request.page_size,
            request.page_token,
            lambda _each: True,
        )
        for each in found:
            each.state = self._credentials.state_of(each)
        return pb.ListServiceCredentialsResponse(service_credentials=found, next_page_token=token)

    async def RotateServiceCredential(
        self, request: pb.RotateServiceCredentialRequest, _context: object
    ) -> pb.IssuedServiceCredential:
        """Give another secret; ResourceNotFound, ServiceCredentialRevoked, EtagMismatch."""
        tenant, credential = _ids(request.name)
        by, seconds = current_call().caller, request.overlap_seconds
        named = self._named(tenant, request.request_id, request)

        async def rotate() -> pb.IssuedServiceCredential:
            return _issued(
                await self._credentials.rotate(tenant, credential, seconds, request.etag, by, named)
            )

        return await named.once(rotate, self._again)

    async def RevokeServiceCredential(
        self, request: pb.RevokeServiceCredentialRequest, _context: object
    ) -> service_credential_pb2.ServiceCredential:
        """End it; ResourceNotFound, EtagMismatch."""
        return await self._credentials.revoke(*_ids(request.name), request.etag)

    async def DeleteServiceCredential(
        self, request: pb.DeleteServiceCredentialRequest, _context: object
    ) -> Empty:
        """Remove it; ResourceNotFound, EtagMismatch."""
        await self._credentials.delete(*_ids(request.name), request.etag)
        return Empty()

    async def ListSigningKeys(
        self, _request: pb.ListSigningKeysRequest, _context: object
    ) -> pb.ListSigningKeysResponse:
        """Give the keys of the issuer."""
        return _listed(await self._keys.published())

    async def RotateSigningKey(
        self, _request: pb.RotateSigningKeyRequest, _context: object
    ) -> pb.ListSigningKeysResponse:
        """Publish the next key."""
        return _listed(await self._keys.rotate())

    async def RevokeSigningKey(
        self, request: pb.RevokeSigningKeyRequest, _context: object
    ) -> pb.ListSigningKeysResponse:
        """Take a key out of use; SigningKeyUnknown."""
        return _listed(await self._keys.revoke(request.kid))

    async def _again(self, name: str) -> pb.IssuedServiceCredential:
        """Give what is known of a credential; its secret went out with the first answer."""
        known = await self._credentials.get(*_ids(name))
        return pb.IssuedServiceCredential(service_credential=known)


def _ids(name: str) -> tuple[str, str]:
    ids = _NAME.parse(name)
    if ids is None:
        raise ResourceNotFound(name)
    tenant, credential = ids
    return tenant, credential


def _issued(issued: Issued) -> pb.IssuedServiceCredential:
    return pb.IssuedServiceCredential(
        service_credential=issued.credential, client_secret=issued.secret
    )


def _listed(keys: Sequence[signing_key_pb2.SigningKey]) -> pb.ListSigningKeysResponse:
    return pb.ListSigningKeysResponse(signing_keys=keys)


def _jwk(key: signing_key_pb2.SigningKey) -> signing_key_pb2.JsonWebKey:
    return signing_key_pb2.JsonWebKey(
        kty="EC", crv="P-256", x=key.x, y=key.y, kid=key.kid, use="sig", alg=ALGORITHM
    )
