"""Signature Version 4 of a request that is in memory whole.

Source: AWS IAM User Guide, "Create a signed AWS API request". botocore signs the same, by
messages of e-mail for headers and with the key of the day derived anew for each request.
"""

import hmac
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Final
from urllib.parse import quote, urlsplit

from botocore.credentials import ReadOnlyCredentials
from botocore.utils import is_valid_ipv6_endpoint_url, normalize_url_path

_ALGORITHM = "AWS4-HMAC-SHA256"
_END = "aws4_request"
_UNSIGNED = frozenset(
    {
        "baggage",
        "connection",
        "expect",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "traceparent",
        "tracestate",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "x-amzn-trace-id",
    }
)
"""Headers that somebody on the way may change."""
_USUAL_PORTS = {"http": 80, "https": 443}
_DAY = 8
"""Characters of a moment that are its date."""


@dataclass(frozen=True)
class Unsigned:
    """A request without date and signature."""

    method: str
    url: str
    """Percent-encoded, with its query."""
    headers: dict[str, str]
    body: bytes


class Signer:
    """Signs requests to one service in one region; threads may share it."""

    def __init__(self, service: str, region: str) -> None:
        """Both as the scope of a signature names them."""
        self._scope: Final = f"{region}/{service}/{_END}"
        self._steps: Final = (region.encode(), service.encode(), _END.encode())
        # S3 takes paths as they are and wants the digest of the body as a header.
        self._is_s3: Final = service == "s3"
        self._key: tuple[str, str, bytes] | None = None
        """Secret, date, and the key derived from them: it serves a day."""

    def signed(
        self, request: Unsigned, credentials: ReadOnlyCredentials, moment: str
    ) -> dict[str, str]:
        """Give the headers with date and signature; ``moment`` is UTC as 20261122T150000Z."""
        headers = {**request.headers, "X-Amz-Date": moment}
        if credentials.token:
            headers["X-Amz-Security-Token"] = credentials.token
        digest = sha256(request.body).hexdigest()
        if self._is_s3:
            headers["X-Amz-Content-SHA256"] = digest
        scheme, _sep, rest = request.url.partition("://")
        host, _slash, target = rest.partition("/")
        path, _mark, query = target.partition("?")
        lines = _canonical_headers(headers, _host(scheme, host))
        names = ";".join(lines)
        written = "\n".join(
            (
                request.method.upper(),
                self._path(f"/{path}"),
                _canonical_query(query),
                *lines.values(),
                "",
                names,
                digest,
            )
        )
        scope = f"{moment[:_DAY]}/{self._scope}"
        text = f"{_ALGORITHM}\n{moment}\n{scope}\n{sha256(written.encode()).hexdigest()}"
        key = self._derived(str(credentials.secret_key), moment[:_DAY])
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        headers["Authorization"] = (
            f"{_ALGORITHM} Credential={credentials.access_key}/{scope}, "
            f"SignedHeaders={names}, Signature={signature}"
        )
        return headers

    def _path(self, path: str) -> str:
        if self._is_s3 or path == "/":
            return path
        return quote(normalize_url_path(path), safe="/~")

    def _derived(self, secret: str, date: str) -> bytes:
        known = self._key
        if known is not None and known[:2] == (secret, date):
            return known[2]
        key = hmac.digest(f"AWS4{secret}".encode(), date.encode(), "sha256")
        for step in self._steps:
            key = hmac.digest(key, step, "sha256")
        self._key = (secret, date, key)
        return key


def _canonical_headers(headers: dict[str, str], host: str) -> dict[str, str]:
    """Give the lines that are signed, by their names in order."""
    known = {name.lower(): value for name, value in headers.items()}
    known.setdefault("host", host)
    return {
        name: f"{name}:{' '.join(known[name].split())}"
        for name in sorted(known)
        if name not in _UNSIGNED
    }


def _canonical_query(query: str) -> str:
    if not query:
        return ""
    pairs = sorted(pair.partition("=")[::2] for pair in query.split("&"))
    return "&".join(f"{name}={value}" for name, value in pairs)


@lru_cache(maxsize=1024)
def _host(scheme: str, host: str) -> str:
    """Give a host as it is signed: in lower case, its port only if it is not the usual one."""
    origin = f"{scheme}://{host}"
    parts = urlsplit(origin)
    name = str(parts.hostname)
    if is_valid_ipv6_endpoint_url(origin):
        name = f"[{name}]"
    usual = parts.port is None or parts.port == _USUAL_PORTS.get(scheme)
    return name if usual else f"{name}:{parts.port}"
