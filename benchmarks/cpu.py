"""CPU time of processes, as the kernel counts it (Linux)."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_USER, _SYSTEM = 11, 12
"""Places after the process's name in /proc/PID/stat (proc(5))."""


def cpu_seconds(pids: Iterable[int]) -> float:
    """Give the CPU seconds that processes took so far; none for those that are gone."""
    ticks = 0
    for pid in pids:
        try:
            told = Path(f"/proc/{pid}/stat").read_text()
        except FileNotFoundError:
            continue
        fields = told.rpartition(")")[2].split()
        ticks += int(fields[_USER]) + int(fields[_SYSTEM])
    return ticks / _TICKS


def family(pid: int) -> Iterator[int]:
    """Give a process and all that it started, at any depth."""
    yield pid
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield from family(int(child))
