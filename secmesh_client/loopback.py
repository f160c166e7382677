"""Which hosts cannot be reached from another machine."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Tell whether a host, as written in an address or URL, is this machine's loopback."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
