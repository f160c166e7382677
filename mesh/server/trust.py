"""Whom a server believes about its callers: one issuer of tokens, or several side by side."""

from collections.abc import Mapping
from typing import Any

import jwt

from mesh.errors import TokenInvalid
from mesh.identity.caller import Caller
from mesh.identity.issuers import KeyReading
from mesh.identity.jwks import JwksInvalid, KeySource
from mesh.identity.token import MAX_TOKEN_CHARS, TokenVerifier, Verifier, service_audience
from mesh.server.process_settings import ProcessSettings
from mesh.tls import KeyPair


class SeveralIssuers:
    """Has each token verified by the keys of the issuer that it names, and by no others."""

    def __init__(self, verifiers: Mapping[str, TokenVerifier]) -> None:
        """Take verifiers by issuer; at least one."""
        self._verifiers = dict(verifiers)
        self._first = next(iter(self._verifiers.values()))

    def known(self, token: str) -> Caller | None:
        """See ``Verifier``."""
        found = (each.known(token) for each in self._verifiers.values())
        return next((caller for caller in found if caller is not None), None)

    async def authenticate(self, token: str) -> Caller:
        """See ``Verifier``."""
        return await self._of(token).authenticate(token)

    def _of(self, token: str) -> TokenVerifier:
        # What is no token at all is refused in the first one's words.
        if not token or len(token) > MAX_TOKEN_CHARS:
            return self._first
        try:
            claims: Any = jwt.decode(token, options={"verify_signature": False})
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            return self._first
        found = self._verifiers.get(str(claims.get("iss")))
        if found is None:
            raise TokenInvalid("the token comes from another issuer")
        return found


def verifier_of(settings: ProcessSettings) -> Verifier:
    """Open the key sets that the settings name. JwksInvalid or OSError if the first has none.

    Those of further issuers are waited for by nobody: who serves them may need this server.
    """
    service = settings.prefix().removeprefix("SECMESH_").rstrip("_").lower()
    audiences = (settings.audience, service_audience(settings.audience, service))
    max_age = settings.key_set_hours * 3600
    first = KeySource(settings.key_set, max_age=max_age)
    verifiers = {settings.issuer: TokenVerifier(first, settings.issuer, audiences)}
    reading = KeyReading(settings.issuers_ca, _own(settings), max_age=max_age)
    for issuer, where in settings.further_issuers.items():
        if issuer in verifiers:
            raise JwksInvalid(f"the issuer {issuer} is named twice")
        verifiers[issuer] = TokenVerifier(reading.open(where), issuer, audiences)
    return SeveralIssuers(verifiers) if len(verifiers) > 1 else verifiers[settings.issuer]


def _own(settings: ProcessSettings) -> KeyPair | None:
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    return KeyPair(settings.tls_certificate, settings.tls_key)
