"""How late the event loop runs what is due, and how busy its thread is."""

import asyncio
import time
from collections.abc import Iterable
from weakref import WeakSet

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

TICK_SECONDS = 0.5
ALIVE_SECONDS = 10.0
"""A loop that has not ticked for so long is taken for hung."""

_METER = metrics.get_meter("mesh.loop")
_LAG = _METER.create_histogram(
    "event_loop.lag",
    unit="s",
    description="how late the event loop ran a timer",
    explicit_bucket_boundaries_advisory=[0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5],
)
_MONITORS: "WeakSet[LoopMonitor]" = WeakSet()


class LoopMonitor:
    """Ticks on one event loop; other threads may read what it found."""

    def __init__(self) -> None:
        self.busy = 0.0
        """Part of the last tick that the loop's thread computed, 0 to 1."""
        self._beat = time.monotonic()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Tick from now on, on the running loop."""
        self._beat = time.monotonic()
        self._task = asyncio.create_task(self._tick(), name="loop monitor")
        _MONITORS.add(self)

    async def stop(self) -> None:
        """Tick no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        _MONITORS.discard(self)

    @property
    def is_alive(self) -> bool:
        """Whether the loop still runs what is due."""
        return time.monotonic() - self._beat < ALIVE_SECONDS

    async def _tick(self) -> None:
        while True:
            began, computed = time.monotonic(), time.thread_time()
            await asyncio.sleep(TICK_SECONDS)
            self._beat = time.monotonic()
            _LAG.record(max(0.0, self._beat - began - TICK_SECONDS))
            self.busy = min(1.0, (time.thread_time() - computed) / (self._beat - began))


def _observe(_options: CallbackOptions) -> Iterable[Observation]:
    yield Observation(max((monitor.busy for monitor in list(_MONITORS)), default=0.0))


_METER.create_observable_gauge(
    "event_loop.utilization",
    [_observe],
    unit="1",
    description="part of the time that the event loop's thread computes",
)
