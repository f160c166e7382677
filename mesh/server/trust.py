"""Whom a server believes about its callers: one issuer of tokens, or several side by side."""

from collections.abc import Mapping
from typing import Any

import grpc
import jwt
from google.protobuf import json_format

from mesh.errors import TokenInvalid
from mesh.identity.caller import Caller
from mesh.identity.jwks import JwksInvalid, KeySource
from mesh.identity.token import MAX_TOKEN_CHARS, TokenVerifier, Verifier, service_audience
from mesh.loopback import is_loopback
from mesh.server.process_settings import ProcessSettings
from mesh.tls import KeyPair, client_credentials
from secmesh.tenancy.v1.token_service_pb2 import GetKeySetRequest
from secmesh.tenancy.v1.token_service_pb2_grpc import TokenServiceStub

_PLAIN, _SECURE = "grpc://", "grpcs://"
_FETCH_SECONDS = 5


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
    first = TokenVerifier(settings.key_set, settings.issuer, audiences)
    further = {
        issuer: TokenVerifier(_source(settings, where), issuer, audiences)
        for issuer, where in settings.further_issuers.items()
    }
    return SeveralIssuers({settings.issuer: first, **further}) if further else first


def _source(settings: ProcessSettings, where: str) -> KeySource:
    if where.startswith((_PLAIN, _SECURE)):
        channel = _channel(settings, where)
        return KeySource(where, fetch=lambda: _fetched(channel), lenient=True)
    return KeySource(where, ca=settings.issuers_ca, lenient=True)


def _channel(settings: ProcessSettings, where: str) -> grpc.Channel:
    secure, address = where.startswith(_SECURE), where.partition("://")[2]
    if not secure:
        if not is_loopback(address.rpartition(":")[0]):
            raise JwksInvalid("a key set is fetched over grpcs, or over grpc from loopback")
        return grpc.insecure_channel(address)
    if settings.issuers_ca is None:
        return grpc.secure_channel(address, grpc.ssl_channel_credentials())
    own = None
    if settings.tls_certificate is not None and settings.tls_key is not None:
        own = KeyPair(settings.tls_certificate, settings.tls_key)
    return grpc.secure_channel(address, client_credentials(settings.issuers_ca, own))


def _fetched(channel: grpc.Channel) -> bytes:
    try:
        answer = TokenServiceStub(channel).GetKeySet(GetKeySetRequest(), timeout=_FETCH_SECONDS)
    except grpc.RpcError as error:
        raise OSError(f"the issuer does not answer: {error.code().name}") from None
    return json_format.MessageToJson(answer).encode()
