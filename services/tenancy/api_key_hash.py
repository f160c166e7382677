"""The form in which an API key is kept: a keyed hash, which leads to whose it is."""

import hashlib
import hmac

_PURPOSE = b"secmesh tenancy api key hash 1"


class ApiKeyHash:
    """Hashes keys by a secret, so that tables alone do not let a found key be recognized."""

    def __init__(self, secret: bytes) -> None:
        self._key = hashlib.sha256(_PURPOSE + secret).digest()

    def of(self, key_id: str, secret_sha256: str) -> str:
        """Give the hash (HMAC-SHA-256, RFC 2104) of a key in hexadecimal digits."""
        told = f"{key_id}:{secret_sha256}".encode()
        return hmac.new(self._key, told, hashlib.sha256).hexdigest()
