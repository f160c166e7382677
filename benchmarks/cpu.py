"""CPU time of processes, as the kernel counts it (Linux)."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_OWN = slice(11, 13)
"""Places of user and system time after the process's name in /proc/PID/stat (proc(5))."""
_SCHEDULED = 2
"""Which of a process's clocks: what it was scheduled for, user and system (CPUCLOCK_SCHED)."""
_QUIET, _QUIET_SECONDS = 0.05, 2
"""CPU seconds in a second below which processes do nothing, and how long they must."""


def cpu_seconds(pids: Iterable[int]) -> float:
    """Give the CPU seconds that processes took so far; none for those that are gone."""
    ticks = 0
    for pid in pids:
        try:
            told = Path(f"/proc/{pid}/stat").read_text()
        except FileNotFoundError:
            continue
        fields = told.rpartition(")")[2].split()
        ticks += sum(map(int, fields[_OWN]))
    return ticks / _TICKS


def family(pid: int) -> Iterator[int]:
    """Give a process and all that it started, at any depth."""
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return
    for child in children:
        yield from family(int(child))


def settled(pids: Callable[[], Iterable[int]], most: float = 60.0) -> float:
    """Wait until processes have nothing to do; give the CPU seconds that took."""
    began = last = cpu_seconds(pids())
    end, quiet = time.monotonic() + most, 0
    while quiet < _QUIET_SECONDS and time.monotonic() < end:
        time.sleep(1)
        now = cpu_seconds(pids())
        quiet = quiet + 1 if now - last < _QUIET else 0
        last = now
    return last - began


def process_seconds(pids: Iterable[int]) -> float:
    """Give the same to the nanosecond, by each process's clock (clock_getcpuclockid(3))."""
    return sum(map(_clock, pids))


def _clock(pid: int) -> float:
    try:
        return time.clock_gettime(~pid << 3 | _SCHEDULED)
    except OSError:
        return 0.0
