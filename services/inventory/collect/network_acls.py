"""Network ACLs: numbered rules, of which the first that matches decides."""

from collections.abc import Iterable, Iterator

from mesh.aws.reader import Response

ADMIN_PORTS = (22, 3389)
WORLD = ("0.0.0.0/0", "::/0")
_TCP = ("6", "tcp", "-1")


def admits_admin_ports(entries: Iterable[Response]) -> bool:
    """Tell whether the whole internet gets in on a port of remote administration."""
    inbound = sorted(
        (entry for entry in entries if not entry.get("Egress", False)),
        key=lambda entry: int(entry["RuleNumber"]),
    )
    return any(
        next(_decisions(inbound, port, network), "deny") == "allow"
        for port in ADMIN_PORTS
        for network in WORLD
    )


def _decisions(inbound: Iterable[Response], port: int, network: str) -> Iterator[str]:
    for entry in inbound:
        if network in (entry.get("CidrBlock"), entry.get("Ipv6CidrBlock")) and _covers(entry, port):
            yield str(entry["RuleAction"])


def _covers(entry: Response, port: int) -> bool:
    protocol = str(entry.get("Protocol", "-1"))
    span = entry.get("PortRange") or {}
    if protocol == "-1" or not span:
        return protocol in _TCP
    return protocol in _TCP and int(span["From"]) <= port <= int(span["To"])
