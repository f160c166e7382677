"""Where the embedded mesh listens."""

import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

HOST = "127.0.0.1"
MAX_PORT = 65535
_ANY = range(15_000, 32_768)
"""From above on, Linux gives ports to connections: one may get what a server is about to take."""
_TRIES = 100


class PortTaken(Exception):
    """Another program listens where the mesh should."""


@dataclass(frozen=True)
class Ports:
    """Where the mesh listens on loopback; 0 means any free port."""

    gateway: int = 8080
    inventory: int = 0
    security: int = 0
    crypto: int = 0
    tenancy: int = 0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read SECMESH_GATEWAY_PORT and so on. Raises PortTaken for what is no port."""

        def port(name: str, default: int) -> int:
            text = environment.get(f"SECMESH_{name}_PORT", str(default))
            if not text.isdecimal() or int(text) > MAX_PORT:
                raise PortTaken(f"SECMESH_{name}_PORT is {text!r}, which is no port")
            return int(text)

        services = (port(name, 0) for name in ("INVENTORY", "SECURITY", "CRYPTO", "TENANCY"))
        return cls(port("GATEWAY", cls.gateway), *services)

    def addresses(self) -> dict[str, str]:
        """Give a free address for each, by name. Raises PortTaken."""
        wanted = {
            "gateway": self.gateway,
            "inventory": self.inventory,
            "security": self.security,
            "crypto": self.crypto,
            "tenancy": self.tenancy,
        }
        # All are held until the last is found, so that no two get the same.
        held: list[socket.socket] = []
        try:
            return {name: _free_address(port, name, held) for name, port in wanted.items()}
        finally:
            for each in held:
                each.close()


def _free_address(wanted: int, name: str, held: list[socket.socket]) -> str:
    ports = [wanted] if wanted else [secrets.choice(_ANY) for _ in range(_TRIES)]
    problem = ""
    for port in ports:
        probe = socket.socket()
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            # Of two that are bound and do not listen, both might have it.
            probe.listen()
        except OSError as error:
            probe.close()
            problem = error.strerror or str(error)
            continue
        held.append(probe)
        return f"{HOST}:{port}"
    raise PortTaken(
        f"port {wanted} is taken ({problem}); choose another by "
        f"SECMESH_{name.upper()}_PORT, 0 for any"
    )
