"""Issuers of tokens that are believed beside the first, and how the keys of each are read."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import grpc
from google.protobuf import json_format

from mesh.identity.jwks import AGE_SECONDS, MAX_AGE_SECONDS, JwksInvalid, KeySource
from mesh.loopback import is_loopback
from mesh.tls import KeyPair, client_credentials
from secmesh.tenancy.v1.token_service_pb2 import GetKeySetRequest
from secmesh.tenancy.v1.token_service_pb2_grpc import TokenServiceStub

ISSUERS = r"^$|^[^=,\s]+=[^=,\s]+(,[^=,\s]+=[^=,\s]+)*$"
"""Form of a setting that names issuers: ISSUER=KEYS,..."""
KEY_SET_HOURS = MAX_AGE_SECONDS / 3600
_PLAIN, _SECURE = "grpc://", "grpcs://"
_FETCH_SECONDS = 5
_OPTIONS = (("grpc.max_reconnect_backoff_ms", 5000),)
"""An issuer that comes back is found soon."""


def parse_issuers(text: str) -> Mapping[str, str]:
    """Give where the keys of each issuer are. Raises JwksInvalid for another form."""
    if not re.fullmatch(ISSUERS, text):
        raise JwksInvalid(f"{text!r} is not ISSUER=KEYS,...")
    found: dict[str, str] = {}
    for each in filter(None, text.split(",")):
        issuer, _, where = each.partition("=")
        if issuer in found:
            raise JwksInvalid(f"the issuer {issuer} is named twice")
        found[issuer] = where
    return MappingProxyType(found)


@dataclass(frozen=True)
class KeyReading:
    """How key sets of further issuers are read."""

    authorities: Path | None = None
    """PEM file with those of their servers; None for the system's, or those that gRPC brings."""
    own: KeyPair | None = None
    """The certificate that is shown to issuers over gRPC."""
    age: float = AGE_SECONDS
    """Seconds after which a set is fetched again."""
    max_age: float = MAX_AGE_SECONDS
    """Seconds for which one is believed that cannot be."""

    def open(self, where: str) -> KeySource:
        """Give the key set in a file, at an https URL, or at ``grpcs://HOST:PORT``.

        Nobody waits for it: who serves it may need this process. Raises JwksInvalid.
        """
        if not where.startswith((_PLAIN, _SECURE)):
            return KeySource(
                where, ca=self.authorities, lenient=True, age=self.age, max_age=self.max_age
            )
        channel = self._channel(where)
        return KeySource(
            where,
            fetch=lambda: _fetched(channel),
            lenient=True,
            age=self.age,
            max_age=self.max_age,
        )

    def _channel(self, where: str) -> grpc.Channel:
        secure, address = where.startswith(_SECURE), where.partition("://")[2]
        if not secure:
            if not is_loopback(address.rpartition(":")[0]):
                raise JwksInvalid("a key set is fetched over grpcs, or over grpc from loopback")
            return grpc.insecure_channel(address, _OPTIONS)
        if self.authorities is None:
            return grpc.secure_channel(address, grpc.ssl_channel_credentials(), _OPTIONS)
        credentials = client_credentials(self.authorities, self.own)
        return grpc.secure_channel(address, credentials, _OPTIONS)


def _fetched(channel: grpc.Channel) -> bytes:
    try:
        answer = TokenServiceStub(channel).GetKeySet(GetKeySetRequest(), timeout=_FETCH_SECONDS)
    except grpc.RpcError as error:
        raise OSError(f"the issuer does not answer: {error.code().name}") from None
    return json_format.MessageToJson(answer).encode()
