"""Streams that say in band how they ended, followed with asyncio."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable
from typing import Any

from secmesh_client.refusal import CallRefused, StreamCut
from secmesh_client.streams import PATIENCE, Event, Request, Watch, is_end


async def whole(stream: AsyncIterable[Event]) -> AsyncIterator[Event]:
    """Give the events of a stream without its end.

    Raises CallRefused if it ended with an error, StreamCut if it stopped without its end.
    """
    async for event in stream:
        if is_end(event):
            return
        yield event
    raise StreamCut


async def watch(
    method: Callable[..., AsyncIterable[Event]],
    request: Request,
    *,
    timeout: float | None = None,  # noqa: ASYNC109  # of the calls, as gRPC takes it
    patience: float = PATIENCE,
) -> AsyncIterator[Event]:
    """Follow a Watch method to its end; arguments and errors are those of the blocking one."""
    state = Watch(request, timeout, patience)
    while True:
        stream: Any = method(state.request(), timeout=state.remaining())
        try:
            async for event in whole(stream):
                if state.is_news(event):
                    yield event
        except CallRefused as refused:
            pause = state.pause(refused)
        else:
            return
        finally:
            stream.cancel()
        await asyncio.sleep(pause)
