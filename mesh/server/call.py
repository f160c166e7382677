"""The call that is being served, for code below the handlers."""

import asyncio
import math
import time
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from mesh.contract.catalogue import Method
from mesh.identity.caller import NOBODY, Caller

REQUEST_ID_KEY = "x-request-id"
Metadata = Iterable[tuple[str, str | bytes]]


@dataclass(frozen=True)
class RequestKey:
    """What tells requests apart; the same id of another caller is another request."""

    tenant: str
    caller: str
    method: str
    request_id: str


@dataclass(slots=True, eq=False)
class Call:
    """What is known of one call."""

    path: str
    """``/package.Service/Method``."""
    method: Method | None = None
    """The contract's rules; None for health, reflection and paths without a contract."""
    streams: bool = False
    """Whether requests or responses are streamed."""
    metadata: Metadata = field(default=(), repr=False)
    """What came with the call; holds the token, so it is never logged."""
    name: str = ""
    """As metrics have it: ``package.Service/Method``, or one word for all unknown methods."""
    request_id: str = ""
    caller: Caller = NOBODY
    tenant: str = ""
    """Tenant that the names in the request are of; empty if it holds none."""
    deadline: float = math.inf
    """When the call must be over, on the clock of time.monotonic(); infinite if never."""
    started: float = field(default_factory=time.monotonic)
    ended: bool = False
    ends_with_token: bool = False
    """Whether the deadline is the end of the caller's token."""
    expired: bool = False
    """Whether it was cancelled at its deadline."""
    hasten: "Callable[[Call], None] | None" = field(default=None, repr=False)
    """To be told of a deadline that came nearer; None where nobody watches it."""
    task: asyncio.Task[Any] | None = field(default=None, repr=False)
    """Serves the call."""
    status: str = "UNKNOWN"
    """Name of the gRPC status the call ended with, once it has."""
    kind: str = ""
    """Collection of the contract that the request is about; empty if it names none."""

    @property
    def remaining(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.monotonic()

    def end_with_token(self) -> None:
        """Bring the deadline forward to the end of the caller's token."""
        seconds = self.caller.expires_at - time.time()
        if seconds >= self.remaining or self.hasten is None:
            return
        self.deadline = time.monotonic() + seconds
        self.ends_with_token = True
        self.hasten(self)


_CURRENT: ContextVar[Call] = ContextVar("call")


enter_call = _CURRENT.set
"""Makes a call the current one of this task; gRPC gives every call a task of its own."""


def current_call() -> Call:
    """Give the call that is being served. Raises LookupError outside of one."""
    return _CURRENT.get()


def find_current_call() -> Call | None:
    """Give the call that is being served, or None outside of one and after it ended.

    A task that a handler leaves running keeps the call's context, but not its deadline.
    """
    call = _CURRENT.get(None)
    return None if call is None or call.ended else call
