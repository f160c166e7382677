"""Memory of a service that is put together once and then serves."""

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_M_ARENA_MAX = -8
"""The parameter of glibc's mallopt(3) that bounds its heaps."""
_YOUNG = 100_000
"""New objects after which the youngest are looked at for garbage: more than two chunks of records
hold, which all live until they are written."""


def use_one_heap() -> None:
    """Let all threads share one heap of glibc; elsewhere nothing changes.

    By default each thread gets its own and keeps what it once needed. Python runs one thread at a
    time, so that they hardly ever wait for each other here.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_M_ARENA_MAX, 1)


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
