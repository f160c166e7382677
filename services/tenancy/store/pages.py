"""Page tokens: where a page ended, sealed and bound to the tenant and to what was asked.

A token holds keys of items, so it is encrypted: base64url(key id | nonce | AES-256-GCM of
position and end of validity), with the tenant and the request as associated data.
"""

import base64
import binascii
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mesh.errors import PageTokenInvalid
from services.tenancy.clock import MICROSECONDS, Clock
from services.tenancy.store.port import Page, Query

VALID_SECONDS: Final = 24 * 3600
MAX_TOKEN_CHARACTERS: Final = 4096
_MIN_KEY_BYTES = 16
_KEY_ID_BYTES = 4
_NONCE_BYTES = 12
_PURPOSE = b"secmesh tenancy page token key 1"


class PageTokens:
    """Writes tokens with one key and reads those of earlier ones as well."""

    def __init__(self, keys: Sequence[bytes], clock: Clock) -> None:
        """Take secret keys of at least 16 bytes, the same in all processes; the first writes."""
        if not keys or any(len(key) < _MIN_KEY_BYTES for key in keys):
            raise ValueError(f"page keys have at least {_MIN_KEY_BYTES} bytes")
        self._clock = clock
        derived = [hashlib.sha256(_PURPOSE + key).digest() for key in keys]
        self._keys = {hashlib.sha256(key).digest()[:_KEY_ID_BYTES]: AESGCM(key) for key in derived}
        self._first = next(iter(self._keys))

    def write(self, tenant: str, request: Sequence[str], position: Mapping[str, str]) -> str:
        """Give the token of a position within a tenant's request."""
        ends = self._clock.now() // MICROSECONDS + VALID_SECONDS
        nonce = os.urandom(_NONCE_BYTES)
        content = orjson.dumps([dict(position), ends])
        sealed = self._keys[self._first].encrypt(nonce, content, _bound_to(tenant, request))
        return base64.urlsafe_b64encode(self._first + nonce + sealed).decode().rstrip("=")

    def read(self, tenant: str, request: Sequence[str], token: str) -> dict[str, str]:
        """Give the position; PageTokenInvalid if it was not written for this or is too old."""
        raw = _decoded(token)
        key = self._keys.get(raw[:_KEY_ID_BYTES])
        nonce = raw[_KEY_ID_BYTES : _KEY_ID_BYTES + _NONCE_BYTES]
        if key is None or len(nonce) < _NONCE_BYTES:
            raise PageTokenInvalid
        try:
            content = key.decrypt(
                nonce, raw[_KEY_ID_BYTES + _NONCE_BYTES :], _bound_to(tenant, request)
            )
        except InvalidTag:
            raise PageTokenInvalid from None
        position, ends = orjson.loads(content)
        if ends * MICROSECONDS <= self._clock.now():
            raise PageTokenInvalid
        return {str(name): str(value) for name, value in position.items()}

    def started(self, tenant: str, query: Query, token: str, *context: str) -> Query:
        """Give the query from where a token says, from its beginning if the token is empty.

        ``context`` is what else the page depends on, such as a filter. PageTokenInvalid.
        """
        if not token:
            return query
        return replace(query, start=self.read(tenant, [*_asked(query), *context], token))

    def next(self, tenant: str, query: Query, page: Page, *context: str) -> str:
        """Give the token of what follows a page of a query; empty if nothing does."""
        if page.next is None:
            return ""
        return self.write(tenant, [*_asked(query), *context], page.next)


def _asked(query: Query) -> list[str]:
    """Give what a query asks for, wherever it starts and however large its pages are."""
    asked = replace(query, start=None, limit=1)
    return [asked.table.value, asked.index, asked.pk, repr(asked.sk), str(asked.forward)]


def _bound_to(tenant: str, request: Sequence[str]) -> bytes:
    return hashlib.sha256(orjson.dumps([tenant, *request])).digest()


def _decoded(token: str) -> bytes:
    if len(token) > MAX_TOKEN_CHARACTERS:
        raise PageTokenInvalid
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise PageTokenInvalid from None
    # The last character has bits that no decoder looks at: one position, one token.
    if base64.urlsafe_b64encode(raw).decode().rstrip("=") != token:
        raise PageTokenInvalid
    return raw
