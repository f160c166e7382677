"""Puts interceptors around handlers of all four RPC shapes."""

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing, suppress
from functools import partial
from typing import Any, ClassVar, Never, TypeAlias

import grpc
from google.protobuf.message import DecodeError, Message

from mesh.contract.catalogue import Catalogue, Method
from mesh.errors import BodyInvalid, MethodUnknown
from mesh.server.call import REQUEST_ID_KEY, Call, current_call, enter_call
from mesh.server.log import failure
from mesh.telemetry import calls

_LOG = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]
# Generic in its stub only.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Proceed = Callable[[Call, Any, Context], Awaitable[Any]]
"""The rest of a call: gives the response, or None after it has written a stream of them."""

_HANDLERS: dict[tuple[bool, bool], Callable[..., Handler]] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


async def _refuse_unknown(_request: bytes, _context: Context) -> Never:
    raise MethodUnknown(current_call().path)


# Answers after the first message: clients of streams trip over an earlier end.
_UNKNOWN: Handler = grpc.unary_unary_rpc_method_handler(_refuse_unknown)


class Interceptor:
    """One step around every call."""

    open_methods: ClassVar[bool] = False
    """Whether the step also runs for health and reflection, which no contract describes."""
    of_callers: ClassVar[bool] = False
    """Whether the step is about who calls: methods without_token do not pass it."""


class CallInterceptor(Interceptor):
    """A step around the call as a whole."""

    def around(
        self, proceed: Proceed, call: Call, request: Any, context: Context
    ) -> Awaitable[Any]:
        """Serve the call by ``proceed``, or refuse it by raising.

        A step with nothing to do afterwards gives what ``proceed`` gives, without awaiting it: each
        coroutine around a call costs a little each time that the call waits.
        """
        return proceed(call, request, context)


class MessageInterceptor(Interceptor):
    """A step before each request message: the only one, or each of a stream."""

    def check(self, call: Call, message: Message) -> None:
        """Refuse a message by raising."""


class RequestInterceptor(Interceptor):
    """A step around the handlers of some methods with one request and one response."""

    of_streams: ClassVar[bool] = False
    """Whether streams pass it, too; of a stream of requests none is read by then."""

    def concerns(self, method: Method | None) -> bool:
        """Tell whether calls of a method need the step."""
        return method is not None

    async def around(self, proceed: Proceed, call: Call, request: Any, context: Context) -> Any:
        """Answer a request that was checked, by awaiting ``proceed`` or without it."""
        return await proceed(call, request, context)


class Chain(grpc.aio.ServerInterceptor):
    """Runs interceptors in order, the first outermost."""

    def __init__(
        self,
        catalogue: Catalogue,
        steps: Sequence[Interceptor],
        open_paths: tuple[str, ...],
    ) -> None:
        self._catalogue = catalogue
        self._steps = tuple(steps)
        self._open_paths = open_paths
        self._handlers: dict[str, Handler] = {}
        self._running: set[asyncio.Task[Any] | None] = set()

    async def ended(self, seconds: float) -> bool:
        """Wait so long for the handlers of calls that gRPC let go; tell whether they ended."""
        tasks = [each for each in self._running if each is not None]
        return not tasks or not (await asyncio.wait(tasks, timeout=seconds))[1]

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        path = handler_call_details.method
        handler = self._handlers.get(path)
        if handler is None:
            found = await continuation(handler_call_details)
            if found is None:  # not remembered: there is no end to unknown paths
                return self._wrap(path, _UNKNOWN)
            handler = self._handlers[path] = self._wrap(path, found)
        return handler

    def _wrap(self, path: str, handler: Handler) -> Handler:
        method = self._catalogue.methods.get(path)
        # That a method does not exist needs no token, as without any interceptor.
        is_open = path.startswith(self._open_paths) or handler is _UNKNOWN
        streams_requests, streams_responses = handler.request_streaming, handler.response_streaming
        streams = streams_requests or streams_responses
        proceed = _endpoint(path, handler)
        anybody = method is not None and method.without_token
        steps = [
            step
            for step in self._steps
            if (step.open_methods or not is_open) and not (anybody and step.of_callers)
        ]
        on_requests = [each for each in steps if isinstance(each, RequestInterceptor)]
        for request_step in reversed(on_requests):
            if (request_step.of_streams or not streams) and request_step.concerns(method):
                proceed = partial(request_step.around, proceed)
        checks = [step.check for step in steps if isinstance(step, MessageInterceptor)]
        name = calls.OTHER if handler is _UNKNOWN else path.removeprefix("/")
        traffic = calls.traffic_of(name)
        # Parsed here and not by gRPC, which would tell the caller the parser's own words.
        check = _checking(handler.request_deserializer, checks, traffic)
        proceed = (_checked_each if streams_requests else _checked)(check, proceed)
        for step in reversed([each for each in steps if isinstance(each, CallInterceptor)]):
            proceed = partial(step.around, proceed)

        running = self._running

        async def behaviour(request: Any, context: Context) -> Any:
            # Read once: gRPC makes new objects of it each time it is asked.
            call = Call(path, method, streams, context.invocation_metadata() or (), name)
            enter_call(call)
            call.task = task = asyncio.current_task()
            running.add(task)
            try:
                return await proceed(call, request, context)
            finally:
                running.discard(task)
                call.ended = True

        return _HANDLERS[streams_requests, streams_responses](
            behaviour, None, _counted(handler.response_serializer, traffic)
        )


def _counted(
    write: Callable[[Any], bytes] | None, traffic: calls.Traffic
) -> Callable[[Any], bytes]:
    def counted(message: Any) -> bytes:
        data: bytes = message if write is None else write(message)
        traffic.sent += len(data)
        return data

    return counted


def _checking(
    parse: Callable[[bytes], Any] | None,
    checks: Sequence[Callable[[Call, Message], None]],
    traffic: calls.Traffic,
) -> Callable[[Call, bytes], Any]:
    """Parse and check what arrives, all in one step: none of it waits for anything."""

    def checked(call: Call, data: bytes) -> Any:
        traffic.received += len(data)
        try:
            message: Any = data if parse is None else parse(data)
        except (DecodeError, ValueError):
            problem = "the request is not the Protobuf message that the method takes"
            raise BodyInvalid(problem) from None
        for check in checks:
            check(call, message)
        return message

    return checked


def _checked(check: Callable[[Call, bytes], Any], proceed: Proceed) -> Proceed:
    def check_one(call: Call, request: Any, context: Context) -> Awaitable[Any]:
        return proceed(call, check(call, request), context)

    return check_one


def _checked_each(check: Callable[[Call, bytes], Any], proceed: Proceed) -> Proceed:
    async def each_checked(call: Call, requests: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        async for data in requests:
            yield check(call, data)

    def check_each(call: Call, requests: Any, context: Context) -> Awaitable[Any]:
        return proceed(call, each_checked(call, requests), context)

    return check_each


def _endpoint(path: str, handler: Handler) -> Proceed:
    """Call the handler itself, so that both response shapes end as one awaitable."""
    shapes = (
        handler.unary_unary,
        handler.unary_stream,
        handler.stream_unary,
        handler.stream_stream,
    )
    serve: Callable[[Any, Any], Any] = next(each for each in shapes if each is not None)
    streams_requests = handler.request_streaming

    def respond(call: Call, request: Any, context: Context) -> Awaitable[Any]:
        inner = _Context(call, context, request) if streams_requests else context
        # In the trailers: headers of its own would cost a call a third of what we do for it.
        context.set_trailing_metadata(((REQUEST_ID_KEY, call.request_id),))
        answer: Awaitable[Any] = serve(request, inner)
        return answer

    async def pump(call: Call, request: Any, context: Context) -> None:
        inner = _Context(call, context, request)
        # Closed here, so that a handler's `finally` runs now and not when garbage is collected.
        async with aclosing(serve(request, inner)) as responses:
            async for response in responses:
                await inner.write(response)

    async def respond_all(call: Call, request: Any, context: Context) -> None:
        await _unswallowed(pump(call, request, context))

    async def respond_by_writing(call: Call, request: Any, context: Context) -> None:
        await _unswallowed(serve(request, _Context(call, context, request)))

    async def refuse(_call: Call, request: Any, context: Context) -> Never:
        # The generated base class is not async: it raises for what a servicer left out.
        serve(request, context)
        raise TypeError(f"the handler of {path} is not async")

    if inspect.isasyncgenfunction(serve):
        return respond_all
    if not inspect.iscoroutinefunction(serve):
        return refuse
    return respond_by_writing if handler.response_streaming else respond


async def _unswallowed(stream: Coroutine[Any, Any, None]) -> None:
    """Run a stream in a task of its own: its handler can then not swallow the end of the call.

    gRPC leaks a cancelled stream whose handler returns instead of raising (grpc#43360).
    """
    task = asyncio.create_task(stream)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        task.cancel()
        while not task.done():  # a call can be cancelled twice: by its caller and by the server
            with suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOG.error("a cancelled handler failed", extra={"fields": {"error": failure(error)}})
        raise


class _Context:
    """The handler's context: reads what was checked, sends the request id with the first write."""

    def __init__(self, call: Call, context: Context, requests: Any) -> None:
        self._call = call
        self._context = context
        self._requests = requests
        self._opened = False

    async def read(self) -> Any:
        return await anext(self._requests, grpc.aio.EOF)

    async def write(self, message: Any) -> None:
        # Only now: an error before the first message then travels without headers of its own,
        # which a gateway can still turn into an HTTP status.
        if not self._opened:
            self._opened = True
            await self._context.send_initial_metadata(((REQUEST_ID_KEY, self._call.request_id),))
        await self._context.write(message)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)
