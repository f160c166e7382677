"""One record, and what is wrong with it, kept from all others that are looked at."""

import contextlib
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def alone(log: logging.Logger, failed: str, name: str) -> Iterator[None]:
    """Leave the block where something fails, and log ``failed`` with the name of the record."""
    try:
        yield
    except Exception:  # whatever is wrong with it, the others are looked at
        log.exception(failed, extra={"fields": {"resource": name}})
