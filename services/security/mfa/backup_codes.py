"""Backup codes as people see and type them; what is kept of one is a hash."""

import base64
import secrets

COUNT = 10
"""Codes of one generation."""
BYTES = 10
"""Random bytes of a code: 80 bits, beyond guessing without any limit of attempts."""
_GROUP = 4


def new_code() -> str:
    """Make a code, ``XXXX-XXXX-XXXX-XXXX`` of base32 (RFC 4648)."""
    text = base64.b32encode(secrets.token_bytes(BYTES)).decode()
    return "-".join(text[start : start + _GROUP] for start in range(0, len(text), _GROUP))


def normal_form(typed: str) -> str:
    """Give the form that is hashed: people add spaces, leave out dashes, and type lower case."""
    return "".join(each for each in typed.upper() if each.isalnum())
