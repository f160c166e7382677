"""The status that ends a call whose requests are a stream, with asyncio.

gRPC puts an INTERNAL of its own over it if it cannot send a request any more, which is so as soon
as a server refuses before it has read all, or goes away (grpc#36066).
"""

import asyncio
from contextlib import suppress
from typing import Any

import grpc

from secmesh_client.refusal import code_of, is_broken_write

_PATIENCE_SECONDS = 5.0
"""For the status that follows a broken write; a connection that broke has none."""


class Ending:
    """Keeps the status that came for one call."""

    def __init__(self, call: Any) -> None:
        self._came = asyncio.Event()
        self._error: grpc.RpcError | None = None
        call.add_done_callback(self._note)

    def _note(self, call: Any) -> None:
        """Take each status as it is set: the public ones are those of the last alone."""
        status = call._cython_call._status
        code = code_of(status.code())
        if is_broken_write(code, status.details()):
            return
        if code is not grpc.StatusCode.OK:
            trailers = grpc.aio.Metadata(*(status.trailing_metadata() or ()))
            self._error = grpc.aio.AioRpcError(
                code, grpc.aio.Metadata(), trailers, status.details()
            )
        self._came.set()

    async def of(self, raised: grpc.RpcError) -> grpc.RpcError:
        """Give what ended the call: the error that was raised, or what it hides."""
        if not is_broken_write(raised.code(), raised.details()):
            return raised
        with suppress(TimeoutError):
            await asyncio.wait_for(self._came.wait(), _PATIENCE_SECONDS)
        return self._error or raised
