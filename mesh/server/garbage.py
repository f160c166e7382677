"""Memory of a service that is put together once and then serves."""

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
"""Parameters of glibc's mallopt(3): what it takes from the system apart, and how many heaps."""
_LARGE = 1024 * 1024
"""Bytes from which a block goes back to the system as it is freed."""
_YOUNG = 100_000
"""New objects after which the youngest are looked at for garbage: more than two chunks of records
hold, which all live until they are written."""


def use_one_heap() -> None:
    """Let all threads share one heap of glibc; elsewhere nothing changes.

    By default each thread gets its own and keeps what it once needed. Python runs one thread at a
    time, so that they hardly ever wait for each other here. Large blocks stand apart: glibc would
    put them into the heap after the first of them was freed, where they leave holes.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_M_ARENA_MAX, 1)
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE)


@contextmanager
def uncollected() -> Iterator[None]:
    """Let nobody look for garbage in what a block makes and lives on, such as modules."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            # Else the next object that is made would have all of it looked through.
            gc.freeze()
            gc.enable()


@contextmanager
def kept_for_good() -> Iterator[None]:
    """Take what a block makes as the process's own: it is never looked at for garbage again.

    A full collection looks at every object: without this, at the contracts, the tables and the
    checks again and again.
    """
    use_one_heap()
    gc.disable()
    try:
        yield
    finally:
        gc.collect()
        gc.freeze()
        gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])
        gc.enable()
