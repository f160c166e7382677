"""The deadline of a call ends its statement in PostgreSQL too."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
import sqlalchemy as sa

from mesh.client import CallRefused, open_channel
from mesh.contract.catalogue import load_catalogue
from mesh.errors import DeadlineExceeded
from mesh.sql.engine import open_engine
from mesh.sql.store import Store
from mesh.sql.tables import Tables
from secmesh.inventory.v1 import record_pb2, record_service_pb2_grpc
from secmesh.records.v1.record_requests_pb2 import GetRecordRequest
from tests.databases import inventory_database
from tests.service.server_fixtures import PACKAGE, RECORD, running

GET = GetRecordRequest(name=RECORD)
CATALOGUE = load_catalogue(PACKAGE)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with inventory_database("postgresql18", tmp_path_factory) as made:
        yield made


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    engine = open_engine(url)
    yield Store(engine, Tables(CATALOGUE), page_key=b"k" * 32)
    await engine.dispose()


async def test_what_is_left_of_a_call_is_the_statements_limit(store: Store, tmp_path: Path) -> None:
    limits: list[float] = []

    async def look(_request: Any, _context: Any) -> Any:
        await asyncio.sleep(0.5)
        for opened in (store.connection(), store.transaction()):
            async with opened as connection:
                setting = sa.text("SELECT setting FROM pg_settings WHERE name='statement_timeout'")
                limits.append(float((await connection.execute(setting)).scalar_one()))
        return record_pb2.Record()

    async with running(tmp_path) as server:
        server.records.get = look
        async with open_channel(server.address, package=PACKAGE, token=server.token()) as channel:
            await record_service_pb2_grpc.RecordServiceStub(channel).GetRecord(GET, timeout=25)
    assert len(limits) == 2
    assert all(1000 < limit <= 24_500 for limit in limits)


async def test_a_statement_ends_with_its_call(store: Store, tmp_path: Path) -> None:
    limit = timedelta(seconds=1)
    methods = {path: replace(each, timeout=limit) for path, each in CATALOGUE.methods.items()}
    asked: list[asyncio.Task[None]] = []

    async def sleep() -> None:
        async with store.connection() as connection:
            await connection.execute(sa.text("SELECT pg_sleep(3000)"))

    async def hang(_request: Any, _context: Any) -> Any:
        # Not cancelled with the call, so that only the database can end it.
        asked.append(asyncio.create_task(sleep()))
        await asyncio.shield(asked[0])

    async with running(tmp_path, catalogue=replace(CATALOGUE, methods=methods)) as server:
        server.records.get = hang
        async with open_channel(server.address, package=PACKAGE, token=server.token()) as channel:
            stub = record_service_pb2_grpc.RecordServiceStub(channel)
            with pytest.raises(CallRefused) as caught:
                await stub.GetRecord(GET, timeout=20)
    assert caught.value.code == grpc.StatusCode.DEADLINE_EXCEEDED
    assert caught.value.reason == "DEADLINE_EXCEEDED"
    with pytest.raises(DeadlineExceeded):
        await asyncio.wait_for(asked[0], 60)
