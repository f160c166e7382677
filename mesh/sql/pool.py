"""Connection pools that tell how full they are (OpenTelemetry semantic conventions, db.client)."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any
from weakref import WeakSet

import sqlalchemy as sa
from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation
from sqlalchemy.util.queue import Empty

# SQLAlchemy's words about its pools go by the name of this module; ours are the metrics.
logging.getLogger(__name__).setLevel(logging.WARNING)

_SOON_SECONDS = 1.0
"""More than most statements take on a busy machine, and no endless wait of a holder of one."""
_POOLS: "WeakSet[MeasuredPool]" = WeakSet()


class MeasuredPool(sa.AsyncAdaptedQueuePool):
    """Counts who waits for a connection, or for the database to give a new one."""

    waiting = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.name = str(kwargs.get("logging_name") or "")
        _POOLS.add(self)

    def _do_get(self) -> sa.pool.ConnectionPoolEntry:
        self.waiting += 1
        try:
            return super()._do_get()
        finally:
            self.waiting -= 1

    @property
    def largest(self) -> int:
        """Connections that it opens at most."""
        return self.size() + int(self._max_overflow)


class SparingPool(MeasuredPool):
    """Opens a connection beyond those that are kept only if none of these comes back soon."""

    def _do_get(self) -> sa.pool.ConnectionPoolEntry:
        # Below zero not all that are kept were opened yet.
        if 0 <= self._overflow < self._max_overflow:
            self.waiting += 1
            try:
                return self._pool.get(True, _SOON_SECONDS)
            except Empty:
                pass
            finally:
                self.waiting -= 1
        return super()._do_get()


def _each(of: Callable[[MeasuredPool], int], **attributes: str) -> Iterable[Observation]:
    """Observe a sum for each name: an engine that is opened anew has another pool."""
    sums: Counter[str] = Counter()
    for pool in list(_POOLS):
        sums[pool.name] += of(pool)
    for name, value in sums.items():
        yield Observation(value, {"pool": name, **attributes})


def _connections(_options: CallbackOptions) -> Iterable[Observation]:
    yield from _each(lambda pool: pool.checkedout(), state="used")
    yield from _each(lambda pool: pool.checkedin(), state="idle")


def _waiting(_options: CallbackOptions) -> Iterable[Observation]:
    yield from _each(lambda pool: pool.waiting)


def _largest(_options: CallbackOptions) -> Iterable[Observation]:
    yield from _each(lambda pool: pool.largest)


_METER = metrics.get_meter("mesh.sql")
_METER.create_observable_up_down_counter(
    "db.client.connection.count", [_connections], description="connections, by state"
)
_METER.create_observable_up_down_counter(
    "db.client.connection.pending_requests", [_waiting], description="who waits for a connection"
)
_METER.create_observable_up_down_counter(
    "db.client.connection.max", [_largest], description="connections that may be open"
)
