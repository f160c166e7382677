"""Request messages of a stream put together to chunks, read no faster than they are written."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from mesh.records.ingest_item import Item

CHUNK_ROWS = 5000
"""Most records of one chunk: half of what a client has on its way (``secmesh_client.ingest``), so
that one chunk arrives while the one before is written."""
CHUNK_BYTES = 4 * 1024 * 1024
"""Bytes of records after which a chunk is closed."""
_BREATH = 100
"""Records admitted before others, the writer of the chunk before above all, are served."""


class Inbox:
    """Holds what arrives while the chunk before is written: about one chunk, and one message.

    Records are admitted, and so prepared, as they arrive: the database works meanwhile. The
    next message is read only when there is room again; gRPC's flow control then keeps the
    client waiting.
    """

    def __init__(self, requests: AsyncIterator[Any], admit: Callable[[Any], Item]) -> None:
        """Read messages; what ``admit`` raises ends the stream, after all that came before."""
        self._requests = requests
        self._admit = admit
        self._waiting: deque[tuple[Item, int]] = deque()
        self._bytes = 0
        self._admitting = False
        self._ended = False
        self._error: Exception | None = None
        self._moved = asyncio.Condition()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator["AsyncIterator[list[Item]]"]:
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
                if request.items:
                    await self._take_in(request.items, request.ByteSize() // len(request.items))
        except Exception as error:  # noqa: BLE001 - told when all that came before is written
            self._error = error
        self._ended = True
        async with self._moved:
            self._moved.notify_all()

    async def _take_in(self, records: Sequence[Any], size: int) -> None:
        """Admit the records of one message, of so many bytes each."""
        self._admitting = True
        try:
            for number, each in enumerate(records, start=1):
                self._waiting.append((self._admit(each), size))
                self._bytes += size
                if number % _BREATH == 0:
                    await asyncio.sleep(0)
        finally:
            self._admitting = False
            async with self._moved:
                self._moved.notify_all()

    def _is_full(self) -> bool:
        return len(self._waiting) >= CHUNK_ROWS or self._bytes >= CHUNK_BYTES

    def _has_chunk(self) -> bool:
        """Tell whether to write: what has come, at once, but a message is not torn apart."""
        return self._is_full() or self._ended or (bool(self._waiting) and not self._admitting)

    async def _chunks(self) -> AsyncIterator[list[Item]]:
        """Give what has come, at once: who sends one record waits for no other."""
        while True:
            async with self._moved:
                await self._moved.wait_for(self._has_chunk)
                chunk = self._take()
                self._moved.notify_all()
            if chunk:
                yield chunk
            elif self._error is not None:
                raise self._error
            else:
                return

    def _take(self) -> list[Item]:
        chunk: list[Item] = []
        taken = 0
        while self._waiting and len(chunk) < CHUNK_ROWS and taken < CHUNK_BYTES:
            item, size = self._waiting.popleft()
            self._bytes -= size
            taken += size
            chunk.append(item)
        return chunk
