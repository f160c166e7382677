"""Parts of logs are made while callers write: none of them loses its call to it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from mesh.errors import DependencyUnavailable
from mesh.sql import giving_way
from mesh.sql.engine import open_engine
from mesh.sql.migration import migrate
from mesh.sql.partitions import Maintenance, maintain_partitions
from mesh.sql.store import Store
from mesh.sql.tables import Tables
from tests.databases import NEWEST, empty_database
from tests.unit.sql_contract import compile_contract, new

CONTRACT = """
syntax = "proto3";
package secmesh.giving_way.v1;
import "google/api/resource.proto";
import "secmesh/options/v1/field.proto";
import "secmesh/options/v1/kind.proto";
message Topic {
  option (google.api.resource) = {
    type: "secmesh.dev/Topic" pattern: "tenants/{tenant}/topics/{topic}"
  };
  option (secmesh.options.v1.kind) = {module: "sample" collection: "topics"};
  string name = 1;
}
message Event {
  option (google.api.resource) = {
    type: "secmesh.dev/Event" pattern: "tenants/{tenant}/events/{event}"
  };
  option (secmesh.options.v1.kind) = {
    module: "sample" collection: "events"
    partition: {interval: INTERVAL_MONTH retention: {seconds: 5184000}}
  };
  string name = 1;
  optional string topic_id = 2 [
    (secmesh.options.v1.field) = {references: "topics" on_delete: ON_DELETE_CASCADE}
  ];
}
"""
CATALOGUE = compile_contract("giving_way.proto", CONTRACT, "secmesh.giving_way.v1")
LATER = datetime(2031, 5, 2, tzinfo=UTC)
WAITING = sa.text(
    "SELECT count(*) FROM pg_locks JOIN pg_database ON database = pg_database.oid "
    "WHERE NOT granted AND datname = current_database()"
)


@pytest.fixture
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with empty_database(NEWEST, tmp_path_factory) as made:
        yield made


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    engine = open_engine(url)
    opened = Store(engine, Tables(CATALOGUE), page_key=b"k" * 32)
    await migrate(engine, opened.tables)
    yield opened
    await engine.dispose()


async def until_it_waits(store: Store, work: "asyncio.Task[Maintenance]") -> None:
    """Wait until a change of tables waits for a lock."""
    async with asyncio.timeout(60):
        while True:
            async with store.connection() as other:
                if (await other.execute(WAITING)).scalar_one():
                    return
            assert not work.done()
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def writing(store: Store) -> AsyncIterator["asyncio.Task[Maintenance]"]:
    """Make parts while a caller has written to what the log refers to, and then reads the log."""
    topic = new("topics", CATALOGUE)
    topic.name = "tenants/acme/topics/t"
    async with store.transaction() as connection:
        await store.insert(connection, "topics", [topic])
        work = asyncio.create_task(maintain_partitions(store.engine, store.tables.metadata, LATER))
        await until_it_waits(store, work)
        yield work
        events = await connection.execute(sa.text("SELECT count(*) FROM events"))
        assert events.scalar_one() == 0


async def test_who_writes_goes_on_and_the_parts_are_made_behind_it(store: Store) -> None:
    async with writing(store) as work:
        pass
    assert (await work).created == ("events_p20310501", "events_p20310601", "events_p20310701")
    assert len((await store.page("topics", "tenants/acme")).items) == 1


async def test_what_finds_no_gap_is_given_up(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(giving_way, "_PATIENCE_SECONDS", 0.0)
    async with writing(store) as work:
        with pytest.raises(DependencyUnavailable):
            await work
    done = await maintain_partitions(store.engine, store.tables.metadata, LATER)
    assert len(done.created) == 3
