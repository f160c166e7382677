"""Request messages of a stream put together to chunks, read no faster than they are written."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

CHUNK_ROWS = 2000
"""Most records of one chunk."""
CHUNK_BYTES = 4 * 1024 * 1024
"""Bytes of records after which a chunk is closed."""


class Inbox:
    """Holds what arrives while the chunk before is written: about one chunk, and one message.

    The next message is read only when there is room again; gRPC's flow control then keeps the
    client waiting.
    """

    def __init__(self, requests: AsyncIterator[Any]) -> None:
        self._requests = requests
        self._waiting: deque[tuple[Any, int]] = deque()
        self._bytes = 0
        self._ended = False
        self._error: Exception | None = None
        self._moved = asyncio.Condition()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator["AsyncIterator[list[Any]]"]:
        """Give the chunks; reading ends with the block."""
        reader = asyncio.create_task(self._read())
        try:
            yield self._chunks()
        finally:
            reader.cancel()
            await asyncio.wait({reader})

    async def _read(self) -> None:
        try:
            async for request in self._requests:
                async with self._moved:
                    await self._moved.wait_for(lambda: not self._is_full())
                    for item in request.items:
                        size = item.ByteSize()
                        self._waiting.append((item, size))
                        self._bytes += size
                    self._moved.notify_all()
        except Exception as error:  # noqa: BLE001 - told when all that came before is written
            self._error = error
        self._ended = True
        async with self._moved:
            self._moved.notify_all()

    def _is_full(self) -> bool:
        return len(self._waiting) >= CHUNK_ROWS or self._bytes >= CHUNK_BYTES

    async def _chunks(self) -> AsyncIterator[list[Any]]:
        """Give what has come, at once: who sends one record waits for no other."""
        while True:
            async with self._moved:
                await self._moved.wait_for(lambda: bool(self._waiting) or self._ended)
                chunk = self._take()
                self._moved.notify_all()
            if chunk:
                yield chunk
            elif self._error is not None:
                raise self._error
            else:
                return

    def _take(self) -> list[Any]:
        chunk: list[Any] = []
        taken = 0
        while self._waiting and len(chunk) < CHUNK_ROWS and taken < CHUNK_BYTES:
            item, size = self._waiting.popleft()
            self._bytes -= size
            taken += size
            chunk.append(item)
        return chunk
