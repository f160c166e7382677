"""Records sent as a stream (IngestRecords), by code without an event loop."""

import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from google.protobuf.message import Message

from secmesh.records.v1.ingest_pb2 import IngestRecordsResponse, IngestResult
from secmesh_client.refusal import CallRefused
from secmesh_client.streams import PATIENCE, Patience, whole

BATCH_ROWS = 500
"""Most records of one message."""
BATCH_BYTES = 1 << 20
"""Bytes of records after which a message is closed."""
WINDOW = 10_000
"""Most records on their way: they are kept until the server says what became of them."""


class Outbox:
    """The records of a stream that are on their way, and those that are still to be read."""

    def __init__(self, request: Message) -> None:
        copied: Any = type(request)()
        copied.CopyFrom(request)
        self._request = copied
        if self._request.items:
            raise ValueError("the first request of a stream holds its options alone")
        # With a name of its own, a record that is sent again is the same record.
        self._request.stream_id = self._request.stream_id or stream_id()
        self._unanswered: deque[tuple[int, Message]] = deque()
        self._again: deque[tuple[int, Message]] = deque()
        self._last = 0

    def opening(self) -> Any:
        """Begin the stream, anew if it broke: what was not answered is sent again."""
        self._again = deque(self._unanswered)
        return self._request

    @property
    def repeats(self) -> bool:
        """Whether something is to be sent again."""
        return bool(self._again)

    @property
    def full(self) -> bool:
        """Whether nothing more may be sent before an answer comes."""
        return len(self._unanswered) >= WINDOW

    @property
    def wanted(self) -> int:
        """How many records the next message may take from the source."""
        return min(BATCH_ROWS, WINDOW - len(self._unanswered))

    def number(self, record: Message) -> tuple[int, Message]:
        """Take a record from the source."""
        self._last += 1
        numbered = (self._last, record)
        self._unanswered.append(numbered)
        return numbered

    def messages(self, numbered: Iterable[tuple[int, Message]]) -> Iterator[Any]:
        """Give the messages that hold these records."""
        message, size = type(self._request)(), 0
        for sequence, record in numbered:
            message.items.add(sequence=sequence, record=record)
            size += record.ByteSize()
            if size >= BATCH_BYTES:
                yield message
                message, size = type(self._request)(), 0
        if message.items:
            yield message

    def repeated(self) -> list[tuple[int, Message]]:
        """Give some of what is sent again."""
        return [self._again.popleft() for _ in range(min(BATCH_ROWS, len(self._again)))]

    def answered(self, answer: IngestRecordsResponse) -> None:
        """Let go of what is decided."""
        if answer.results:
            last = answer.results[-1].sequence
            while self._unanswered and self._unanswered[0][0] <= last:
                self._unanswered.popleft()


def stream_id() -> str:
    """Make a UUID of version 7 (RFC 9562, 5.7)."""
    number = time.time_ns() // 1_000_000 << 80 | int.from_bytes(os.urandom(10))
    number = number & ~(0xF000 << 64) | 0x7000 << 64
    number = number & ~(0xC000 << 48) | 0x8000 << 48
    return str(uuid.UUID(int=number))


class _Source:
    """Reads records in a thread of its own, not far ahead of what is sent."""

    def __init__(self, records: Iterable[Message]) -> None:
        self.moved = threading.Condition()
        self.ready: deque[Message] = deque()
        self.ended = False
        self.error: Exception | None = None
        self._closed = False
        threading.Thread(target=self._read, args=(records,), daemon=True).start()

    def _read(self, records: Iterable[Message]) -> None:
        try:
            for record in records:
                with self.moved:
                    self.moved.wait_for(lambda: self._closed or len(self.ready) < BATCH_ROWS)
                    if self._closed:
                        return
                    self.ready.append(record)
                    self.moved.notify_all()
        except Exception as error:  # noqa: BLE001 - raised where the results are read
            self.error = error
        finally:
            with self.moved:
                self.ended = True
                self.moved.notify_all()

    def close(self) -> None:
        with self.moved:
            self._closed = True
            self.moved.notify_all()


class _Sender:
    """Gives gRPC, in a thread of its own, the messages of one attempt."""

    def __init__(self, outbox: Outbox, source: _Source) -> None:
        self._outbox = outbox
        self._source = source
        self._stopped = False
        self._opening = outbox.opening()

    def __iter__(self) -> Iterator[Any]:
        yield self._opening
        while batch := self._next():
            yield from self._outbox.messages(batch)

    def _next(self) -> list[tuple[int, Message]]:
        source, outbox = self._source, self._outbox
        with source.moved:
            source.moved.wait_for(self._may_go_on)
            if self._stopped:
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
        return self._stopped or outbox.repeats or sends or (source.ended and not source.ready)

    def answered(self, answer: IngestRecordsResponse) -> None:
        with self._source.moved:
            self._outbox.answered(answer)
            self._source.moved.notify_all()

    def stop(self) -> None:
        with self._source.moved:
            self._stopped = True
            self._source.moved.notify_all()


def ingest(
    method: Callable[..., Iterable[IngestRecordsResponse]],
    request: Message,
    records: Iterable[Message],
    *,
    timeout: float | None = None,
    patience: float = PATIENCE,
) -> Iterator[IngestResult]:
    """Send records and give what became of each, in their order, across servers that restart.

    Each record is told once. Those whose answer was lost are sent again, and told as UNCHANGED
    where they had been stored. At most WINDOW records are held.

    Args:
        method: IngestRecords of a stub.
        request: Its first message: parent and options. A ``stream_id`` is made if it has none.
        records: Read as they are sent, in another thread.
        timeout: Seconds that the whole may take; else each call takes the method's limit.
        patience: Seconds without any answer after which the last error is raised.

    Raises:
        CallRefused: The server refused the stream, or did not come back.
        StreamCut: The last stream stopped without its end.
        Exception: Whatever reading the records raised, after what came before is told.
    """
    outbox, state = Outbox(request), Patience(timeout, patience)
    source = _Source(records)
    try:
        while True:
            sender = _Sender(outbox, source)
            stream: Any = method(iter(sender), timeout=state.remaining())
            try:
                for answer in whole(stream):
                    state.answered()
                    sender.answered(answer)
                    yield from answer.results
            except CallRefused as refused:
                pause = state.pause(refused)
            else:
                break
            finally:
                sender.stop()
                stream.cancel()
            time.sleep(pause)
    finally:
        source.close()
    if source.error is not None:
        raise source.error
