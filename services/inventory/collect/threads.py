"""Blocking calls of a run, in the threads that are kept for them."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(
    pool: Executor, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Call a function in a thread of a pool, with the context.

    So AWS calls belong to the trace of who asked for them.
    """
    loop = asyncio.get_running_loop()
    call = partial(copy_context().run, function, *args, **kwargs)
    return await loop.run_in_executor(pool, call)
