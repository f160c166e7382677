"""One message to one receiver: HTTP/1.1 to the address that was judged, and the head of the answer.

Redirects are not followed, and no more than the head is read: whatever else the receiver says
cannot be asked for by whoever wrote the URL.
"""

import asyncio
import contextlib
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from services.inventory.webhooks.target import AddressRefused, Networks, Target

SECONDS = 15.0
"""Longest that one message may take, from the name to the head of the answer."""
_HEAD_BYTES = 16_384
_INTERIM = 5
"""Interim answers (1xx) that are passed over."""
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})[ \r]")
_RETRY_AFTER = re.compile(rb"\r\nretry-after:[ \t]*([0-9]{1,6})[ \t]*\r\n", re.IGNORECASE)
_TAKEN, _REDIRECT, _REFUSED = 200, 300, 400
GONE = 410


@dataclass(frozen=True)
class Answer:
    """What came of a message."""

    code: int = 0
    """HTTP status; 0 if there was no answer."""
    problem: str = ""
    """Empty if the message was taken."""
    retry_after: int = 0
    """Seconds that the receiver asks to wait."""

    @property
    def taken(self) -> bool:
        return not self.problem


class _NoHttp(Exception):
    """What came back is no answer of HTTP/1.1."""


class Sender:
    """Sends messages."""

    def __init__(
        self, networks: Networks, authorities: Path | None = None, seconds: float = SECONDS
    ) -> None:
        """Trust the system's authorities, and those of a PEM file beside them."""
        self.networks = networks
        self._authorities = authorities
        self._seconds = seconds

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self._authorities is not None:
            context.load_verify_locations(self._authorities)
        return context

    async def send(self, target: Target, headers: Mapping[str, str], body: bytes) -> Answer:
        """POST a body of JSON; whatever goes wrong is in the answer."""
        try:
            async with asyncio.timeout(self._seconds):
                return await self._sent(target, headers, body)
        except TimeoutError:
            return Answer(problem="did not answer in time")
        except AddressRefused:
            return Answer(problem="has an address that is not public")
        except ssl.SSLCertVerificationError:
            return Answer(problem="has a certificate that is not trusted for its name")
        except ssl.SSLError:
            return Answer(problem="speaks no TLS that is safe")
        except (OSError, UnicodeError):
            return Answer(problem="cannot be reached")
        except (_NoHttp, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return Answer(problem="answered no HTTP/1.1")

    async def _sent(self, target: Target, headers: Mapping[str, str], body: bytes) -> Answer:
        reader, writer = await self._connected(target)
        try:
            writer.write(_head(target, headers, body) + body)
            await writer.drain()
            for _ in range(_INTERIM):
                head = await reader.readuntil(b"\r\n\r\n")
                match = _STATUS.match(head)
                if match is None:
                    raise _NoHttp
                if not match[1].startswith(b"1"):
                    return _answer(int(match[1]), head)
            raise _NoHttp
        finally:
            writer.transport.abort()

    async def _connected(self, target: Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the first address that answers; OSError of the last."""
        addresses = await target.addresses(self.networks)
        tls = self._tls if target.tls else None
        name = target.host if target.tls else None
        for address in addresses[:-1]:
            with contextlib.suppress(ConnectionError):
                return await asyncio.open_connection(
                    address, target.port, ssl=tls, server_hostname=name, limit=_HEAD_BYTES
                )
        return await asyncio.open_connection(
            addresses[-1], target.port, ssl=tls, server_hostname=name, limit=_HEAD_BYTES
        )


def _head(target: Target, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = {
        "Host": target.authority,
        "User-Agent": "secmesh-webhooks/1",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close",
        **headers,
    }
    written = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST {target.path} HTTP/1.1\r\n{written}\r\n".encode("ascii")


def _answer(code: int, head: bytes) -> Answer:
    if _TAKEN <= code < _REDIRECT:
        return Answer(code)
    asked = _RETRY_AFTER.search(head)
    problem = "redirects, which is not followed" if code < _REFUSED else f"answered {code}"
    return Answer(code, problem, int(asked[1]) if asked else 0)
