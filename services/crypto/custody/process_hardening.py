"""Keeps the memory of a process that holds keys from files and from other processes."""

import ctypes
import resource
import sys

_PR_SET_DUMPABLE = 4


def forbid_memory_dumps() -> None:
    """Write no core file, and let no process of the same user read this one's memory.

    Python cannot promise to erase keys: they stay in memory until it is used again.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        # Neither ptrace nor /proc/PID/mem for others than root (prctl(2)).
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
