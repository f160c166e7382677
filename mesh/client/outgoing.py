"""What every outgoing call carries: token, request id, and the time that is left."""

from collections.abc import Callable, Iterable, Mapping

import grpc

from mesh.contract.catalogue import Method, load_catalogue
from mesh.loopback import is_loopback
from mesh.server.call import REQUEST_ID_KEY, find_current_call
from mesh.telemetry import tracing

Token = str | Callable[[], str]
MARGIN_SECONDS = 0.05
"""Kept back from the deadline of the call being served, to answer in."""

Metadata = tuple[tuple[str, str | bytes], ...]


class Outgoing:
    """The rules of one channel."""

    def __init__(self, package: str, token: Token | None) -> None:
        self._methods: Mapping[str, Method] = load_catalogue(package).methods
        self._token = token

    def default_timeout(self, path: str) -> float | None:
        """Give the method's own limit in seconds, None for methods without a contract."""
        method = self._methods.get(path)
        return method.timeout.total_seconds() if method is not None else None

    def timeout(self, asked: float | None, default: float | None) -> float | None:
        """Give the seconds a call may take: the caller's or the method's, and never longer than
        the call that is being served. gRPC does not propagate deadlines by itself.
        """
        seconds = default if asked is None else asked
        call = find_current_call()
        if call is None:
            return seconds
        left = max(call.remaining - MARGIN_SECONDS, 0.0)
        return left if seconds is None else min(seconds, left)

    def metadata(self, given: Iterable[tuple[str, str | bytes]] | None) -> Metadata:
        """Add the token and the request id, unless the caller gave them."""
        entries = tuple(given or ())
        keys = {key for key, _ in entries}
        if self._token is not None and "authorization" not in keys:
            token = self._token if isinstance(self._token, str) else self._token()
            entries = (*entries, ("authorization", f"Bearer {token}"))
        call = find_current_call()
        if call is not None and call.request_id and REQUEST_ID_KEY not in keys:
            entries = (*entries, (REQUEST_ID_KEY, call.request_id))
        return (*entries, *tracing.outgoing())


def require_safe_target(
    target: str, credentials: grpc.ChannelCredentials | None, *, allow_plaintext: bool
) -> None:
    """Refuse to send a token over the network in the clear. Raises ValueError."""
    if credentials is not None or allow_plaintext or target.startswith("unix:"):
        return
    address = target.removeprefix("dns:").lstrip("/").removeprefix("ipv4:").removeprefix("ipv6:")
    if not is_loopback(address.rpartition(":")[0]):
        raise ValueError(f"{target} is not on loopback: give credentials, or allow_plaintext")
