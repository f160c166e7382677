"""Signatures as Standard Webhooks 1.0 has them (https://www.standardwebhooks.com): HMAC-SHA-256."""

import base64
import hmac
import secrets
from collections.abc import Iterable

PREFIX = "whsec_"
"""How a secret begins that receivers are shown."""
_BYTES = 32


def new_secret() -> str:
    """Make a secret: the prefix and base64 of 32 random bytes."""
    return PREFIX + base64.b64encode(secrets.token_bytes(_BYTES)).decode()


def signed_headers(
    secrets_: Iterable[str], message: str, seconds: int, body: bytes
) -> dict[str, str]:
    """Give the headers of a message sent at a moment, in seconds since 1970 UTC.

    ``secrets_`` sign side by side: while one follows another, receivers may know either.
    """
    content = f"{message}.{seconds}.".encode() + body
    signatures = [
        base64.b64encode(
            hmac.digest(base64.b64decode(each.removeprefix(PREFIX)), content, "sha256")
        ).decode()
        for each in secrets_
    ]
    return {
        "webhook-id": message,
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(f"v1,{each}" for each in signatures),
    }
