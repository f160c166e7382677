"""Logs are split by time on PostgreSQL and leave by age everywhere."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from mesh.contract.catalogue import CatalogueError
from mesh.errors import FieldInvalid
from mesh.sql import partitions
from mesh.sql.engine import open_engine
from mesh.sql.migration import migrate, plan_migration
from mesh.sql.partitions import maintain_partitions
from mesh.sql.store import Store
from mesh.sql.tables import Tables
from tests.unit.sql_contract import compile_contract, new

LOG = """
syntax = "proto3";
package secmesh.{package}.v1;
import "google/api/resource.proto";
import "google/protobuf/timestamp.proto";
import "secmesh/options/v1/field.proto";
import "secmesh/options/v1/kind.proto";
message Event {{
  option (google.api.resource) = {{
    type: "secmesh.dev/Event" pattern: "tenants/{{tenant}}/events/{{event}}"
  }};
  option (secmesh.options.v1.kind) = {{
    module: "sample" collection: "events"
    {options}
  }};
  string name = 1;
  google.protobuf.Timestamp seen = 2;
  string text = 3 {text};
  {more}
}}
"""
MONTHLY = 'partition: {field: "seen" interval: INTERVAL_MONTH retention: {seconds: 5184000}}'
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def contract(package: str, options: str = MONTHLY, text: str = "", more: str = "") -> Any:
    body = LOG.format(package=package, options=options, text=text, more=more)
    return compile_contract(f"{package}.proto", body, f"secmesh.{package}.v1")


CATALOGUE = contract("log_monthly")


@pytest.fixture
async def store(database: str) -> AsyncIterator[Store]:
    engine = open_engine(database)
    made = Store(engine, Tables(CATALOGUE), page_key=b"k" * 32)
    await migrate(engine, made.tables)
    yield made
    await engine.dispose()


def event(number: str, *date: int) -> Any:
    message = new("events", CATALOGUE)
    message.name = f"tenants/acme/events/{number}"
    if date:
        message.seen.FromDatetime(datetime(*date))  # type: ignore[arg-type]  # noqa: DTZ001  # UTC
    return message


async def put(store: Store, *messages: Any) -> None:
    async with store.transaction() as connection:
        await store.insert(connection, "events", messages)


async def names(store: Store) -> list[str]:
    page = await store.page("events", "tenants/acme")
    return [message.name.rpartition("/")[2] for message in page.items]  # type: ignore[attr-defined]  # named


async def test_parts_are_made_ahead_and_what_waited_moves_there(store: Store) -> None:
    await put(store, event("a", 2026, 11, 30), event("b", 2030, 2, 3), event("c", 2030, 3, 1))
    done = await maintain_partitions(
        store.engine, store.tables.metadata, datetime(2030, 2, 28, tzinfo=UTC)
    )
    assert await names(store) == (["b", "c"])
    if store.database == "sqlite":
        assert (done.created, done.dropped, done.deleted) == ((), (), 1)
        return
    assert done.created == ("events_p20300201", "events_p20300301", "events_p20300401")
    async with store.connection() as connection:
        places = await connection.execute(
            sa.text("SELECT id, tableoid::regclass::text FROM events ORDER BY id")
        )
        assert list(map(tuple, places)) == [("b", "events_p20300201"), ("c", "events_p20300301")]


async def test_old_rows_leave_in_batches_and_young_ones_stay(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "BATCH", 2)
    metadata = store.tables.metadata
    await maintain_partitions(store.engine, metadata, datetime(2026, 7, 15, tzinfo=UTC))
    # The retention is 60 days: a part goes when all of it is older.
    old = [event(f"old{day}", 2026, 7, day) for day in range(1, 6)]
    ancient = [event(f"ancient{day}", 1999, 7, day) for day in range(1, 6)]
    await put(store, *old, *ancient, event("young", 2026, 11, 1))
    done = await maintain_partitions(store.engine, metadata, NOW)
    assert await names(store) == ["young"]
    if store.database == "sqlite":
        assert (done.dropped, done.deleted) == ((), 10)
    else:
        assert set(done.dropped) == {"events_p20260701", "events_p20260801"}
        assert done.deleted == 5
    again = await maintain_partitions(store.engine, metadata, NOW)
    assert (again.created, again.dropped, again.deleted) == ((), (), 0)


async def test_several_processes_maintain_at_once(store: Store) -> None:
    url = store.engine.url.render_as_string(hide_password=False)
    engines = [open_engine(url) for _ in range(3)]
    await put(store, event("old", 1999, 1, 1), event("next", 2031, 5, 1))
    later = datetime(2031, 5, 2, tzinfo=UTC)
    try:
        done = await asyncio.gather(
            *(maintain_partitions(each, store.tables.metadata, later) for each in engines)
        )
    finally:
        for each in engines:
            await each.dispose()
    assert sum(each.deleted for each in done) == 1
    made = [name for each in done for name in each.created]
    assert len(made) == len(set(made)) == (0 if store.database == "sqlite" else 3)
    assert await names(store) == ["next"]


async def test_parts_are_no_difference_from_the_contract(store: Store) -> None:
    await maintain_partitions(store.engine, store.tables.metadata, NOW)
    assert (await plan_migration(store.engine, store.tables)).steps == ()
    more = Tables(
        contract("log_more", more="string source = 4 [(secmesh.options.v1.field).indexed = true];")
    )
    await put(store, event("a", 2026, 11, 1))
    await migrate(store.engine, more)
    assert (await plan_migration(store.engine, more)).steps == ()
    assert await names(Store(store.engine, more, page_key=b"k" * 32)) == ["a"]


async def test_a_row_without_its_time_is_refused(store: Store) -> None:
    with pytest.raises(FieldInvalid):
        await put(store, event("a"))


async def test_a_list_by_time_reads_the_parts_of_that_time_alone(store: Store) -> None:
    if store.database == "sqlite":
        plan = "EXPLAIN QUERY PLAN SELECT * FROM events WHERE seen < 5"
        async with store.connection() as connection:
            told = str((await connection.exec_driver_sql(plan)).all())
        assert "ix_events_age" in told
        return
    await maintain_partitions(store.engine, store.tables.metadata, NOW)
    target = store.target("events")
    condition = store.condition(
        target,
        'seen >= timestamp("2026-12-01T00:00:00Z") && seen < timestamp("2027-01-01T00:00:00Z")',
    )
    statement = store.select("events", "acme").where(condition)
    sent: list[Any] = []

    def note(_connection: Any, _cursor: Any, sql: str, parameters: Any, *_: Any) -> None:
        sent.append((f"EXPLAIN {sql}", parameters))

    async with store.connection() as connection:
        sa.event.listen(connection.sync_connection, "before_cursor_execute", note)
        await store.fetch(statement, connection)
        told = "\n".join((await connection.exec_driver_sql(*sent[-1])).scalars())
    assert "events_p20261201" in told
    assert "events_p20261101" not in told
    assert "events_default" not in told


@pytest.mark.parametrize(
    ("package", "options", "text", "problem"),
    [
        ("log_bad1", 'partition: {field: "text" interval: INTERVAL_DAY}', "", "no timestamp"),
        ("log_bad2", 'partition: {field: "seen"}', "", "names no interval"),
        ("log_bad3", f"history: true {MONTHLY}", "", "cannot keep history"),
        ("log_bad4", f'natural_key: ["text"] {MONTHLY}', "", "nothing can be unique"),
        ("log_bad5", MONTHLY, "[(secmesh.options.v1.field).unique = true]", "unique"),
    ],
)
def test_a_log_that_cannot_be_split_is_refused(
    package: str, options: str, text: str, problem: str
) -> None:
    with pytest.raises(CatalogueError, match=problem):
        Tables(contract(package, options, text))


def test_periods_follow_each_other_over_the_year() -> None:
    [first, *_, last] = partitions.Partition("seen", True, None).periods(NOW, 4)
    assert (first.start, last.end) == (
        datetime(2026, 11, 1, tzinfo=UTC),
        datetime(2027, 3, 1, tzinfo=UTC),
    )
    [day] = partitions.Partition("seen", False, None).periods(NOW, 1)
    assert (day.start, day.end) == (
        datetime(2026, 11, 22, tzinfo=UTC),
        datetime(2026, 11, 23, tzinfo=UTC),
    )
