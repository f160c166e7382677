"""Python's cyclic garbage collector in a service that is put together once and then serves."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def kept_for_good() -> Iterator[None]:
    """Take what a block makes as the process's own: it is never looked at for garbage again.

    A full collection looks at every object: without this, at the contracts, the tables and the
    checks again and again.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()
