"""What all runs of a process share to read and write with, in turns by tenant."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

from services.inventory.collect.places import Places

WRITES = 8
"""Units that compare with the store and write at a time: half of the connections of its pool."""

P = ParamSpec("P")
T = TypeVar("T")


class Workers:
    """Threads that make blocking calls, and places of those who use the store."""

    def __init__(self, units: int, reads: int) -> None:
        self._units = ThreadPoolExecutor(units, thread_name_prefix="unit")
        self.reads: Executor = ThreadPoolExecutor(reads, thread_name_prefix="read")
        """Each thread makes one call of some unit; none of them waits for another."""
        self._leading = Places(units)
        self._writing = Places(WRITES)

    async def lead(
        self, lane: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Do what leads one unit in a thread, when it is the lane's turn."""
        # With the context, so that AWS calls belong to the trace of who asked for them.
        call = partial(copy_context().run, function, *args, **kwargs)
        async with self._leading.held(lane):
            return await asyncio.get_running_loop().run_in_executor(self._units, call)

    def writing(self, lane: str) -> AbstractAsyncContextManager[None]:
        """Hold one of the places of who compares and writes, when it is the lane's turn.

        More at once would wait for each other in the store, for longer than it lets them.
        """
        return self._writing.held(lane)

    def close(self) -> None:
        """Begin nothing more; calls in flight are not waited for."""
        self._units.shutdown(wait=False, cancel_futures=True)
        self.reads.shutdown(wait=False, cancel_futures=True)
