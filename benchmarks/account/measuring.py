"""What a process spends, read from the kernel (Linux), and what an endpoint was called."""

import os
from dataclasses import dataclass
from pathlib import Path

import httpx

from mesh.embedded.aws_faults import CALLS_PATH

_TICKS = os.sysconf("SC_CLK_TCK")
_MEBI = 1024.0


@dataclass(frozen=True)
class Usage:
    """What a process has spent so far."""

    cpu_seconds: float
    """Its own, user and system, all threads."""
    peak_megabytes: float
    """Most memory that was resident at once, in MiB."""


def usage(pid: int) -> Usage:
    """Read what a living process has spent (proc(5): stat fields 14 and 15, VmHWM)."""
    folder = Path("/proc") / str(pid)
    # The second field is the program's name, which may hold blanks.
    fields = (folder / "stat").read_text().rpartition(")")[2].split()
    status = (folder / "status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return Usage((int(fields[11]) + int(fields[12])) / _TICKS, int(peak.split()[1]) / _MEBI)


def calls(endpoint_url: str) -> dict[str, int]:
    """Ask the embedded endpoint how often each operation was called."""
    counted: dict[str, int] = httpx.get(f"{endpoint_url}{CALLS_PATH}").raise_for_status().json()
    return counted
