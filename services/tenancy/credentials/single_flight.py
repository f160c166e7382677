"""Many who want the same at once, and one who fetches it."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SingleFlight(Generic[K, V]):
    """Runs one fetch of a key at a time; who is cancelled leaves it to the others."""

    def __init__(self) -> None:
        self._flights: dict[K, asyncio.Task[V]] = {}

    async def do(self, key: K, fetch: Callable[[], Awaitable[V]]) -> V:
        """Give what the fetch under way gives, or begin one."""
        flight = self._flights.get(key)
        if flight is None:
            flight = asyncio.ensure_future(_awaited(fetch))
            self._flights[key] = flight
            flight.add_done_callback(lambda done: self._landed(key, done))
        return await asyncio.shield(flight)

    def _landed(self, key: K, flight: "asyncio.Task[V]") -> None:
        del self._flights[key]
        if not flight.cancelled():
            # Seen here, too: all who waited may be gone.
            flight.exception()


async def _awaited(fetch: Callable[[], Awaitable[V]]) -> V:
    return await fetch()
