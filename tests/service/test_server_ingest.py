"""Streams of records to a real server: cut, killed, side by side, read as they are written."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from mesh.identity.keys import create_signing_key, sign_token
from secmesh.records.v1.aggregate_pb2 import AggregateRecordsRequest
from secmesh.records.v1.ingest_pb2 import IngestRecordsResponse
from secmesh_client import CallRefused, over
from secmesh_client import ingest as ingest_blocking
from secmesh_client.aio import ingest
from secmesh_client.aio.channel import over as over_aio
from secmesh_client.outgoing import Outgoing
from tests.databases import NEWEST, SQLITE, empty_database
from tests.service.record_server import Serving, serving
from tests.unit.ingest_world import numbered, outcomes
from tests.unit.record_contract import PACKAGE, message
from tests.unit.record_world import ENTRIES, SHELVES, record_of

PATH = f"/{PACKAGE}.RecordService/IngestRecords"
TENANT = "tenants/acme"


@pytest.fixture(params=[SQLITE, NEWEST])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with empty_database(request.param, tmp_path_factory) as made:
        yield made


def token(keys: Path, **claims: Any) -> str:
    claims = {"tenant": "acme", "permissions": ("store.*.*",), **claims}
    return sign_token(keys, subject="ann", **claims)


@asynccontextmanager
async def method_of(address: str, keys: Path, **claims: Any) -> AsyncIterator[Any]:
    """Give IngestRecords of a server."""
    plain = grpc.aio.insecure_channel(address)
    async with over_aio(plain, Outgoing("", token(keys, **claims))) as channel:
        yield channel.stream_stream(
            PATH,
            request_serializer=message("IngestRecordsRequest").__class__.SerializeToString,
            response_deserializer=IngestRecordsResponse.FromString,
        )


def opening(**fields: Any) -> Any:
    return message("IngestRecordsRequest", parent=TENANT, **fields)


def shelves(count: int, room: str = "r") -> Iterator[Any]:
    return (record_of(SHELVES, room=room, place=place) for place in range(count))


async def gather_into(
    results: list[Any], stream: AsyncIterator[Any], after: int = 0, then: Any = None
) -> None:
    """Read results, and do something after some of them."""
    async for each in stream:
        results.append(each)
        if len(results) == after:
            then()


async def count(server: Serving, parent: str = SHELVES) -> int:
    answer = await server.call("AggregateRecords", AggregateRecordsRequest(parent=parent))
    return int(answer.groups[0].count)


async def test_a_client_sends_and_reads_with_asyncio(url: str, tmp_path: Path) -> None:
    async with serving(url, tmp_path) as server, method_of(server.address, server.keys) as method:
        results = [each async for each in ingest(method, opening(), shelves(4500))]
        assert [each.sequence for each in results] == list(range(1, 4501))
        assert set(outcomes(results)) == {"NEW"}
        again = [each async for each in ingest(method, opening(), shelves(4500))]
        assert set(outcomes(again)) == {"UNCHANGED"}
        assert await count(server) == 4500


async def test_a_blocking_client_sends_and_reads(url: str, tmp_path: Path) -> None:
    async with serving(url, tmp_path) as server:

        def run() -> list[Any]:
            plain = grpc.insecure_channel(server.address)
            with over(plain, token=token(server.keys)) as channel:
                method = channel.stream_stream(
                    PATH,
                    request_serializer=message("IngestRecordsRequest").__class__.SerializeToString,
                    response_deserializer=IngestRecordsResponse.FromString,
                )
                return list(ingest_blocking(method, opening(), shelves(1200)))

        results = await asyncio.to_thread(run)
        assert outcomes(results) == ["NEW"] * 1200
        assert await count(server) == 1200


async def test_who_sends_one_record_waits_for_no_other(tmp_path: Path) -> None:
    async with (
        serving("sqlite://", tmp_path) as server,
        method_of(server.address, server.keys) as method,
    ):
        call = method()
        await call.write(opening(items=numbered(shelves(1))))
        first = await asyncio.wait_for(call.read(), 60)
        assert outcomes(first.results) == ["NEW"]
        assert first.durable_sequence == 1
        assert await count(server) == 1
        await call.done_writing()
        assert (await call.read()).HasField("ended")


async def test_streams_of_others_are_refused(tmp_path: Path) -> None:
    async with serving("sqlite://", tmp_path) as server:
        async with method_of(server.address, server.keys, tenant="other") as method:
            with pytest.raises(CallRefused, match="RESOURCE_NOT_FOUND"):
                [each async for each in ingest(method, opening(), shelves(1))]
        async with method_of(
            server.address, server.keys, permissions=("store.shelves.*",)
        ) as method:
            with pytest.raises(CallRefused) as refused:
                [each async for each in ingest(method, opening(), shelves(1))]
            assert refused.value.metadata["permission"] == "store.records.ingest"
        assert await count(server) == 0


async def test_a_source_that_fails_is_told_after_what_came_before(tmp_path: Path) -> None:
    def failing() -> Iterator[Any]:
        yield from shelves(3)
        raise LookupError("the source is broken")

    async with (
        serving("sqlite://", tmp_path) as server,
        method_of(server.address, server.keys) as method,
    ):
        results: list[Any] = []
        with pytest.raises(LookupError):
            await gather_into(results, ingest(method, opening(), failing()))
        assert outcomes(results) == ["NEW"] * 3


async def test_two_streams_of_the_same_records_do_not_block_one_another(
    url: str, tmp_path: Path
) -> None:
    given = [*shelves(1500)]
    for place, each in enumerate(given):
        each.labels["n"] = str(place % 7)
    async with serving(url, tmp_path) as server, method_of(server.address, server.keys) as method:

        async def send(records: list[Any]) -> list[str]:
            return outcomes([each async for each in ingest(method, opening(), records)])

        for _ in range(2):
            one, two = await asyncio.gather(send(given), send(given[::-1]))
            assert "REJECTED" not in (*one, *two)
            for each in given:
                each.labels["n"] += "x"
        assert (one + two).count("UPDATED") == 1500
        assert await count(server) == 1500


@contextmanager
def process(url: str, keys: Path) -> "Iterator[tuple[subprocess.Popen[str], str]]":
    command = [sys.executable, "-m", "tests.service.record_server", url, str(keys)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as started:
        try:
            assert started.stdout is not None
            line = started.stdout.readline()
            yield started, str(json.loads(line.removeprefix("LISTENING "))["address"])
        finally:
            started.kill()


def entries(total: int) -> Iterator[Any]:
    return (record_of(ENTRIES, line=f"line {number}") for number in range(total))


async def test_killed_in_the_middle_all_that_was_acknowledged_is_there_once(
    url: str, tmp_path: Path
) -> None:
    keys, total = tmp_path / "keys", 12_000
    create_signing_key(keys)
    with process(url, keys) as (first, address):
        async with method_of(address, keys) as method:
            request = opening(stream_id="01a201ab-6d72-72c3-b342-5607cc9c856d")
            told: list[Any] = []
            stream = ingest(method, request, entries(total), patience=0)
            with pytest.raises(CallRefused):
                await gather_into(told, stream, 2500, lambda: first.send_signal(signal.SIGKILL))
        assert first.wait(10) == -signal.SIGKILL
    assert set(outcomes(told)) == {"NEW"}
    with process(url, keys) as (_, address):
        server = Serving(address, keys)
        stored = await count(server, ENTRIES)
        assert len(told) <= stored < total
        async with method_of(address, keys) as method:
            results = [each async for each in ingest(method, request, entries(total))]
        said = outcomes(results)
        assert said.count("UNCHANGED") == stored
        assert said.count("NEW") == total - stored
        assert [each.name for each in results[: len(told)]] == [each.name for each in told]
        assert await count(server, ENTRIES) == total


async def test_a_client_goes_on_by_itself_when_the_server_comes_back(
    url: str, tmp_path: Path
) -> None:
    keys, total = tmp_path / "keys", 8000
    create_signing_key(keys)
    with process(url, keys) as (first, address):
        running = [first]
        replaced: list[Any] = []

        async with method_of(address, keys) as method:

            def moved(request: Any, **rest: Any) -> Any:
                return (replaced[0] if replaced else method)(request, **rest)

            results: list[Any] = []
            with process(url, keys) as (_, other):
                async with method_of(other, keys) as second:
                    async for each in ingest(moved, opening(), entries(total)):
                        results.append(each)
                        if len(results) == 2100:
                            replaced.append(second)
                            running[0].send_signal(signal.SIGKILL)
                    assert [each.sequence for each in results] == list(range(1, total + 1))
                    assert set(outcomes(results)) <= {"NEW", "UNCHANGED"}
                    assert await count(Serving(other, keys), ENTRIES) == total


async def test_the_server_reads_no_faster_than_it_writes(tmp_path: Path) -> None:
    taken = 0

    def counted(total: int) -> Iterator[Any]:
        nonlocal taken
        for each in entries(total):
            taken += 1
            yield each

    async with (
        serving("sqlite://", tmp_path) as server,
        method_of(server.address, server.keys) as method,
    ):
        assert server.store is not None
        async with server.store.alone():
            stream: Any = ingest(method, opening(), counted(60_000))
            waiting = asyncio.ensure_future(anext(stream))
            await _settled(lambda: taken)
            assert taken < 12_000
            assert not waiting.done()
        assert (await waiting).sequence == 1
        await stream.aclose()


async def _settled(value: Callable[[], int]) -> None:
    last = -1
    while last != value():
        last = value()
        await asyncio.sleep(0.5)
