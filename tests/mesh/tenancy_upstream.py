"""The tenancy service on the exact store, beside a gateway: on a loop and thread of its own."""

import asyncio
import contextlib
import time
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from tests.service.tenancy_world import World, tenancy_world

START_SECONDS = 60
T = TypeVar("T")


@dataclass
class TenancyUpstream:
    """A served world, to be used from the thread of a test."""

    world: World
    loop: asyncio.AbstractEventLoop
    ending: asyncio.Event
    ended: Thread

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something in the world; give what comes of it."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(START_SECONDS)

    def stop(self) -> None:
        """End the service; once it is over, nobody answers at its address."""
        if self.ended.is_alive():
            self.loop.call_soon_threadsafe(self.ending.set)
            self.ended.join(START_SECONDS)


@contextlib.contextmanager
def running_tenancy(keys: Path) -> Iterator[TenancyUpstream]:
    """Serve a world whose callers' tokens are signed by the key of a folder."""
    loop, ending = asyncio.new_event_loop(), asyncio.Event()
    begun = loop.create_future()

    async def serve() -> None:
        async with tenancy_world(keys) as world:
            # Gateways judge by the time there is.
            world.clock.moment = time.time_ns() // 1000
            begun.set_result(world)
            await ending.wait()

    def run() -> None:
        try:
            loop.run_until_complete(serve())
        finally:
            loop.close()

    async def opened() -> World:
        world: World = await begun
        return world

    thread = Thread(target=run)
    thread.start()
    world = asyncio.run_coroutine_threadsafe(opened(), loop).result(START_SECONDS)
    upstream = TenancyUpstream(world, loop, ending, thread)
    try:
        yield upstream
    finally:
        upstream.stop()
