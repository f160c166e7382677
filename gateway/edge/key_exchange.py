"""API keys exchanged for tokens: the edge alone holds the key that signs them."""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gateway.edge.key_grants import Grant, KeySource
from gateway.edge.key_refusals import ApiKeyInvalid, AttemptsExceeded, CredentialsAmbiguous
from mesh.errors import Refusal
from mesh.identity.api_key import PREFIX, ApiKey, ApiKeyMalformed
from mesh.identity.attempts import Attempts
from mesh.identity.jwks import KeySource as JwksSource
from mesh.identity.keys import public_key_id, sign_token

HEADER = "x-api-key"
BEARER = "bearer "
TOKEN_LIFETIME = timedelta(minutes=5)
REUSED_FOR = timedelta(minutes=1)
"""A token serves other calls for so long; a stream, which ends with its token, has the rest."""
MAX_TOKENS = 10_000
_LOG = logging.getLogger(__name__)


class SigningKeyUnknown(ValueError):
    """Tokens made here would be believed nowhere: the issuer's key set lacks their key."""


def key_of(headers: Mapping[str, str]) -> str | None:
    """Give the API key a request carries, as it was sent, or None.

    Raises CredentialsAmbiguous if it carries anything else that says who calls.
    """
    in_header, authorization = headers.get(HEADER), headers.get("authorization")
    if in_header is not None:
        if authorization is not None:
            raise CredentialsAmbiguous
        return in_header
    scheme, rest = (authorization or "")[: len(BEARER)], (authorization or "")[len(BEARER) :]
    if scheme.lower() == BEARER and rest.startswith(PREFIX) and "," not in rest:
        return rest.strip()
    if authorization is not None and f"{BEARER}{PREFIX}" in authorization.lower():
        raise CredentialsAmbiguous
    return None


@dataclass(frozen=True)
class _Held:
    grant: Grant
    token: str
    renew_at: float


class KeyExchange:
    """Gives a token of at most 5 minutes for a key that is good.

    Args:
        sources: Who keeps keys; asked in this order before each exchange.
        signing: Folder of the signing key.
        attempts: Counts wrong keys by address.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        sources: Sequence[KeySource],
        signing: Path,
        attempts: Attempts,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._sources = sources
        self._signing = signing
        self._attempts = attempts
        self._tokens: OrderedDict[str, _Held] = OrderedDict()

    async def exchange(self, text: str, address: str) -> str:
        """Give a token for a key that came from an address.

        Raises ApiKeyInvalid, ApiKeyExpired, AttemptsExceeded, DependencyUnavailable.
        """
        try:
            key = ApiKey.parse(text)
        except ApiKeyMalformed:
            raise self._failed(address) from None
        held = self._tokens.get(key.id)
        proven = held is not None and key.matches(held.grant.sha256)
        # Who was let in lately is not shut out by a neighbour behind the same address.
        if not proven and (wait := self._attempts.wait_seconds(address)):
            raise AttemptsExceeded(wait)
        grant = await self._find(key)
        if grant is None:
            raise self._failed(address)
        if held is not None and held.grant == grant and self._clock() < held.renew_at:
            if key.id in self._tokens:
                self._tokens.move_to_end(key.id)
            return held.token
        return self._sign(grant)

    async def _find(self, key: ApiKey) -> Grant | None:
        # Whoever has the right secret guesses nothing: what is raised here is not counted.
        for source in self._sources:
            grant = await source.find(key)
            if grant is not None:
                return grant
        return None

    def _sign(self, grant: Grant) -> str:
        left = grant.expire_time - datetime.now(UTC)
        lifetime = max(min(TOKEN_LIFETIME, left), timedelta(seconds=1))
        token = sign_token(
            self._signing,
            subject=f"api-key:{grant.id}",
            tenant=grant.tenant,
            roles=grant.roles,
            permissions=grant.permissions,
            methods=grant.methods,
            lifetime=lifetime,
        )
        renew_at = self._clock() + REUSED_FOR.total_seconds()
        self._tokens[grant.id] = _Held(grant, token, renew_at)
        self._tokens.move_to_end(grant.id)
        if len(self._tokens) > MAX_TOKENS:
            self._tokens.popitem(last=False)
        return token

    def _failed(self, address: str) -> Refusal:
        """Count a wrong key; beyond the limit its answer says only that."""
        if wait := self._attempts.wait_seconds(address):
            return AttemptsExceeded(wait)
        self._attempts.note(address)
        _LOG.warning("a wrong API key was refused", extra={"fields": {"client": address}})
        return ApiKeyInvalid()


def require_known(signing: Path, key_set: JwksSource | None) -> None:
    """Refuse a signing key whose public half its issuer's key set lacks; None if it has none.

    Raises SigningKeyUnknown, or OSError or ValueError if the folder holds no key.
    """
    if key_set is None or key_set.key(public_key_id(signing)) is None:
        raise SigningKeyUnknown(
            "the key that signs for API keys is not in the key set, so its tokens would be refused"
        )
