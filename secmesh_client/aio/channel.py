"""Channels for asyncio."""

import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from types import TracebackType
from typing import Any, Self

import grpc

from secmesh_client.aio.ending import Ending
from secmesh_client.outgoing import Outgoing, Token
from secmesh_client.refusal import CallRefused, refusal_of
from secmesh_client.service_config import MIB, channel_options
from secmesh_client.target import Tls, require_safe_target, resolve


def connect(
    target: str,
    *,
    token: Token | None = None,
    tls: Tls | None = None,
    allow_plaintext: bool = False,
    max_message_bytes: int = 16 * MIB,
) -> grpc.aio.Channel:
    """Open a channel of asyncio to a mesh; arguments and errors are those of the blocking one."""
    name, credentials = resolve(target, tls)
    require_safe_target(name, credentials, allow_plaintext=allow_plaintext)
    return over(plain_channel(name, credentials, "", max_message_bytes), Outgoing("", token))


def plain_channel(
    target: str, credentials: grpc.ChannelCredentials | None, package: str, max_message_bytes: int
) -> grpc.aio.Channel:
    """Open gRPC's own channel with the retries and limits of a package's contracts."""
    options = channel_options(package, max_message_bytes)
    if credentials is None:
        return grpc.aio.insecure_channel(target, options)
    return grpc.aio.secure_channel(target, credentials, options)


def over(channel: grpc.aio.Channel, outgoing: Outgoing) -> grpc.aio.Channel:
    """Put rules for outgoing calls, and typed errors, over a channel."""
    return _Channel(channel, outgoing)


class _Call:
    """A call in flight: awaiting or iterating it raises CallRefused, all else is gRPC's."""

    def __init__(self, call: Any, *, sends: bool) -> None:
        self._call = call
        self._ending = Ending(call) if sends else None

    def __await__(self) -> Generator[Any, None, Any]:
        return self._answer().__await__()

    async def _answer(self) -> Any:
        try:
            return await self._call
        except grpc.RpcError as error:
            raise await self._refusal(error) from None

    async def _refusal(self, error: grpc.RpcError) -> CallRefused:
        return refusal_of(error if self._ending is None else await self._ending.of(error))

    async def __aiter__(self) -> AsyncIterator[Any]:
        try:
            async for message in self._call:
                yield message
        except grpc.RpcError as error:
            raise await self._refusal(error) from None
        finally:
            # Leaving the loop early ends the call; gRPC would keep it until garbage is collected.
            self._call.cancel()

    async def read(self) -> Any:
        try:
            return await self._call.read()
        except grpc.RpcError as error:
            raise await self._refusal(error) from None

    async def write(self, message: Any) -> None:
        try:
            await self._call.write(message)
        except (grpc.RpcError, asyncio.InvalidStateError):
            # The call is over; why stands in its status, not in the failed write.
            await self._raise_status()
            raise

    async def _raise_status(self) -> None:
        code = await self._call.code()
        if code is not grpc.StatusCode.OK:
            trailers, details = await self._call.trailing_metadata(), await self._call.details()
            error = grpc.aio.AioRpcError(code, None, trailers, details)
            raise await self._refusal(error) from None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)


class _MultiCallable:
    """Starts calls of one method with the channel's token, request id and time limit."""

    def __init__(
        self, start: Callable[..., Any], outgoing: Outgoing, path: str, *, sends: bool
    ) -> None:
        self._start = start
        self._outgoing = outgoing
        self._sends = sends
        self._default_timeout = outgoing.default_timeout(path)

    def __call__(
        self,
        request: Any = None,
        *,
        timeout: float | None = None,
        metadata: Any = None,
        **rest: Any,
    ) -> Any:
        outgoing = self._outgoing
        call = self._start(
            request,
            timeout=outgoing.timeout(timeout, self._default_timeout),
            metadata=outgoing.metadata(metadata),
            **rest,
        )
        return _Call(call, sends=self._sends)


class _Channel(grpc.aio.Channel):
    """A channel whose calls follow the rules of Outgoing."""

    def __init__(self, channel: grpc.aio.Channel, outgoing: Outgoing) -> None:
        self._channel = channel
        self._outgoing = outgoing

    def _multi(self, start: Callable[..., Any], path: str, *, sends: bool = False) -> Any:
        return _MultiCallable(start, self._outgoing, path, sends=sends)

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return self._multi(self._channel.unary_unary(method, *args, **kwargs), method)

    def unary_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return self._multi(self._channel.unary_stream(method, *args, **kwargs), method)

    def stream_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        start = self._channel.stream_unary(method, *args, **kwargs)
        return self._multi(start, method, sends=True)

    def stream_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        start = self._channel.stream_stream(method, *args, **kwargs)
        return self._multi(start, method, sends=True)

    async def close(self, grace: float | None = None) -> None:
        await self._channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._channel.channel_ready()

    async def __aenter__(self) -> Self:
        await self._channel.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> bool | None:
        return await self._channel.__aexit__(exc_type, exc_val, exc_tb)
