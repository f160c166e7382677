"""Calls to other systems, so that nobody reaches through them what only this process can reach.

A host is resolved once, every address it has is checked, and the call goes to one of these: a
name that answers otherwise the second time gains nothing. Redirects are not followed, proxies of
the environment not used, and time and size are bounded.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

MAX_ANSWER = 65_536
"""Bytes of an answer that are kept."""
_PORTS = {"https": 443, "http": 80}
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
"""All of IPv6 that is routed; what is mapped from or translated to IPv4 lies beside it."""


class EgressRefused(Exception):
    """A call that is not made."""


class EgressFailed(Exception):
    """A call that was not answered."""


@dataclass(frozen=True)
class Outgoing:
    """One request."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """May hold credentials."""
    content: bytes = b""


@dataclass(frozen=True)
class Answer:
    """What another system said."""

    status: int
    content: bytes
    content_type: str


class Egress:
    """Makes calls to public addresses, and to the hosts that the operator names."""

    def __init__(self, allowed: frozenset[str] = frozenset()) -> None:
        """``allowed`` are hosts as ``name:port`` that may be reached wherever they are."""
        self._allowed = frozenset(each.lower() for each in allowed)
        self._tls = ssl.create_default_context()

    async def send(self, request: Outgoing, seconds: float) -> Answer:
        """Make a call; EgressRefused, EgressFailed. Takes at most so many seconds."""
        # Only who calls other systems pays for it: it was a tenth of the service's start.
        import httpx

        try:
            async with asyncio.timeout(seconds):
                return await self._send(request, seconds)
        except TimeoutError:
            raise EgressFailed(f"no answer within {seconds:g} s") from None
        except httpx.HTTPError as error:
            # Its text may hold the address, and never what was sent.
            raise EgressFailed(f"{type(error).__name__}: {error}"[:300]) from None

    async def _send(self, request: Outgoing, seconds: float) -> Answer:
        import httpx

        url = httpx.URL(request.url)
        host, port = url.host, url.port or _PORTS.get(url.scheme, 0)
        named = f"{host}:{port}".lower() in self._allowed
        if url.scheme not in _PORTS or (url.scheme == "http" and not named):
            raise EgressRefused("only https is called, except at the hosts that are allowed")
        address = await _resolve(host, port, any_address=named)
        transport = httpx.AsyncHTTPTransport(verify=self._tls, trust_env=False, retries=0)
        # A few bytes that are compressed may become any number.
        headers = {
            **request.headers,
            "Host": url.netloc.decode(),
            "Accept-Encoding": "identity",
        }
        async with (
            httpx.AsyncClient(
                transport=transport, trust_env=False, follow_redirects=False, timeout=seconds
            ) as client,
            client.stream(
                request.method,
                url.copy_with(host=address),
                headers=headers,
                content=request.content or None,
                extensions={"sni_hostname": host},
            ) as response,
        ):
            coding = response.headers.get("content-encoding", "identity")
            if coding.lower() != "identity":
                raise EgressFailed("the answer is compressed, which nobody asked for")
            kept = bytearray()
            async for part in response.aiter_raw():
                kept += part
                if len(kept) > MAX_ANSWER:
                    raise EgressFailed(f"the answer has more than {MAX_ANSWER} bytes")
            return Answer(
                response.status_code, bytes(kept), response.headers.get("content-type", "")
            )


async def _resolve(host: str, port: int, *, any_address: bool) -> str:
    """Give the address to call; EgressRefused if one of the host's is not public."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        raise EgressFailed(f"the host {host} is not known") from None
    addresses = [str(each[4][0]) for each in found]
    if not any_address and not all(is_public(each) for each in addresses):
        raise EgressRefused(f"the host {host} is not public")
    return addresses[0]


def is_public(text: str) -> bool:
    """Tell whether an address is reached over the internet; those hidden in IPv6 count too."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and (
        address not in _GLOBAL_UNICAST or address.sixtofour or address.teredo
    ):
        return False
    return address.is_global and not address.is_multicast
