"""Tokens for service credentials (RFC 6749, 4.4; their claims as RFC 9068 has them)."""

import hmac
import uuid
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt

from mesh.errors import FieldInvalid
from mesh.identity.attempts import Attempts
from mesh.identity.roles import ROLES
from mesh.identity.token import MAX_TOKEN_CHARS, service_audience
from secmesh.tenancy.v1 import service_credential_pb2 as pb
from services.tenancy.clock import MICROSECONDS, Clock
from services.tenancy.errors import (
    AudienceUnknown,
    ClientAttemptsExceeded,
    ClientCredentialsExpired,
    ClientCredentialsInvalid,
    ScopeExceeded,
)
from services.tenancy.gate import CLOSED, Gate
from services.tenancy.issuing.client_secret import digest_of, is_client_secret, matches
from services.tenancy.issuing.key_ring import TOKEN_SECONDS
from services.tenancy.issuing.scopes import exceeding, parse_scope, patterns_of
from services.tenancy.issuing.service_credentials import (
    ALL_TENANTS,
    EXPIRED,
    PREVIOUS_SECRET,
    REVOKED,
    SECRET,
    ServiceCredentials,
)
from services.tenancy.issuing.signing_keys import SigningKeys
from services.tenancy.store.items import text
from services.tenancy.store.keys import KeyInvalid, TenantScope
from services.tenancy.store.port import Store
from services.tenancy.store.values import Item

ALGORITHM = "ES256"
TYPE = "at+jwt"
"""RFC 9068, 2.1."""
_MAX_PROVEN = 10_000


@dataclass(frozen=True)
class Wanted:
    """What a token is asked for."""

    client_id: str
    client_secret: str = field(repr=False)
    scope: str = ""
    tenants: tuple[str, ...] = ()
    audience: str = ""


@dataclass(frozen=True)
class Token:
    """A token that was made."""

    text: str = field(repr=False)
    expires_at: int
    """Seconds since 1970."""
    scope: str


class Tokens:
    """Makes tokens of five minutes."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        gate: Gate,
        credentials: ServiceCredentials,
        keys: SigningKeys,
        *,
        issuer: str,
        audience: str,
        services: Collection[str],
    ) -> None:
        """Sign as ``issuer``, for the mesh's ``audience`` or one of its ``services``."""
        self._store = store
        self._clock = clock
        self._gate = gate
        self._credentials = credentials
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._services = services
        self._attempts = Attempts(lambda: clock.now() / MICROSECONDS)
        self._proven: OrderedDict[str, str] = OrderedDict()
        """Digests of the secrets that were right of late, by client."""

    async def issue(self, wanted: Wanted) -> Token:
        """Make a token.

        Raises ClientCredentialsInvalid, ClientCredentialsExpired, ClientAttemptsExceeded,
        ScopeExceeded, AudienceUnknown, FieldInvalid and TenantInactive.
        """
        credential, tenant = await self._proved(wanted)
        rights = self._rights(credential, wanted)
        claims = self._claims(credential, tenant, wanted, rights)
        signer = await self._keys.signer()
        headers = {"kid": signer.kid, "typ": TYPE}
        made = jwt.encode(claims, signer.private, ALGORITHM, headers=headers)
        if len(made) > MAX_TOKEN_CHARS:
            raise FieldInvalid.of("tenants", "are too many for one token", "TOO_LONG")
        return Token(made, claims["exp"], wanted.scope)

    async def _proved(self, wanted: Wanted) -> tuple[pb.ServiceCredential, str]:
        client, digest = wanted.client_id, digest_of(wanted.client_secret)
        proven = hmac.compare_digest(self._proven.get(client, ""), digest)
        # Who was let in lately is not shut out by whoever guesses at his secret.
        if not proven and (wait := self._attempts.wait_seconds(client)):
            raise ClientAttemptsExceeded(wait)
        found = await self._found(client, wanted.client_secret)
        credential = None if found is None else self._matching(found[0], digest)
        if found is None or credential is None:
            if proven:
                del self._proven[client]
            self._attempts.note(client)
            raise ClientCredentialsInvalid
        if credential.state == EXPIRED:
            raise ClientCredentialsExpired
        tenant, gate = found[1], found[2]
        if gate is None or CLOSED in gate:
            raise self._gate.refusal(TenantScope(tenant), gate)
        self._prove(client, digest)
        return credential, tenant

    async def _found(self, client: str, secret: str) -> tuple[Item, str, Item | None] | None:
        """Give the item of a client, its tenant, and the tenant's gate; None for no client."""
        tenant, _, credential = client.partition(".")
        if not is_client_secret(secret):
            return None
        try:
            scope = TenantScope(tenant)
            keys = [scope.service_credential(credential), scope.quota()]
        except KeyInvalid:
            return None
        item, gate = await self._store.get_many(keys)
        return None if item is None else (item, tenant, gate)

    def _matching(self, item: Item, digest: str) -> pb.ServiceCredential | None:
        made = self._credentials.message(item)
        if made.state == REVOKED:
            return None
        if matches(digest, text(item, SECRET)):
            return made
        ends = made.previous_secret_end_time.ToMicroseconds()
        overlaps = made.HasField("previous_secret_end_time") and self._clock.now() < ends
        return made if overlaps and matches(digest, text(item, PREVIOUS_SECRET)) else None

    def _prove(self, client: str, digest: str) -> None:
        self._proven[client] = digest
        self._proven.move_to_end(client)
        if len(self._proven) > _MAX_PROVEN:
            self._proven.popitem(last=False)

    def _rights(self, credential: pb.ServiceCredential, wanted: Wanted) -> Mapping[str, Any]:
        """Give the claims of what the token allows: all of the credential, or the scope's part."""
        scope = parse_scope(wanted.scope)
        if scope is None:
            raise FieldInvalid.of("scope", "holds what is no permission pattern", "INVALID")
        tenants = set(wanted.tenants)
        if ALL_TENANTS not in credential.tenants:
            own = set(credential.tenants) | {credential.name.split("/")[1]}
            if beyond := tenants - own:
                raise ScopeExceeded(f"tenants/{min(beyond)}")
            tenants = tenants or set(credential.tenants)
        rights: dict[str, Any] = {
            "roles": sorted(credential.roles),
            "permissions": sorted(credential.permissions),
        }
        if scope:
            # A role that is no more gives nothing; the token of one would be refused.
            held = patterns_of(rights["roles"], rights["permissions"], ROLES)
            if exceeded := exceeding(scope, held):
                raise ScopeExceeded(exceeded)
            rights = {"roles": [], "permissions": sorted(scope)}
        if tenants:
            rights["tenants"] = sorted(tenants)
        if credential.methods:
            rights["methods"] = sorted(credential.methods)
        return rights

    def _claims(
        self,
        credential: pb.ServiceCredential,
        tenant: str,
        wanted: Wanted,
        rights: Mapping[str, Any],
    ) -> dict[str, Any]:
        if wanted.audience and wanted.audience not in self._services:
            raise AudienceUnknown(wanted.audience)
        now = self._clock.now() // MICROSECONDS
        # Not beyond the credential itself.
        ends = min(now + TOKEN_SECONDS, credential.expire_time.seconds)
        return {
            "iss": self._issuer,
            "aud": service_audience(self._audience, wanted.audience),
            "sub": f"service:{credential.client_id}",
            "client_id": credential.client_id,
            "tenant": tenant,
            "iat": now,
            "nbf": now,
            "exp": ends,
            "jti": str(uuid.uuid4()),
            **rights,
        }
