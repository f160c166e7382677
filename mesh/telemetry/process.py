"""What the process takes from its machine (OpenTelemetry semantic conventions, process metrics)."""

import os
import resource
import sys
import threading
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

_STATM = Path("/proc/self/statm")
_STARTED = time.time()


@cache
def observe() -> None:
    """Register the metrics, once for the process."""
    meter = metrics.get_meter("mesh.process")
    meter.create_observable_counter(
        "process.cpu.time", [_cpu], unit="s", description="CPU time of the process"
    )
    meter.create_observable_up_down_counter(
        "process.memory.usage", [_memory], unit="By", description="resident memory"
    )
    meter.create_observable_up_down_counter(
        "process.thread.count", [_threads], description="threads that Python knows"
    )
    meter.create_observable_gauge(
        "process.start.time", [_started], unit="s", description="when it started, since 1970"
    )


def _cpu(_options: CallbackOptions) -> Iterable[Observation]:
    times = os.times()
    yield Observation(times.user, {"cpu.mode": "user"})
    yield Observation(times.system, {"cpu.mode": "system"})


def _memory(_options: CallbackOptions) -> Iterable[Observation]:
    yield Observation(resident_bytes())


def _threads(_options: CallbackOptions) -> Iterable[Observation]:
    yield Observation(threading.active_count())


def _started(_options: CallbackOptions) -> Iterable[Observation]:
    yield Observation(_STARTED)


def resident_bytes() -> int:
    """Give the memory that the process holds now; where unknown, its largest ever."""
    try:
        return int(_STATM.read_text().split()[1]) * resource.getpagesize()
    except OSError:
        largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return largest if sys.platform == "darwin" else largest * 1024
