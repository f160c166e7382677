"""Processes of a simulation: they are killed and paused, their clocks differ, their calls fail."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, TypeVar

from services.tenancy.clock import MICROSECONDS
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

T = TypeVar("T")
BEGIN = 1_774_000_000
"""Seconds since 1970 at which simulations begin: a week before the clocks of Europe go on."""


class Killed(BaseException):
    """The process is gone: no clean-up of its does anything any more."""


@dataclass(frozen=True)
class Weather:
    """Chances of faults in every call, and how long calls take, in seconds."""

    throttled: float = 0.01
    unsent: float = 0.005
    unanswered: float = 0.01
    conflicting: float = 0.01
    latency: tuple[float, float] = (0.001, 0.02)


CALM = Weather(0, 0, 0, 0)


class WorldClock:
    """The true time."""

    def now(self) -> int:
        return BEGIN * MICROSECONDS + round(asyncio.get_running_loop().time() * MICROSECONDS)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Process:
    """What one process sees: it is a ``Clock`` and a ``Store``, until it is killed."""

    def __init__(
        self, name: str, store: Store, chance: Random, weather: Weather, skew: float
    ) -> None:
        self.name = name
        self.chance = chance
        self.weather = weather
        self._store = store
        self._skew = round(skew * MICROSECONDS)
        self._clock = WorldClock()
        self._paused_until = 0.0
        self._dead = False
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self, main: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
        self._task = asyncio.create_task(main(self._stopping), name=self.name)

    def pause(self, seconds: float) -> None:
        """Let nothing of the process go on for so long, as a machine does that is suspended."""
        self._paused_until = asyncio.get_running_loop().time() + seconds

    async def kill(self) -> None:
        """End it between two steps of its, without any clean-up."""
        self._dead = True
        if self._task is not None:
            # Killed is all that its clean-up meets.
            self._task.cancel()
            await asyncio.wait({self._task})
            if not self._task.cancelled():
                self._task.exception()

    async def stop(self) -> None:
        """Have it end in peace, as SIGTERM does; raise what it raised."""
        self._stopping.set()
        if self._task is not None:
            await self._task

    @property
    def has_ended(self) -> bool:
        """Whether it was killed or stopped, or died."""
        return self._task is None or self._task.done()

    def hold_alive(self) -> None:
        """Raise what the process died of by itself."""
        if self._task is not None and self._task.done():
            raise AssertionError(f"{self.name} ended by itself") from self._task.exception()

    def now(self) -> int:
        return self._clock.now() + self._skew

    async def sleep(self, seconds: float) -> None:
        await self._step(asyncio.sleep(seconds))

    async def get(self, key: Key, *, consistent: bool = True) -> Item | None:
        return await self._call(lambda: self._store.get(key, consistent=consistent))

    async def get_many(self, keys: Sequence[Key], *, consistent: bool = True) -> list[Item | None]:
        return await self._call(lambda: self._store.get_many(keys, consistent=consistent))

    async def query(self, query: Query) -> Page:
        return await self._call(lambda: self._store.query(query))

    async def write(self, *actions: Action, token: str = "") -> None:
        if len(actions) > 1 and self._happens(self.weather.conflicting):
            await self._call(_conflict)
        await self._call(lambda: self._store.write(*actions, token=token))

    async def close(self) -> None:
        """Nothing is open."""

    async def _call(self, call: Callable[[], Awaitable[T]]) -> T:
        await self._step(self._latency())
        if self._happens(self.weather.throttled):
            raise Throttled
        if self._happens(self.weather.unsent):
            raise StoreUnavailable
        try:
            return await call()
        finally:
            # The store has done it, whatever becomes of the caller.
            await self._step(self._latency())
            if self._happens(self.weather.unanswered):
                raise StoreUnavailable

    async def _step(self, step: Awaitable[None]) -> None:
        if self._dead:
            if asyncio.iscoroutine(step):
                step.close()
            raise Killed
        await step
        loop = asyncio.get_running_loop()
        while self._paused_until > loop.time():
            await asyncio.sleep(self._paused_until - loop.time())
        if self._dead:
            raise Killed

    def _latency(self) -> Awaitable[None]:
        return asyncio.sleep(self.chance.uniform(*self.weather.latency))

    def _happens(self, chance: float) -> bool:
        return chance > 0 and self.chance.random() < chance


async def _conflict() -> None:
    raise Conflict
