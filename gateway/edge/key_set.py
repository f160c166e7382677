"""The issuer's public keys, for Envoy to fetch: keys rotate without a restart."""

import json
import logging
import os
from pathlib import Path

_PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}
"""Members of a key that only its owner may know (RFC 7518, 6.2.2, 6.3.2 and 6.4.1)."""
MAX_BYTES = 1 << 20
_LOG = logging.getLogger(__name__)


class KeySetInvalid(ValueError):
    """The key set is none, or holds what must never leave the issuer."""


def check_key_set(content: bytes) -> None:
    """Refuse what is no JSON Web Key Set (RFC 7517) of public keys. Raises KeySetInvalid."""
    try:
        keys = json.loads(content)["keys"]
        secret = any(_PRIVATE & key.keys() for key in keys)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise KeySetInvalid("the key set is no JSON Web Key Set (RFC 7517)") from None
    if not keys:
        raise KeySetInvalid("the key set is empty")
    if secret:
        raise KeySetInvalid("the key set holds a private key")
    if len(content) > MAX_BYTES:
        raise KeySetInvalid(f"the key set is larger than {MAX_BYTES} bytes")


class KeySetFile:
    """A key set in a file that is read again when it changes.

    A set that cannot be read or used is logged, and the one before stays in force. Raises
    KeySetInvalid or OSError if the first reading fails.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._content = b""
        self._read()

    def content(self) -> bytes:
        """Give the set as it is now."""
        try:
            self._read()
        except (KeySetInvalid, OSError) as error:
            _LOG.error(
                "the key set cannot be used; the one before stays in force",
                extra={"fields": {"error": str(error)}},
            )
        return self._content

    def _read(self) -> None:
        with self._path.open("rb") as file:
            status = os.fstat(file.fileno())
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if stamp == self._stamp:
                return
            self._stamp = stamp
            content = file.read(MAX_BYTES + 1)
        check_key_set(content)
        self._content = content
