"""Whether KMS keys may still be used, looked at when they are: a no is heard by the next call.

Keys in clear are remembered for minutes, so that a call of the service is no call of the KMS.
Whoever uses one asks here first, and here the state of the KMS key is never older than so many
seconds: a call that finds it older waits for a look, which all calls of that moment share.
"""

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

from services.crypto.custody.kms import PASSING, Kms, KmsDisabled, KmsError, KmsKeyState

_PATIENCE_SECONDS = 0.25
"""For which a call waits for the KMS to say a state; an outage says nothing of a key."""


class _Seen(NamedTuple):
    began: float
    """When the look began, by the clock."""
    serves: bool


class KmsStanding:
    """See the module."""

    def __init__(
        self,
        kms: Kms,
        revoke: Callable[[str], None],
        seconds: float = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Call ``revoke`` with a key that may not be used, before those who ask hear of it.

        With 0 seconds there is a look after each call began.
        """
        self._kms = kms
        self._revoke = revoke
        self._seconds = seconds
        self._clock = clock
        self._seen: dict[str, _Seen] = {}
        self._looks: dict[str, asyncio.Task[None]] = {}

    async def require(self, key_id: str) -> None:
        """Raise KmsDisabled if the KMS says that a key may not be used."""
        oldest = self._clock() - self._seconds
        while not self._is_known(key_id, oldest):
            look = self._looks.get(key_id) or self._begin(key_id)
            done, _ = await asyncio.wait({look}, timeout=_PATIENCE_SECONDS)
            if not done:
                # The KMS is slow: what is remembered serves, and the next calls wait for it less.
                self._seen[key_id] = _Seen(self._clock(), self._served(key_id))
                break
        # Ahead of time, behind the call: a busy process waits for none.
        if not self._is_known(key_id, oldest + self._seconds / 2) and key_id not in self._looks:
            self._begin(key_id)
        if not self._served(key_id):
            raise KmsDisabled("the KMS key may not be used")

    async def close(self) -> None:
        """Stop looking."""
        looks = list(self._looks.values())
        for look in looks:
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)

    def _served(self, key_id: str) -> bool:
        seen = self._seen.get(key_id)
        return seen is None or seen.serves

    def _is_known(self, key_id: str, oldest: float) -> bool:
        seen = self._seen.get(key_id)
        return seen is not None and seen.began >= oldest

    def _begin(self, key_id: str) -> "asyncio.Task[None]":
        look = self._looks[key_id] = asyncio.create_task(self._look(key_id))
        look.add_done_callback(lambda _: self._looks.pop(key_id, None))
        return look

    async def _look(self, key_id: str) -> None:
        began = self._clock()
        try:
            serves = (await self._kms.describe(key_id)).state is KmsKeyState.ENABLED
        except PASSING:
            serves = True
        except KmsError:
            serves = False
        self._seen[key_id] = _Seen(began, serves)
        if not serves:
            self._revoke(key_id)
