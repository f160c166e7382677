"""API keys: ``smk_<id>_<secret><checksum>``, and what may be kept of one.

The prefix lets scanners find a leaked key, the checksum tells a typing mistake from a wrong key
without a look into any file.
"""

import base64
import hashlib
import hmac
import re
import secrets
import zlib
from dataclasses import dataclass

PREFIX = "smk_"
ID_BYTES = 10
"""Random bytes of an id: 16 characters, so that two never meet."""
SECRET_BYTES = 25
"""Random bytes of a secret: 200 bits."""
_FORM = re.compile(r"smk_(?P<id>[a-z2-7]{16})_(?P<secret>[a-z2-7]{40})(?P<checksum>[0-9a-f]{8})")


class ApiKeyMalformed(ValueError):
    """A text is no API key, or was copied wrongly."""


@dataclass(frozen=True)
class ApiKey:
    """A key in clear: shown once to whom it is made for, never kept."""

    id: str
    """Public: it stands in lists and logs."""
    secret: str

    @classmethod
    def generate(cls) -> "ApiKey":
        """Make a key nobody can guess."""
        return cls(_base32(ID_BYTES), _base32(SECRET_BYTES))

    @classmethod
    def parse(cls, text: str) -> "ApiKey":
        """Read a key. Raises ApiKeyMalformed, which holds nothing of the text."""
        match = _FORM.fullmatch(text)
        if match is None or _checksum(match["id"], match["secret"]) != match["checksum"]:
            raise ApiKeyMalformed("this is no API key, or it was not copied whole")
        return cls(match["id"], match["secret"])

    def text(self) -> str:
        """Write the key as callers send it."""
        return f"{PREFIX}{self.id}_{self.secret}{_checksum(self.id, self.secret)}"

    def digest(self) -> str:
        """Give what is kept of the secret: its SHA-256 in hexadecimal digits.

        Neither salt nor a slow function (KDF): they protect secrets that can be guessed, and
        200 random bits cannot, however fast the hash; a slow one would burden every call.
        """
        return hashlib.sha256(self.secret.encode()).hexdigest()

    def matches(self, digest: str) -> bool:
        """Compare with a kept digest in a time that says nothing about it."""
        return hmac.compare_digest(self.digest(), digest)

    def __repr__(self) -> str:
        return f"ApiKey({self.id!r})"  # a secret in a traceback is a secret in a log


def _base32(size: int) -> str:
    return base64.b32encode(secrets.token_bytes(size)).decode().lower()


def _checksum(key_id: str, secret: str) -> str:
    return f"{zlib.crc32(f'{PREFIX}{key_id}_{secret}'.encode()):08x}"
