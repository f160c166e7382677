"""Pseudonyms of users in the audit: keyed hashes, whose keys can be destroyed by epochs.

Whoever holds the keys can ask for the entries of a user; nobody can get from an entry to a user,
and without the key of its epoch an entry belongs to nobody any more.
"""

from collections.abc import Mapping

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from services.crypto.audit.entry import SUBJECT_BYTES

_LABEL = b"secmesh/audit/subject/1"
_EPOCH_BYTES = 4
KEY_BYTES = 32


class Subjects:
    """Makes pseudonyms: 4 bytes of the epoch, 28 of HMAC-SHA-256 over tenant and user."""

    def __init__(self, keys: Mapping[int, bytes]) -> None:
        """Take the keys that are left, by epoch; the highest is in use. ValueError if none is."""
        if not keys or any(len(key) != KEY_BYTES for key in keys.values()):
            raise ValueError("pseudonyms need keys of 32 bytes")
        # Keyed once and copied for each pseudonym, which is three times as fast.
        self._keyed = {epoch: HMAC(keys[epoch], SHA256()) for epoch in sorted(keys)}
        self._newest = max(keys)

    def of(self, tenant: str, user_id: bytes) -> bytes:
        """Give the pseudonym that new entries have."""
        return self._made(self._newest, tenant, user_id)

    def all_of(self, tenant: str, user_id: bytes) -> list[bytes]:
        """Give the pseudonyms that entries of a user may have."""
        return [self._made(epoch, tenant, user_id) for epoch in self._keyed]

    def _made(self, epoch: int, tenant: str, user_id: bytes) -> bytes:
        name = tenant.encode()
        content = b"".join((_LABEL, len(name).to_bytes(2, "big"), name, user_id))
        digest = self._keyed[epoch].copy()
        digest.update(content)
        kept = digest.finalize()[: SUBJECT_BYTES - _EPOCH_BYTES]
        return epoch.to_bytes(_EPOCH_BYTES, "big") + kept
