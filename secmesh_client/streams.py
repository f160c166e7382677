"""Streams that say in band how they ended, followed by code without an event loop.

Such a stream's last message has the field ``ended``, a ``google.rpc.Status``; a stream that stops
without it was cut, whatever the status of the call.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from secmesh_client.contract import rule_of
from secmesh_client.refusal import CallRefused, StreamCut, refusal_in

_EXISTING = "include_existing"
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
PATIENCE = 60.0
"""Seconds without an answer after which a watch gives up."""

Request = TypeVar("Request", bound=Message)
Event = TypeVar("Event", bound=Message)


def is_end(event: Any) -> bool:
    """Tell whether an event is the stream's end. Raises CallRefused if it did not end well."""
    if not event.HasField("ended"):
        return False
    if event.ended.code != grpc.StatusCode.OK.value[0]:
        raise refusal_in(event.ended)
    return True


def whole(stream: Iterable[Event]) -> Iterator[Event]:
    """Give the events of a stream without its end.

    Raises CallRefused if it ended with an error, StreamCut if it stopped without its end.
    """
    for event in stream:
        if is_end(event):
            return
        yield event
    raise StreamCut


class Patience:
    """Decides whether and when a stream that broke is begun again."""

    def __init__(self, timeout: float | None, patience: float) -> None:
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._patience = patience
        self._silent_since: float | None = None
        self._pause = FIRST_PAUSE
        self._answered = False

    def remaining(self) -> float | None:
        """Give the seconds left of the whole's own limit; None leaves the method's to each call."""
        return None if self._deadline is None else max(self._deadline - time.monotonic(), 0.0)

    def answered(self) -> None:
        """Note that the server answers."""
        self._answered, self._silent_since, self._pause = True, None, FIRST_PAUSE

    def pause(self, refused: CallRefused) -> float:
        """Give the seconds to wait before beginning again; raise ``refused`` if that is useless."""
        answered, self._answered = self._answered, False
        now = time.monotonic()
        if self._silent_since is None:
            self._silent_since = now
        out_of_time = self._deadline is not None and now >= self._deadline
        out_of_patience = now - self._silent_since >= self._patience
        if out_of_time or out_of_patience or not _passes(refused, answered):
            raise refused
        pause, self._pause = self._pause, min(self._pause * 2, LONGEST_PAUSE)
        return max(pause, refused.retry_after or 0.0)


class Watch(Patience):
    """Follows a Watch method, and knows what it told already."""

    def __init__(self, request: Message, timeout: float | None, patience: float) -> None:
        rule = rule_of(request.DESCRIPTOR.full_name)
        if rule is None or not rule.watches:
            name = request.DESCRIPTOR.full_name
            raise ValueError(f"the method of {name} begins no watch that could be repeated")
        super().__init__(timeout, patience)
        self._last: Message | None = None
        self._request = request
        self._resumes = "revision" in request.DESCRIPTOR.fields_by_name

    def request(self) -> Any:
        """Give the request to begin with: after the last event, where the contract can say that."""
        return self._request

    def is_news(self, event: Message) -> bool:
        """Take an event; a watch begun again first repeats what was told before it broke."""
        self.answered()
        if self._resumes:
            self._advance(event)
            return True
        news = event != self._last
        self._last = event
        return news

    def _advance(self, event: Any) -> None:
        """Begin after an event the next time; without a revision it is told again."""
        if event.revision:
            request: Any = type(self._request)()
            request.CopyFrom(self._request)
            request.revision = event.revision
            if _EXISTING in request.DESCRIPTOR.fields_by_name:
                request.ClearField(_EXISTING)
            self._request = request


def _passes(refused: CallRefused, answered: bool) -> bool:
    """Tell whether what broke a stream passes by itself."""
    if refused.code is grpc.StatusCode.UNAVAILABLE:
        return True
    # The method's time limit, or the token's end: a fresh call may go on, with a fresh token.
    limited = refused.code is grpc.StatusCode.DEADLINE_EXCEEDED or refused.reason == "TOKEN_EXPIRED"
    return limited and answered


def watch(
    method: Callable[..., Iterable[Event]],
    request: Request,
    *,
    timeout: float | None = None,
    patience: float = PATIENCE,
) -> Iterator[Event]:
    """Follow a Watch method to its end, across servers that restart and connections that break.

    Gives every event but the end; what a watch begun again only repeats is left out. Where
    events have a ``revision``, it begins again after the last one: keep it to go on later.

    Args:
        method: A Watch method of a stub, such as ``stub.WatchSync``.
        request: Its request.
        timeout: Seconds that the whole may take; else each call takes the method's limit.
        patience: Seconds without any answer after which the last error is raised.

    Raises:
        CallRefused: The server refused, or ended the stream with an error that does not pass.
        StreamCut: The last stream stopped without its end.
        ValueError: The contract does not allow this method to be begun again.
    """
    state = Watch(request, timeout, patience)
    while True:
        stream: Any = method(state.request(), timeout=state.remaining())
        try:
            for event in whole(stream):
                if state.is_news(event):
                    yield event
        except CallRefused as refused:
            pause = state.pause(refused)
        else:
            return
        finally:
            stream.cancel()
        time.sleep(pause)
