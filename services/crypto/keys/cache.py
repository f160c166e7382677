"""Keys in clear, remembered for a while: refreshed ahead of time, and never past the hard limit."""

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from mesh.errors import DependencyUnavailable
from services.crypto.custody.kms import PASSING

K = TypeVar("K")
V = TypeVar("V")
_KEEPS = (*PASSING, DependencyUnavailable)
"""Failures of a refresh that leave what is remembered in place; all others take it away."""


@dataclass(frozen=True)
class Limits:
    """How long and how much is remembered."""

    soft_seconds: float = 300
    """Age from which a value is refreshed behind the call that uses it."""
    hard_seconds: float = 3600
    """Age at which it is used no longer, whatever the custodian's state."""
    size: int = 1000
    """Values; the one unused for longest makes room."""
    pause_seconds: float = 2
    """Between refreshes that fail, about."""


@dataclass
class _Entry(Generic[V]):
    value: V
    loaded: float
    next_refresh: float


class KeyCache(Generic[K, V]):
    """Loads each key once however many ask, and forgets it when its custodian says no."""

    def __init__(
        self,
        load: Callable[[K], Awaitable[V]],
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        self._limits = limits
        self._clock = clock
        self._entries: OrderedDict[K, _Entry[V]] = OrderedDict()
        self._flights: dict[K, asyncio.Task[V]] = {}
        self._purges = 0

    async def get(self, key: K) -> V:
        """Give a value. Raises what loading it raises, once nothing may be served from memory."""
        entry, now = self._entries.get(key), self._clock()
        if entry is None or now - entry.loaded >= self._limits.hard_seconds:
            # Whoever stops waiting does not stop the load that others wait for.
            return await asyncio.shield(self._flight(key))
        self._entries.move_to_end(key)
        if now >= entry.next_refresh:
            self._flight(key)
        return entry.value

    def held(self) -> list[V]:
        """Give the values that may be served now."""
        oldest = self._clock() - self._limits.hard_seconds
        return [each.value for each in self._entries.values() if each.loaded > oldest]

    def purge(self, which: Callable[[K, V], bool]) -> None:
        """Forget values at once; loads that are under way are not remembered either."""
        self._purges += 1
        for key in [key for key, entry in self._entries.items() if which(key, entry.value)]:
            del self._entries[key]

    def put(self, key: K, value: V) -> None:
        """Remember a value that was just loaded by another way."""
        now = self._clock()
        # Jitter: keys that were loaded together are not refreshed together.
        soft = self._limits.soft_seconds * random.uniform(0.9, 1)  # noqa: S311 - spreads load
        self._entries[key] = _Entry(value, now, now + soft)
        self._entries.move_to_end(key)
        if len(self._entries) > self._limits.size:
            self._entries.popitem(last=False)

    async def close(self) -> None:
        """Stop loading, and forget everything."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)
        self._entries.clear()

    def _flight(self, key: K) -> "asyncio.Task[V]":
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = asyncio.create_task(self._loaded(key))
            flight.add_done_callback(lambda done: self._landed(key, done))
        return flight

    def _landed(self, key: K, flight: "asyncio.Task[V]") -> None:
        del self._flights[key]
        if not flight.cancelled():
            # Nobody may be waiting for a refresh; its failure was dealt with.
            flight.exception()

    async def _loaded(self, key: K) -> V:
        purges = self._purges
        try:
            value = await self._load(key)
        except _KEEPS:
            if (entry := self._entries.get(key)) is not None:
                pause = self._limits.pause_seconds * random.uniform(0.5, 1.5)  # noqa: S311 - ditto
                entry.next_refresh = self._clock() + pause
            raise
        except Exception:
            self._entries.pop(key, None)
            raise
        if purges == self._purges:
            self.put(key, value)
        return value
