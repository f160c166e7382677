"""Opens what the old system kept under Fernet, and tells equal secrets without keeping them."""

import hashlib
import hmac
from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from services.tenancy.credentials.secret_text import SecretText
from services.tenancy.migration.mapping import Unfit

_PURPOSE = b"secmesh tenancy migration: digests of secrets"


class KeysInvalid(Exception):
    """A file of keys that holds none, or something else."""


class OldVault:
    """The keys of the old system, the newest first; plaintext is in memory alone."""

    def __init__(self, keys: Sequence[str]) -> None:
        """Take keys of Fernet; KeysInvalid."""
        try:
            self._fernet = MultiFernet([Fernet(key) for key in keys])
        except ValueError:
            raise KeysInvalid("the file of keys holds what is no key of Fernet") from None
        # By the oldest key, which stays when one is added; the digest alone tells nothing.
        self._digests = hmac.digest(keys[-1].encode(), _PURPOSE, hashlib.sha256)

    def open(self, sealed: str) -> str:
        """Give the text; Unfit."""
        try:
            return self._fernet.decrypt(sealed.encode()).decode()
        except (InvalidToken, UnicodeDecodeError):
            raise Unfit("none of the keys opens its credential") from None

    def seal(self, text: str) -> str:
        """Close a text by the newest key."""
        return self._fernet.encrypt(text.encode()).decode()

    def digest(self, secret: SecretText) -> str:
        """Give what is equal for equal secrets, and of use to nobody without the keys."""
        return hmac.digest(self._digests, secret.text().encode(), hashlib.sha256).hex()
