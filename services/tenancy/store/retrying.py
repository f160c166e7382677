"""What is tried again by itself: conflicts and throttled calls, which have done nothing."""

from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Final, TypeVar

from services.tenancy.clock import Clock
from services.tenancy.store.port import (
    Action,
    Conflict,
    Item,
    Key,
    Page,
    Query,
    Store,
    StoreUnavailable,
    Throttled,
)

MAX_RETRIES: Final = 3
FIRST_PAUSE: Final = 0.025
"""Seconds; each pause lasts up to twice as long as the one before, by chance."""
T = TypeVar("T")


class RetryingStore:
    """See ``Store``: another one, with up to three retries.

    Reads are tried again after StoreUnavailable too; a write is not, which may have happened.
    """

    def __init__(self, store: Store, clock: Clock, random: Random) -> None:
        self._store = store
        self._clock = clock
        self._random = random

    async def get(self, key: Key, *, consistent: bool = True) -> Item | None:
        """Give an item."""
        return await self._tried(lambda: self._store.get(key, consistent=consistent), _OF_READS)

    async def get_many(self, keys: Sequence[Key], *, consistent: bool = True) -> list[Item | None]:
        """Give items in the order of their keys."""
        return await self._tried(
            lambda: self._store.get_many(keys, consistent=consistent), _OF_READS
        )

    async def query(self, query: Query) -> Page:
        """Give a page of a partition."""
        return await self._tried(lambda: self._store.query(query), _OF_READS)

    async def write(self, *actions: Action, token: str = "") -> None:
        """Do all actions or none."""
        await self._tried(lambda: self._store.write(*actions, token=token), _OF_WRITES)

    async def close(self) -> None:
        """Let go of connections and threads."""
        await self._store.close()

    async def _tried(
        self, call: Callable[[], Awaitable[T]], errors: tuple[type[Exception], ...]
    ) -> T:
        for attempt in range(MAX_RETRIES):
            try:
                return await call()
            except errors:
                # Full jitter: those who met once shall not meet again.
                longest = FIRST_PAUSE * 2**attempt
                await self._clock.sleep(self._random.uniform(0, longest))
        return await call()


_OF_WRITES = (Conflict, Throttled)
_OF_READS = (Throttled, StoreUnavailable)
