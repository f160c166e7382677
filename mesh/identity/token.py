"""Bearer tokens (JWT, RFC 7519, with the advice of RFC 8725) and the caller they name."""

import asyncio
import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import jwt

from mesh.errors import DependencyUnavailable, TokenExpired, TokenInvalid, TokenMissing
from mesh.identity.caller import Caller
from mesh.identity.jwks import ALGORITHMS, KeySource
from mesh.identity.permissions import is_pattern
from mesh.identity.roles import ROLES

LEEWAY_SECONDS = 30
"""How far the issuer's clock may differ from ours."""
MAX_TOKEN_CHARS = 8192
MAX_LISTED = 256
"""Most entries of a list claim."""
_CACHE_SIZE = 1024
_REQUIRED = ["exp", "iss", "aud", "sub"]
_TENANT = re.compile(r"[a-z][a-z0-9-]{2,62}")


def service_audience(audience: str, service: str) -> str:
    """Give the audience of tokens for one service of a mesh, as ``secmesh/inventory``."""
    return f"{audience}/{service}" if service else audience


ISSUER_KEYS = "the issuer's key set"
"""What tokens cannot be verified without, as callers are told."""


class Verifier(Protocol):
    """Finds out whom a token names."""

    def known(self, token: str) -> Caller | None:
        """Give the caller of a token that was verified before and still holds, without waiting."""

    async def authenticate(self, token: str) -> Caller:
        """Give the caller a token names; TokenMissing, TokenInvalid, TokenExpired.

        DependencyUnavailable while there is no key set that is young enough to be believed.
        """


class TokenVerifier:
    """Verifies tokens of one issuer for one audience, or any of several.

    Verified tokens are remembered by their hash until they expire or the key set changes: an
    ES256 check costs about as much as the rest of a call.
    """

    def __init__(
        self,
        jwks: str | Path | KeySource,
        issuer: str,
        audience: str | Sequence[str],
        roles: Mapping[str, frozenset[str]] = ROLES,
    ) -> None:
        self._source = jwks if isinstance(jwks, KeySource) else KeySource(jwks)
        self._issuer = issuer
        self._audience = audience
        self._roles = roles
        self._verified: OrderedDict[bytes, Caller] = OrderedDict()
        self._generation = self._source.generation
        self._flight: asyncio.Future[None] | None = None

    def verify(self, token: str) -> Caller:
        """Give the caller a token names. May block to read the key set again.

        Raises TokenMissing, TokenInvalid, TokenExpired or DependencyUnavailable.
        """
        kid = self._kid(token)
        self._source.refresh(unknown_kid=self._source.key(kid) is None)
        return self._verify(token, kid)

    def known(self, token: str) -> Caller | None:
        """Give the caller of a token that was verified before and still holds, without waiting."""
        source = self._source
        if self._generation != source.generation or source.stale() or not source.in_force:
            return None
        caller = self._verified.get(_digest(token))
        return caller if caller is not None and caller.expires_at > time.time() else None

    async def authenticate(self, token: str) -> Caller:
        """Like verify, but never blocks the event loop, and remembers what it verified."""
        source = self._source
        if source.stale():
            await self._refreshed()
        if self._generation != source.generation:
            self._verified.clear()
            self._generation = source.generation
        digest = _digest(token)
        caller = self._verified.get(digest)
        if caller is not None and caller.expires_at > time.time() and source.in_force:
            return caller
        kid = self._kid(token)
        if source.key(kid) is None and source.stale(unknown_kid=True):
            await self._refreshed(unknown_kid=True)
        caller = self._verify(token, kid)
        self._verified[digest] = caller
        if len(self._verified) > _CACHE_SIZE:
            self._verified.popitem(last=False)
        return caller

    async def _refreshed(self, *, unknown_kid: bool = False) -> None:
        """Read the set again, once for all who wait: an issuer that hangs costs one thread."""
        flight = self._flight
        if flight is None or flight.done():
            work = asyncio.to_thread(self._source.refresh, unknown_kid=unknown_kid)
            flight = self._flight = asyncio.ensure_future(work)
        # Shielded, since others may wait for it when one of them leaves.
        await asyncio.shield(flight)

    def _kid(self, token: str) -> str:
        if not token:
            raise TokenMissing("the call carries no bearer token")
        # Refused before it is parsed: parsing costs in proportion to the length.
        if len(token) > MAX_TOKEN_CHARS:
            raise TokenInvalid(f"the token is longer than {MAX_TOKEN_CHARS} characters")
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise TokenInvalid("the token is no signed JWT") from None
        kid = header.get("kid")
        if not isinstance(kid, str) or header.get("alg") not in ALGORITHMS:
            raise TokenInvalid(f"the token needs a kid and one of {', '.join(ALGORITHMS)}")
        return kid

    def _verify(self, token: str, kid: str) -> Caller:
        if not self._source.in_force:
            raise DependencyUnavailable(ISSUER_KEYS)
        key = self._source.key(kid)
        if key is None:
            raise TokenInvalid("the token's key is not one of the issuer's")
        try:
            claims = jwt.decode(
                token,
                key,
                # The key's own algorithm, so that a header cannot choose another (RFC 8725, 3.1).
                algorithms=[key.algorithm_name],
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": _REQUIRED},
            )
        except jwt.ExpiredSignatureError:
            raise TokenExpired("the token has expired") from None
        except jwt.InvalidAudienceError:
            raise TokenInvalid("the token is meant for another audience") from None
        except jwt.InvalidIssuerError:
            raise TokenInvalid("the token comes from another issuer") from None
        except jwt.ImmatureSignatureError:
            raise TokenInvalid("the token is not valid yet") from None
        except jwt.MissingRequiredClaimError as error:
            raise TokenInvalid(f"the token lacks the claim {error.claim}") from None
        except (jwt.PyJWTError, ValueError, TypeError, ArithmeticError, RecursionError):
            raise TokenInvalid("the token's signature or form is wrong") from None
        return self._caller(claims)

    def _caller(self, claims: Mapping[str, Any]) -> Caller:
        subject, tenant = claims.get("sub"), claims.get("tenant")
        if not isinstance(subject, str) or not 0 < len(subject) <= 256:
            raise TokenInvalid("the token's claim sub is no text of 1 to 256 characters")
        if not isinstance(tenant, str) or not _TENANT.fullmatch(tenant):
            raise TokenInvalid("the token's claim tenant is missing or no tenant's slug")
        patterns = _listed(claims, "permissions")
        if not all(is_pattern(each) for each in patterns):
            raise TokenInvalid("the token's claim permissions holds what is no permission pattern")
        roles = _listed(claims, "roles")
        if not roles <= self._roles.keys():
            raise TokenInvalid("the token's claim roles holds a role that does not exist")
        tenants = _listed(claims, "tenants")
        if not all(_TENANT.fullmatch(each) for each in tenants):
            raise TokenInvalid("the token's claim tenants holds what is no tenant's slug")
        methods = _listed(claims, "methods")
        return Caller(
            subject=subject,
            tenant=tenant,
            permissions=patterns.union(*(self._roles[role] for role in roles)),
            tenants=tenants,
            expires_at=float(claims["exp"]),
            methods=methods,
        )


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _listed(claims: Mapping[str, Any], claim: str) -> frozenset[str]:
    value = claims.get(claim, [])
    if (
        not isinstance(value, list)
        or len(value) > MAX_LISTED
        or not all(isinstance(each, str) for each in value)
    ):
        raise TokenInvalid(f"the token's claim {claim} is no list of at most {MAX_LISTED} texts")
    return frozenset(value)
