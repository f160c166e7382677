"""What happens around each attempt of a call: its turn, its measures, its way."""

import re
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, Protocol

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.client import BaseClient

from mesh.aws.outcomes import CREDENTIALS_REFUSED, Outcome, error_code
from mesh.aws.pace import Pace
from mesh.aws.telemetry import Attempts, outcome_of
from mesh.aws.transport import Transport

_RENEWALS = 3
"""Attempts of one call, after which other credentials are of no help."""
_AT_ONCE = 0.001
"""Seconds that are no wait: it takes as long to see that there is none."""
_MADE = "secmesh.made"
"""In a request's context: how an attempt ended that is already made."""
_KEY = "secmesh.key"
"""In a request's context: id of the access key that signed the last attempt."""
_SIGNED_BY = re.compile(r"Credential=([^/]+)/")


class Observer(Protocol):
    """Sees every attempt of a call, retried ones too, in the thread that makes it."""

    def before(self) -> None:
        """Called before each attempt and while it waits; what it raises ends the call."""

    def pause(self, seconds: float) -> None:
        """Wait; what it raises ends the call."""

    def answered(self, outcome: Outcome, code: str) -> None:
        """Called with what each attempt was answered."""


observer: ContextVar[Observer | None] = ContextVar("observer", default=None)
"""Who watches the calls of this thread."""


class Sending:
    """The attempts of one client; threads may share it."""

    def __init__(
        self,
        pace: Pace,
        attempts: Attempts,
        transport: Transport | None,
        heard: Callable[[str], None],
        renew: Callable[[str], bool] | None = None,
    ) -> None:
        """Without a transport botocore sends; ``heard`` is told the error code of each answer.

        ``renew`` is asked for others when AWS refuses the credentials of an access key.
        """
        self._pace = pace
        self._attempts = attempts
        self._transport = transport
        self._heard = heard
        self._renew = renew

    def watch(self, client: BaseClient) -> None:
        """See what botocore sends for a client, and what it is answered."""
        events = client.meta.events
        events.register_last("before-send", self._before_send)  # type: ignore[arg-type]  # its answer is the response
        events.register_first("response-received", self._response_received)
        events.register_first("needs-retry", _retry_throttled)  # type: ignore[arg-type]  # its answer is the delay
        if self._renew is not None:
            events.register_first("needs-retry", self._retry_renewed)  # type: ignore[arg-type]  # as above

    def begin(self, operation: str) -> None:
        """Wait for a turn and begin an attempt; what the observer raises ends the call."""
        watching = observer.get()
        if watching is not None:
            began = time.monotonic()
            try:
                self._pace.wait(watching.before, watching.pause)
            finally:
                waited = time.monotonic() - began
                if waited > _AT_ONCE:
                    self._attempts.waited(waited)
        # Waiting for a turn is no part of an attempt.
        self._attempts.sent(operation)

    def end(self, operation: str, parsed_response: Mapping[str, Any] | None) -> None:
        """Note how an attempt was answered; None if it was not."""
        if parsed_response is None:
            self._attempts.answered(operation, Outcome.FAILED)
            return
        outcome, code = outcome_of(parsed_response)
        self._attempts.answered(operation, outcome)
        self._heard(code)
        if outcome is Outcome.THROTTLED:
            self._pace.throttled()
        else:
            self._pace.answered()
        watching = observer.get()
        if watching is not None:
            watching.answered(outcome, code)

    def _before_send(
        self, request: AWSPreparedRequest, event_name: str, **_: object
    ) -> AWSResponse | None:
        sent: Any = request
        made = sent.context.pop(_MADE, None)
        if made is None:
            signed = _SIGNED_BY.search(str(sent.headers.get("Authorization", "")))
            sent.context[_KEY] = signed[1] if signed else ""
            self.begin(_operation(event_name))
            return None if self._transport is None else self._transport.send(request)
        if isinstance(made, Exception):
            raise made
        answer: AWSResponse = made
        return answer

    def _response_received(
        self, event_name: str, parsed_response: Mapping[str, Any] | None, **_: object
    ) -> None:
        self.end(_operation(event_name), parsed_response)

    def _retry_renewed(
        self,
        response: tuple[object, Mapping[str, Any]] | None,
        attempts: int,
        request_dict: dict[str, Any],
        **_: object,
    ) -> int | None:
        """Let a call be made again by other credentials, if its own are good no more."""
        if response is None or self._renew is None or attempts >= _RENEWALS:
            return None
        refused = error_code(response[1]) in CREDENTIALS_REFUSED
        return 0 if refused and self._renew(request_dict["context"].get(_KEY, "")) else None


def hand_over(context: dict[str, Any], made: AWSResponse | Exception, key: str) -> None:
    """Let botocore take as its next attempt the one that was begun, and how it ended.

    It was signed by the access key with the id ``key``.
    """
    context[_MADE], context[_KEY] = made, key


def _operation(event_name: str) -> str:
    return event_name.rpartition(".")[2]


def _retry_throttled(response: tuple[object, Mapping[str, Any]] | None, **_: object) -> int | None:
    """Let a throttled call be made again without end: the pace and the caller's patience rule."""
    if response is None or observer.get() is None:
        return None
    outcome, _code = outcome_of(response[1])
    return 0 if outcome is Outcome.THROTTLED else None
