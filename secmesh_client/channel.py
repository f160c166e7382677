"""Channels for code without an event loop, such as the command line."""

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

import grpc

from secmesh_client.outgoing import Outgoing, Token
from secmesh_client.refusal import refusal_of
from secmesh_client.service_config import MIB, channel_options
from secmesh_client.target import Tls, require_safe_target, resolve


def connect(
    target: str,
    *,
    token: Token | None = None,
    tls: Tls | None = None,
    allow_plaintext: bool = False,
    max_message_bytes: int = 16 * MIB,
) -> grpc.Channel:
    """Open a blocking channel to a mesh; the stubs of ``secmesh.*`` over it raise CallRefused.

    Args:
        target: ``https://HOST[:PORT]``, ``http://HOST:PORT``, or a name of gRPC such as
            ``HOST:PORT`` or ``unix:PATH``.
        token: Bearer token, or what gives one for each call, such as a TokenFile.
        tls: Authorities and client certificate; without it, and without ``https``, only
            loopback is allowed.
        allow_plaintext: The network to the target is trusted with tokens.
        max_message_bytes: Largest message either way.

    Raises:
        ValueError: The target is ill-formed, or a token would cross a network in the clear.
    """
    name, credentials = resolve(target, tls)
    require_safe_target(name, credentials, allow_plaintext=allow_plaintext)
    options = channel_options("", max_message_bytes)
    if credentials is None:
        plain = grpc.insecure_channel(name, options)
    else:
        plain = grpc.secure_channel(name, credentials, options)
    return over(plain, token=token)


def over(channel: grpc.Channel, *, token: Token | None = None) -> grpc.Channel:
    """Put the rules of connect over a channel of your own, such as one of grpcio-testing."""
    return _Channel(channel, Outgoing("", token))


class _Stream:
    """Responses of a call in flight: iterating raises CallRefused, all else is gRPC's."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return next(self._call)
        except grpc.RpcError as error:
            raise refusal_of(error) from None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)


class _MultiCallable:
    """Makes calls of one method with the channel's token, request id and time limit."""

    def __init__(self, start: Any, outgoing: Outgoing, path: str, *, streams: bool) -> None:
        self._start = start
        self._outgoing = outgoing
        self._default_timeout = outgoing.default_timeout(path)
        self._streams = streams

    def __call__(self, request: Any, timeout: float | None = None, *args: Any, **rest: Any) -> Any:
        return self._made(self._start, request, timeout, *args, **rest)

    def with_call(self, request: Any, timeout: float | None = None, *args: Any, **rest: Any) -> Any:
        return self._made(self._start.with_call, request, timeout, *args, **rest)

    def future(self, request: Any, timeout: float | None = None, *args: Any, **rest: Any) -> Any:
        """Give gRPC's own future, whose errors refusal_of reads."""
        return self._made(self._start.future, request, timeout, *args, **rest)

    def _made(
        self,
        make: Callable[..., Any],
        request: Any,
        timeout: float | None,
        metadata: Any = None,
        *args: Any,
        **rest: Any,
    ) -> Any:
        seconds = self._outgoing.timeout(timeout, self._default_timeout)
        entries = self._outgoing.metadata(metadata)
        try:
            made = make(request, seconds, entries, *args, **rest)
        except grpc.RpcError as error:
            raise refusal_of(error) from None
        return _Stream(made) if self._streams else made


class _Channel(grpc.Channel):
    """A channel whose calls follow the rules of Outgoing."""

    def __init__(self, channel: grpc.Channel, outgoing: Outgoing) -> None:
        self._channel = channel
        self._outgoing = outgoing

    def _multi(self, start: Any, path: str, *, streams: bool) -> Any:
        return _MultiCallable(start, self._outgoing, path, streams=streams)

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return self._multi(
            self._channel.unary_unary(method, *args, **kwargs), method, streams=False
        )

    def unary_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return self._multi(
            self._channel.unary_stream(method, *args, **kwargs), method, streams=True
        )

    def stream_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return self._multi(
            self._channel.stream_unary(method, *args, **kwargs), method, streams=False
        )

    def stream_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return self._multi(
            self._channel.stream_stream(method, *args, **kwargs), method, streams=True
        )

    def subscribe(self, callback: Callable[..., Any], try_to_connect: bool = False) -> None:
        self._channel.subscribe(callback, try_to_connect)

    def unsubscribe(self, callback: Callable[..., Any]) -> None:
        self._channel.unsubscribe(callback)

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> Self:
        self._channel.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> bool | None:
        return self._channel.__exit__(exc_type, exc_val, exc_tb)
