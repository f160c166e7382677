"""Requests that name themselves are done once, over a real server and every database."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
import sqlalchemy as sa

from mesh.identity.keys import create_signing_key
from mesh.sql.answers import RETENTION, Answers
from secmesh.records.v1.record_requests_pb2 import GetRecordRequest, ListRecordsRequest
from secmesh.records.v1.write_requests_pb2 import DeleteRecordRequest
from tests.service.record_server import CallRefused, Serving, serving
from tests.unit.record_contract import request_of
from tests.unit.record_world import ITEMS, record_of


@pytest.fixture
async def server(database: str, tmp_path: Path) -> AsyncIterator[Serving]:
    async with serving(database, tmp_path) as made:
        yield made


def creation(request_id: str, *, record_id: str = "", parent: str = ITEMS, **body: Any) -> Any:
    request = request_of("CreateRecord", parent=parent, record_id=record_id, request_id=request_id)
    request.record.CopyFrom(record_of(parent, **{"title": "box", **body}))
    return request


async def names(server: Serving, parent: str = ITEMS, **claims: Any) -> list[str]:
    page = await server.call("ListRecords", ListRecordsRequest(parent=parent), **claims)
    return [record.name for record in page.records]


async def answered(server: Serving) -> list[Any]:
    """Give the rows of the store's answers."""
    assert server.store is not None
    table = server.store.tables.answers
    assert table is not None
    async with server.store.connection() as connection:
        return list(await connection.execute(sa.select(table)))


async def test_a_request_that_is_sent_again_is_answered_alike(server: Serving) -> None:
    request = creation(str(uuid4()))
    made = await server.call("CreateRecord", request)
    update = request_of("UpdateRecord", record={"name": made.name, "item": {"rank": 4}})
    await server.call("UpdateRecord", update)
    assert await server.call("CreateRecord", request) == made
    request.request_id = request.request_id.upper()
    assert await server.call("CreateRecord", request) == made
    assert await names(server) == [made.name]

    again = DeleteRecordRequest(name=made.name, request_id=str(uuid4()))
    await server.call("DeleteRecord", again)
    await server.call("DeleteRecord", again)
    again.request_id = str(uuid4())
    with pytest.raises(CallRefused, match="RESOURCE_NOT_FOUND"):
        await server.call("DeleteRecord", again)


async def test_the_same_id_with_another_body_is_refused(server: Serving) -> None:
    request_id = str(uuid4())
    made = await server.call("CreateRecord", creation(request_id, password="p"))
    for other in (
        creation(request_id, password="q"),
        creation(request_id, password="p", rank=1),
        creation(request_id),
    ):
        with pytest.raises(CallRefused) as refused:
            await server.call("CreateRecord", other)
        assert refused.value.reason == "REQUEST_ID_REUSED"
        assert refused.value.code is grpc.StatusCode.FAILED_PRECONDITION
    assert await names(server) == [made.name]


async def test_ids_of_other_callers_tenants_and_methods_are_others(server: Serving) -> None:
    request_id = str(uuid4())
    first = await server.call("CreateRecord", creation(request_id))
    second = await server.call("CreateRecord", creation(request_id), subject="bob")
    assert first.name != second.name
    theirs = creation(request_id, parent="tenants/other/items")
    third = await server.call("CreateRecord", theirs, tenant="other")
    assert await names(server, "tenants/other/items", tenant="other") == [third.name]
    await server.call("DeleteRecord", DeleteRecordRequest(name=first.name, request_id=request_id))
    assert await names(server) == [second.name]


async def test_concurrent_duplicates_run_once(server: Serving) -> None:
    request = creation(str(uuid4()))
    answers = await asyncio.gather(*(server.call("CreateRecord", request) for _ in range(8)))
    assert all(answer == answers[0] for answer in answers)
    assert await names(server) == [answers[0].name]


async def test_what_failed_can_be_sent_again(server: Serving) -> None:
    request = DeleteRecordRequest(name=f"{ITEMS}/a", request_id=str(uuid4()))
    with pytest.raises(CallRefused, match="RESOURCE_NOT_FOUND"):
        await server.call("DeleteRecord", request)
    assert await answered(server) == []
    await server.call("CreateRecord", creation("", record_id="a"))
    await server.call("DeleteRecord", request)
    assert await names(server) == []


async def test_a_batch_is_done_once(server: Serving) -> None:
    request = request_of(
        "BatchWriteRecords",
        parent="tenants/acme",
        writes=[{"create": creation("")}, {"create": creation("", serial="s")}],
        request_id=str(uuid4()),
    )
    first = await server.call("BatchWriteRecords", request)
    assert await server.call("BatchWriteRecords", request) == first
    assert len(await names(server)) == 2


async def test_each_write_of_a_batch_needs_its_own_permission(server: Serving) -> None:
    request = request_of(
        "BatchWriteRecords",
        parent="tenants/acme",
        writes=[{"create": creation("")}, {"delete": {"name": f"{ITEMS}/a"}}],
    )
    granted = ("store.records.batch", "store.items.create")
    with pytest.raises(CallRefused) as refused:
        await server.call("BatchWriteRecords", request, permissions=granted)
    assert refused.value.metadata["permission"] == "store.items.delete"
    del request.writes[1]
    await server.call("BatchWriteRecords", request, permissions=granted)
    request.writes[0].create.parent = "tenants/other/items"
    with pytest.raises(CallRefused, match="RESOURCE_NOT_FOUND"):
        await server.call("BatchWriteRecords", request)


async def test_an_update_needs_its_permission_and_its_tenant(server: Serving) -> None:
    made = await server.call("CreateRecord", creation(""))
    update = request_of("UpdateRecord", record={"name": made.name, "item": {"rank": 4}})
    with pytest.raises(CallRefused) as refused:
        await server.call("UpdateRecord", update, permissions=("store.items.create",))
    assert refused.value.metadata["permission"] == "store.items.update"
    with pytest.raises(CallRefused, match="RESOURCE_NOT_FOUND"):
        await server.call("UpdateRecord", update, tenant="other")
    update.record.name = ""
    with pytest.raises(CallRefused, match=r"record\.name"):
        await server.call("UpdateRecord", update)
    assert await server.call("GetRecord", GetRecordRequest(name=made.name)) == made


async def test_no_secret_is_kept_with_the_answer(server: Serving) -> None:
    await server.call("CreateRecord", creation(str(uuid4()), password="hunter2hunter2"))
    [row] = await answered(server)
    assert not any("hunter2" in str(value) for value in row)
    assert not any(isinstance(value, bytes) and b"hunter2" in value for value in row)


async def test_a_bad_request_id_is_refused(server: Serving) -> None:
    with pytest.raises(CallRefused) as refused:
        await server.call("CreateRecord", creation("again"))
    assert refused.value.reason == "FIELD_INVALID"
    assert await names(server) == []


async def test_an_answer_is_forgotten_after_its_time(database: str, tmp_path: Path) -> None:
    moment = 1_795_262_400_000_000
    request, other = creation(str(uuid4())), creation(str(uuid4()))
    async with serving(database, tmp_path, lambda store: Answers(store, lambda: moment)) as server:
        first = await server.call("CreateRecord", request)
        moment += (RETENTION - timedelta(seconds=1)) // timedelta(microseconds=1)
        assert await server.call("CreateRecord", request) == first
        moment += 1_000_000
        await server.call("CreateRecord", other)
        assert len(await answered(server)) == 1, "what expired is removed on the way"
        assert await server.call("CreateRecord", request) != first


async def test_without_a_store_of_answers_a_named_request_is_refused(tmp_path: Path) -> None:
    async with serving("sqlite://", tmp_path, lambda _store: None) as server:
        with pytest.raises(CallRefused, match="INTERNAL"):
            await server.call("CreateRecord", creation(str(uuid4())))
        assert await names(server) == []


@contextmanager
def _process(url: str, keys: Path, *options: str) -> "Iterator[subprocess.Popen[str]]":
    command = [sys.executable, "-m", "tests.service.record_server", url, str(keys), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def _address(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    return str(json.loads(line.removeprefix("LISTENING "))["address"])


async def test_killed_between_commit_and_answer_it_answers_as_it_had(
    database: str, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    create_signing_key(keys)
    request = creation(str(uuid4()))
    with _process(database, keys, "--die") as first:
        address = await asyncio.to_thread(_address, first)
        with pytest.raises(CallRefused) as refused:
            await Serving(address, keys).call("CreateRecord", request)
        assert refused.value.code is grpc.StatusCode.UNAVAILABLE
        assert first.wait(10) == -signal.SIGKILL
    with _process(database, keys) as second:
        server = Serving(await asyncio.to_thread(_address, second), keys)
        committed = await names(server)
        assert len(committed) == 1
        assert (await server.call("CreateRecord", request)).name == committed[0]
        assert await names(server) == committed
        os.kill(second.pid, signal.SIGTERM)
        assert second.wait(10) == 0
