"""Looks after the KMS keys in use, so that one that is disabled serves no longer from memory."""

from collections.abc import Callable, Collection
from datetime import timedelta

from mesh.sql.recurring import Recurring
from services.crypto.custody.kms import PASSING, Kms, KmsError, KmsKeyState


class RevocationWatch(Recurring):
    """Asks the KMS for the state of each key at intervals: that bounds how late a no is heard."""

    def __init__(
        self,
        kms: Kms,
        keys: Callable[[], Collection[str]],
        revoke: Callable[[str], None],
        every: timedelta = timedelta(seconds=5),
    ) -> None:
        """Call ``revoke`` for each of ``keys`` that may not be used."""
        super().__init__(every, "the KMS keys in use could not be looked at")
        self._kms = kms
        self._keys = keys
        self._revoke = revoke

    async def look(self) -> object:
        """Look at each key once; an outage says nothing of a key."""
        for key_id in sorted(self._keys()):
            if not await self._serves(key_id):
                self._revoke(key_id)
                self._log.warning("a KMS key may not be used: what it wraps was forgotten")
        return 0

    async def _serves(self, key_id: str) -> bool:
        try:
            return (await self._kms.describe(key_id)).state is KmsKeyState.ENABLED
        except PASSING:
            return True
        except KmsError:
            return False
