"""Records sent as a stream (IngestRecords), with asyncio."""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from typing import Any

from google.protobuf.message import Message

from secmesh.records.v1.ingest_pb2 import IngestRecordsResponse, IngestResult
from secmesh_client.aio.streams import whole
from secmesh_client.ingest import BATCH_ROWS, Outbox
from secmesh_client.refusal import CallRefused
from secmesh_client.streams import PATIENCE, Patience


class _Source:
    """Reads records in a task of its own, not far ahead of what is sent."""

    def __init__(self, records: Iterable[Message] | AsyncIterable[Message]) -> None:
        self.moved = asyncio.Condition()
        self.ready: deque[Message] = deque()
        self.ended = False
        self.error: Exception | None = None
        self._task = asyncio.create_task(self._read(records))

    async def _read(self, records: Iterable[Message] | AsyncIterable[Message]) -> None:
        try:
            async for record in _each(records):
                self.ready.append(record)
                # Others care for the first and the last that may wait, and not for each.
                if len(self.ready) in (1, BATCH_ROWS):
                    async with self.moved:
                        self.moved.notify_all()
                        await self.moved.wait_for(lambda: len(self.ready) < BATCH_ROWS)
        except Exception as error:  # noqa: BLE001 - raised where the results are read
            self.error = error
        async with self.moved:
            self.ended = True
            self.moved.notify_all()

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})


class _Sender:
    """Gives gRPC the messages of one attempt; gRPC may still ask when the attempt is over."""

    def __init__(self, outbox: Outbox, source: _Source) -> None:
        self._outbox = outbox
        self._source = source
        self._opening = outbox.opening()
        self.stopped = False

    async def requests(self) -> AsyncIterator[Any]:
        yield self._opening
        while batch := await self._next():
            for message in self._outbox.messages(batch):
                yield message

    async def _next(self) -> list[tuple[int, Message]]:
        source, outbox = self._source, self._outbox
        async with source.moved:
            await source.moved.wait_for(self._may_go_on)
            if self.stopped:
                return []
            if outbox.repeats:
                return outbox.repeated()
            count = min(outbox.wanted, len(source.ready))
            batch = [outbox.number(source.ready.popleft()) for _ in range(count)]
            source.moved.notify_all()
            return batch

    def _may_go_on(self) -> bool:
        source, outbox = self._source, self._outbox
        sends = bool(source.ready) and not outbox.full
        return self.stopped or outbox.repeats or sends or (source.ended and not source.ready)


async def _each(records: Iterable[Message] | AsyncIterable[Message]) -> AsyncIterator[Message]:
    if isinstance(records, AsyncIterable):
        async for record in records:
            yield record
    else:
        for record in records:
            yield record


async def ingest(
    method: Callable[..., AsyncIterable[IngestRecordsResponse]],
    request: Message,
    records: Iterable[Message] | AsyncIterable[Message],
    *,
    timeout: float | None = None,  # noqa: ASYNC109  # of the calls, as gRPC takes it
    patience: float = PATIENCE,
) -> AsyncIterator[IngestResult]:
    """Send records and give what became of each; arguments and errors as of the blocking one."""
    outbox, state = Outbox(request), Patience(timeout, patience)
    source = _Source(records)
    try:
        while True:
            sender = _Sender(outbox, source)
            stream: Any = method(sender.requests(), timeout=state.remaining())
            try:
                async for answer in whole(stream):
                    state.answered()
                    async with source.moved:
                        outbox.answered(answer)
                        source.moved.notify_all()
                    for result in answer.results:
                        yield result
            except CallRefused as refused:
                pause = state.pause(refused)
            else:
                break
            finally:
                sender.stopped = True
                stream.cancel()
            await asyncio.sleep(pause)
    finally:
        await source.close()
    if source.error is not None:
        raise source.error
