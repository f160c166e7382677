"""One record, and what is wrong with it, kept from all others that are looked at."""

import contextlib
import logging
from collections.abc import Iterator

from mesh.errors import TenantInactive


@contextlib.contextmanager
def alone(log: logging.Logger, failed: str, name: str) -> Iterator[None]:
    """Leave the block where something fails, and log ``failed`` with the name of the record.

    What is of a tenant that was removed is left in silence.
    """
    try:
        yield
    except TenantInactive:
        log.debug("of a tenant that left", extra={"fields": {"resource": name}})
    except Exception:  # whatever is wrong with it, the others are looked at
        log.exception(failed, extra={"fields": {"resource": name}})
