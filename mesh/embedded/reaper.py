"""Stops adopted processes when the pipe from their parent ends. See process.Reaper."""

import contextlib
import os
import signal
import sys
import time

GRACE_SECONDS = 5.0


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def reap(pids: set[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in filter(alive, pids):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the pipe's end is the only cause to leave
    adopted: set[int] = set()
    for line in sys.stdin:
        order, _, pid = line.strip().partition(" ")
        (adopted.add if order == "adopt" else adopted.discard)(int(pid))
    reap(adopted)


if __name__ == "__main__":
    main()
