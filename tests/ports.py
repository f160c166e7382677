"""Ports for servers that must be known before they listen, or come back where they were."""

import secrets
import socket
from pathlib import Path

_LOWEST = 10_000
_OWN_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_DEFAULT = 32_768
"""From here on Linux gives ports to connections, and to who asks for any."""
_TRIES = 100


def free_port() -> int:
    """Give a port that nobody has, and that nobody is given who asks for any."""
    first = int(_OWN_PORTS.read_text().split()[0]) if _OWN_PORTS.exists() else _DEFAULT
    for _ in range(_TRIES):
        # Not of ``random``, which starts at the same seed in every worker.
        port = _LOWEST + secrets.randbelow(first - _LOWEST)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError("no port is free")
