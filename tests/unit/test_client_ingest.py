"""A client's stream of records that is cut again and again: each result once, none lost."""

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
from google.rpc import status_pb2

import secmesh_client.streams
from secmesh.records.v1.ingest_pb2 import IngestRecordsResponse, IngestResult
from secmesh_client import CallRefused, StreamCut, aio, ingest
from secmesh_client.ingest import BATCH_ROWS, WINDOW
from tests.unit.record_contract import message
from tests.unit.record_world import ENTRIES, record_of

TOTAL = 23_000


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secmesh_client.streams, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(secmesh_client.streams, "LONGEST_PAUSE", 0.001)


def opening() -> Any:
    return message("IngestRecordsRequest", parent="tenants/acme")


class Shop:
    """Stores what it is sent, and breaks off when it likes."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.stored: dict[int, str] = {}
        self.streams: set[str] = set()
        self.cuts = 0

    def answer(self, request: Any) -> IngestRecordsResponse:
        """Store a message's records; StreamCut before they are, or after."""
        if request.stream_id:
            self.streams.add(request.stream_id)
        if request.items and self.random.random() < 0.15:
            self.cuts += 1
            raise StreamCut
        answer = IngestRecordsResponse()
        for item in request.items:
            there = item.sequence in self.stored
            assert self.stored.setdefault(item.sequence, item.record.entry.line) == (
                item.record.entry.line
            )
            word = IngestResult.OUTCOME_UNCHANGED if there else IngestResult.OUTCOME_NEW
            answer.results.add(sequence=item.sequence, outcome=word)
        if request.items and self.random.random() < 0.15:
            self.cuts += 1
            raise StreamCut
        return answer

    def require_all(self, results: list[IngestResult]) -> None:
        assert [each.sequence for each in results] == list(range(1, TOTAL + 1))
        assert self.stored == {number: f"line {number}" for number in range(1, TOTAL + 1)}
        assert self.cuts > 5
        assert len(self.streams) == 1, "one name through all attempts"


END = IngestRecordsResponse(ended=status_pb2.Status())


class BlockingStream:
    def __init__(self, shop: Shop, requests: Iterator[Any]) -> None:
        self._events = self._run(shop, requests)

    def _run(self, shop: Shop, requests: Iterator[Any]) -> Iterator[Any]:
        for request in requests:
            yield shop.answer(request)
        yield END

    def __iter__(self) -> Iterator[Any]:
        return self._events

    def cancel(self) -> None:
        """Do nothing: gRPC's own thread, too, ends when it likes."""


class AsyncStream:
    """Reads ahead in a task that goes on for a while after the stream is over."""

    def __init__(self, shop: Shop, requests: AsyncIterator[Any]) -> None:
        self._shop = shop
        self._queue: asyncio.Queue[Any] = asyncio.Queue()
        self._task = asyncio.create_task(self._read(requests))

    async def _read(self, requests: AsyncIterator[Any]) -> None:
        async for request in requests:
            await self._queue.put(request)
            await asyncio.sleep(0)
        await self._queue.put(None)

    async def __aiter__(self) -> AsyncIterator[Any]:
        while (request := await self._queue.get()) is not None:
            yield self._shop.answer(request)
        yield END

    def cancel(self) -> None:
        asyncio.get_running_loop().call_later(0.05, self._task.cancel)


def lines() -> Iterator[Any]:
    return (record_of(ENTRIES, line=f"line {number}") for number in range(1, TOTAL + 1))


@pytest.mark.parametrize("seed", range(3))
def test_a_blocking_stream_is_whole_however_often_it_is_cut(seed: int) -> None:
    shop = Shop(seed)
    results = list(ingest(lambda requests, **_: BlockingStream(shop, requests), opening(), lines()))
    shop.require_all(results)


@pytest.mark.parametrize("seed", range(3))
async def test_a_stream_is_whole_however_often_it_is_cut(seed: int) -> None:
    shop = Shop(seed)
    stream = aio.ingest(lambda requests, **_: AsyncStream(shop, requests), opening(), lines())
    shop.require_all([each async for each in stream])
    await asyncio.sleep(0.1)


async def test_no_more_is_on_its_way_than_may_be() -> None:
    taken = 0

    def counted() -> Iterator[Any]:
        nonlocal taken
        for each in lines():
            taken += 1
            yield each

    class Silent(AsyncStream):
        async def __aiter__(self) -> AsyncIterator[Any]:
            while True:
                while taken < WINDOW:
                    await asyncio.sleep(0.01)
                # Whoever still takes more has the time to.
                await asyncio.sleep(0.5)
                if self._queue.qsize():
                    code = grpc.StatusCode.PERMISSION_DENIED
                    raise CallRefused(status_pb2.Status(code=code.value[0]), code)
                yield END

    shop = Shop(0)
    with pytest.raises(CallRefused):
        [_ async for _ in aio.ingest(lambda r, **_: Silent(shop, r), opening(), counted())]
    assert WINDOW <= taken <= WINDOW + BATCH_ROWS + 1
    await asyncio.sleep(0.1)


def test_a_first_message_with_records_is_refused() -> None:
    request = opening()
    request.items.add(sequence=1)
    with pytest.raises(ValueError, match="options alone"):
        list(ingest(lambda *_, **__: [], request, []))


def test_an_abandoned_stream_ends_its_thread() -> None:
    shop = Shop(99)
    before = threading.active_count()
    stream = ingest(lambda requests, **_: BlockingStream(shop, requests), opening(), lines())
    next(stream)
    stream.close()  # type: ignore[attr-defined]  # it is a generator
    for thread in threading.enumerate():
        if thread.name.endswith("(_read)"):
            thread.join(5)
    assert threading.active_count() <= before
