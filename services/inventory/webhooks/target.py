"""Where a webhook leads, and which addresses it may lead to (CWE-918).

A name is resolved for each message, the address is judged, and that address is connected to: a
name that leads elsewhere a moment later leads nowhere.
"""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from mesh.errors import FieldInvalid

FIELD = "webhook.url"
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_WRITTEN = re.compile(r"[\x21-\x7e]{1,2048}")
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?|[0-9a-f:.]+")
_PORTS = {"https": 443, "http": 80}
# What they stand for is an IPv4 address, which need not be public.
_TRANSLATED = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16")))


class AddressRefused(Exception):
    """A host with an address that is not public, and that the operator has not allowed."""


@dataclass(frozen=True)
class Networks:
    """Networks that are not public and that webhooks may reach nevertheless."""

    allowed: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read networks such as ``10.2.0.0/16,fd00::/8``; ValueError."""
        parts = (part.strip() for part in text.split(",") if part.strip())
        return cls(tuple(map(ipaddress.ip_network, parts)))

    def admits(self, address: Address) -> bool:
        """Tell whether an address is public or allowed."""
        mapped = getattr(address, "ipv4_mapped", None)
        if mapped is not None:
            return self.admits(mapped)
        if any(address.version == each.version and address in each for each in self.allowed):
            return True
        if any(address.version == each.version and address in each for each in _TRANSLATED):
            return False
        return address.is_global and not address.is_multicast and not address.is_reserved

    @property
    def loopback(self) -> bool:
        """Whether loopback is allowed, and with it HTTP in the clear to it."""
        return any(each.is_loopback for each in self.allowed)


@dataclass(frozen=True)
class Target:
    """A URL taken apart."""

    host: str
    port: int
    tls: bool
    path: str
    """With the query."""

    @property
    def authority(self) -> str:
        """What stands in the ``Host`` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (
            host if self.port == _PORTS["https" if self.tls else "http"] else f"{host}:{self.port}"
        )

    @classmethod
    def parse(cls, url: str, networks: Networks) -> Self:
        """Read a URL; FieldInvalid says why it cannot be one of a webhook."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            raise FieldInvalid.of(FIELD, "is no URL") from None
        if not _WRITTEN.fullmatch(url) or "\\" in url or not _HOST.fullmatch(host) or port == 0:
            raise FieldInvalid.of(FIELD, "is no URL of ASCII characters with a host")
        if parts.username is not None or parts.password is not None or "#" in url:
            raise FieldInvalid.of(FIELD, "has a user or a fragment")
        literal = _literal(host)
        if literal is not None and not networks.admits(literal):
            raise FieldInvalid.of(FIELD, "leads to an address that is not public")
        local = host == "localhost" or (literal is not None and literal.is_loopback)
        if parts.scheme != "https" and not (parts.scheme == "http" and local and networks.loopback):
            raise FieldInvalid.of(FIELD, "must begin with https://")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(host, port or _PORTS[parts.scheme], parts.scheme == "https", path)

    async def addresses(self, networks: Networks) -> Sequence[str]:
        """Resolve the host; AddressRefused if any of its addresses may not be reached, OSError."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        texts = list(dict.fromkeys(str(each[4][0]) for each in found))
        if not all(networks.admits(ipaddress.ip_address(text)) for text in _unscoped(texts)):
            raise AddressRefused
        return texts


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _unscoped(texts: Iterable[str]) -> Iterable[str]:
    """Give addresses without the zone that link-local ones may have."""
    return (text.partition("%")[0] for text in texts)
