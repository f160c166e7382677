"""Tokens that a service gets for its credential: fetched once, kept, fetched anew ahead of time."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import grpc
from google.rpc import status_pb2

from secmesh.tenancy.v1.token_service_pb2 import IssueTokenRequest, IssueTokenResponse
from secmesh.tenancy.v1.token_service_pb2_grpc import TokenServiceStub
from secmesh_client.refusal import CallRefused

AHEAD = 0.4
"""Part of a token's life that is left when it is fetched anew."""
RETRY_SECONDS = 5.0
"""Between two tries while the issuer does not answer and the token is still good."""
MAX_TENANTS = 1000
"""Tenants whose tokens are kept; the least recently used makes room."""


@dataclass(frozen=True)
class ServiceCredential:
    """What a service shows to get tokens."""

    client_id: str
    secret: str | Path = field(repr=False)
    """The secret, or the file that holds it: read for each token, so that it can be rotated."""
    scope: str = ""
    """What tokens are to allow at most: permission patterns with spaces between."""
    audience: str = ""
    """The one service that is to take them, such as ``inventory``."""

    def request(self, tenant: str = "") -> IssueTokenRequest:
        """Ask for a token, one that acts for a tenant if it is given. Raises OSError."""
        secret = self.secret
        return IssueTokenRequest(
            client_id=self.client_id,
            client_secret=secret if isinstance(secret, str) else secret.read_text().strip(),
            scope=self.scope,
            tenants=[tenant] if tenant else [],
            audience=self.audience,
        )


@dataclass(frozen=True)
class HeldToken:
    """A token, on a clock that only grows."""

    text: str = field(repr=False)
    renew_at: float
    ends_at: float

    @classmethod
    def of(cls, answer: IssueTokenResponse, asked_at: float) -> "HeldToken":
        """Hold a token that was asked for at a moment."""
        life = float(answer.expires_in)
        return cls(answer.access_token, asked_at + life * (1 - AHEAD), asked_at + life)


class _Place:
    """What is held for one tenant."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.held: HeldToken | None = None


class ServiceTokens:
    """Gives a token for each call; ``connect`` takes it as ``token``. Threads may share it.

    One call of a tenant at a time fetches; its others wait for it. While the issuer does not
    answer, the token that is held serves until it ends. Calls raise CallRefused, and OSError for
    a secret that cannot be read.

    Args:
        channel: Leads to the tenancy service, without a token of its own.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        channel: grpc.Channel,
        credential: ServiceCredential,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stub = TokenServiceStub(channel)
        self._credential = credential
        self._clock = clock
        self._tenant: ContextVar[str] = ContextVar("tenant", default="")
        self._lock = Lock()
        self._places: OrderedDict[str, _Place] = OrderedDict()

    @contextmanager
    def acting_for(self, tenant: str) -> Iterator[None]:
        """Have calls of this thread carry tokens that act for a tenant."""
        before = self._tenant.set(tenant)
        try:
            yield
        finally:
            self._tenant.reset(before)

    def __call__(self) -> str:
        tenant = self._tenant.get()
        place = self._place(tenant)
        with place.lock:
            held, now = place.held, self._clock()
            if held is not None and now < held.renew_at:
                return held.text
            try:
                answer = self._stub.IssueToken(self._credential.request(tenant))
            except CallRefused as refused:
                # Refused is refused: a credential that was revoked must not seem to go on.
                if held is None or now >= held.ends_at or refused.code not in PASSING:
                    raise
                later = min(now + RETRY_SECONDS, held.ends_at)
                place.held = HeldToken(held.text, later, held.ends_at)
                return held.text
            place.held = HeldToken.of(answer, now)
            return place.held.text

    def _place(self, tenant: str) -> _Place:
        with self._lock:
            place = self._places.setdefault(tenant, _Place())
            self._places.move_to_end(tenant)
            if len(self._places) > MAX_TENANTS:
                self._places.popitem(last=False)
            return place


PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
"""What may be over a moment later."""


def no_token() -> CallRefused:
    """Say that there is no token, as a service would that does not answer."""
    code = grpc.StatusCode.UNAVAILABLE
    message = "the issuer of tokens does not answer"
    return CallRefused(status_pb2.Status(code=code.value[0], message=message), code)
