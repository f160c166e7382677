"""Secrets of service credentials: ``sms_<secret><checksum>``, and what may be kept of one."""

import base64
import hashlib
import hmac
import re
import secrets
import zlib

PREFIX = "sms_"
"""Lets scanners find a secret that leaked."""
SECRET_BYTES = 30
"""Random bytes: 240 bits."""
_FORM = re.compile(r"sms_(?P<secret>[a-z2-7]{48})(?P<checksum>[0-9a-f]{8})")


def new_client_secret() -> str:
    """Make a secret that nobody can guess."""
    secret = base64.b32encode(secrets.token_bytes(SECRET_BYTES)).decode().lower()
    return f"{PREFIX}{secret}{_checksum(secret)}"


def is_client_secret(text: str) -> bool:
    """Tell whether a text could be one: a typing mistake costs no look into the store."""
    match = _FORM.fullmatch(text)
    return match is not None and _checksum(match["secret"]) == match["checksum"]


def digest_of(text: str) -> str:
    """Give what is kept of a secret: its SHA-256 in hexadecimal digits.

    Neither salt nor a slow function: they protect what can be guessed, and 240 random bits
    cannot.
    """
    return hashlib.sha256(text.encode()).hexdigest()


def matches(digest: str, kept: str) -> bool:
    """Compare digests in a time that says nothing about them; nothing matches an empty one."""
    return bool(kept) and hmac.compare_digest(digest, kept)


def _checksum(secret: str) -> str:
    return f"{zlib.crc32(f'{PREFIX}{secret}'.encode()):08x}"
