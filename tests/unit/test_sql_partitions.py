"""Logs are split by the time in their ids on PostgreSQL and leave by age everywhere."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from mesh.contract.catalogue import CatalogueError
from mesh.errors import FieldInvalid
from mesh.identifiers import first_of, is_uuid7, new_uuid
from mesh.sql import partitions
from mesh.sql.engine import open_engine
from mesh.sql.migration import migrate, plan_migration
from mesh.sql.partitions import maintain_partitions
from mesh.sql.schema import MigrationRefused
from mesh.sql.store import Store
from mesh.sql.tables import Tables
from tests.unit.sql_contract import compile_contract, new

LOG = """
syntax = "proto3";
package secmesh.{package}.v1;
import "google/api/resource.proto";
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
  string text = 3 {text};
  {more}
}}
message Note {{
  option (google.api.resource) = {{
    type: "secmesh.dev/Note" pattern: "tenants/{{tenant}}/notes/{{note}}"
  }};
  option (secmesh.options.v1.kind) = {{module: "sample" collection: "notes"}};
  string name = 1;
  optional string event_id = 2 [
    (secmesh.options.v1.field) = {{references: "events" on_delete: {fate}}}
  ];
}}
"""
MONTHLY = "partition: {interval: INTERVAL_MONTH retention: {seconds: 5184000}}"
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def contract(
    package: str,
    options: str = MONTHLY,
    text: str = "",
    more: str = "",
    fate: str = "ON_DELETE_CASCADE",
    notes: bool = False,
) -> Any:
    body = LOG if notes else LOG[: LOG.index("message Note")]
    body = body.format(package=package, options=options, text=text, more=more, fate=fate)
    return compile_contract(f"{package}.proto", body, f"secmesh.{package}.v1")


CATALOGUE = contract("log_monthly")


@pytest.fixture
async def store(database: str) -> AsyncIterator[Store]:
    engine = open_engine(database)
    opened = Store(engine, Tables(CATALOGUE), page_key=b"k" * 32)
    await migrate(engine, opened.tables)
    yield opened
    await engine.dispose()


def made(year: int, month: int, day: int, number: int = 0) -> str:
    """Give the id of a row that was made on a day."""
    return f"{first_of(datetime(year, month, day, tzinfo=UTC))}-7000-8000-{number:012x}"


def event(record_id: str, catalogue: Any = CATALOGUE) -> Any:
    message = new("events", catalogue)
    message.name = f"tenants/acme/events/{record_id}"
    return message


async def put(store: Store, *messages: Any) -> None:
    async with store.transaction() as connection:
        await store.insert(connection, "events", messages)


async def names(store: Store) -> list[str]:
    page = await store.page("events", "tenants/acme")
    return [message.name.rpartition("/")[2] for message in page.items]  # type: ignore[attr-defined]  # named


async def test_parts_are_made_ahead_and_what_waited_moves_there(store: Store) -> None:
    old, first, second = made(2026, 11, 30), made(2030, 2, 3), made(2030, 3, 1)
    await put(store, event(old), event(first), event(second))
    done = await maintain_partitions(
        store.engine, store.tables.metadata, datetime(2030, 2, 28, tzinfo=UTC)
    )
    assert await names(store) == [first, second]
    if store.database == "sqlite":
        assert (done.created, done.dropped, done.deleted) == ((), (), 1)
        return
    assert done.created == ("events_p20300201", "events_p20300301", "events_p20300401")
    async with store.connection() as connection:
        places = await connection.execute(
            sa.text("SELECT id, tableoid::regclass::text FROM events ORDER BY id")
        )
        wanted = [(first, "events_p20300201"), (second, "events_p20300301")]
        assert list(map(tuple, places)) == wanted


async def test_old_rows_leave_in_batches_and_young_ones_stay(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "BATCH", 2)
    metadata = store.tables.metadata
    await maintain_partitions(store.engine, metadata, datetime(2026, 7, 15, tzinfo=UTC))
    # The retention is 60 days: a part goes when all of it is older.
    old = [event(made(2026, 7, day)) for day in range(1, 6)]
    ancient = [event(made(1999, 7, day)) for day in range(1, 6)]
    young, future = made(2026, 11, 1), made(2099, 1, 1)
    await put(store, *old, *ancient, event(young), event(future))
    done = await maintain_partitions(store.engine, metadata, NOW)
    assert await names(store) == [young, future]
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
    following = made(2031, 5, 1)
    await put(store, event(made(1999, 1, 1)), event(following))
    later = datetime(2031, 5, 2, tzinfo=UTC)
    try:
        done = await asyncio.gather(
            *(maintain_partitions(each, store.tables.metadata, later) for each in engines)
        )
    finally:
        for each in engines:
            await each.dispose()
    assert sum(each.deleted for each in done) == 1
    parts = [name for each in done for name in each.created]
    assert len(parts) == len(set(parts)) == (0 if store.database == "sqlite" else 3)
    assert await names(store) == [following]


async def test_parts_are_no_difference_from_the_contract(store: Store) -> None:
    await maintain_partitions(store.engine, store.tables.metadata, NOW)
    assert (await plan_migration(store.engine, store.tables)).steps == ()
    more = Tables(
        contract("log_more", more="string source = 4 [(secmesh.options.v1.field).indexed = true];")
    )
    kept = made(2026, 11, 1)
    await put(store, event(kept))
    await migrate(store.engine, more)
    assert (await plan_migration(store.engine, more)).steps == ()
    assert await names(Store(store.engine, more, page_key=b"k" * 32)) == [kept]


@pytest.mark.parametrize(
    "record_id",
    [
        "a",
        "d9428888-122b-41e1-b85c-61c6fdb6a5c2",  # version 4
        made(2026, 11, 1).upper().replace("0", "A"),
        made(2026, 11, 1).replace("-", ""),
        made(2026, 11, 1).replace("-8000-", "-c000-"),  # another variant
        made(2026, 11, 1) + "\n",
    ],
)
async def test_an_id_without_a_time_is_refused(store: Store, record_id: str) -> None:
    with pytest.raises(FieldInvalid) as refused:
        await put(store, event(record_id))
    [details] = refused.value.details
    assert {each.reason for each in details.field_violations} == {"ID_INVALID"}  # type: ignore[attr-defined]  # a BadRequest
    assert await names(store) == []


async def test_ids_of_one_time_read_the_parts_of_that_time_alone(store: Store) -> None:
    if store.database == "sqlite":
        return
    await maintain_partitions(store.engine, store.tables.metadata, NOW)
    async with store.connection() as connection:
        plan = (
            f"EXPLAIN SELECT * FROM events WHERE tenant_id = 'acme' AND id = '{made(2026, 12, 5)}'"  # noqa: S608  # a test's own id
        )
        told = "\n".join((await connection.exec_driver_sql(plan)).scalars())
    assert "events_p20261201" in told
    assert "events_p20261101" not in told
    assert "events_default" not in told


@pytest.mark.parametrize(
    ("fate", "left"),
    [("ON_DELETE_CASCADE", []), ("ON_DELETE_SET_NULL", [""]), ("ON_DELETE_RESTRICT", ["old"])],
)
async def test_what_refers_to_an_old_row_goes_lets_go_or_keeps_it(
    database: str, fate: str, left: list[str]
) -> None:
    catalogue = contract(f"log_referred_{fate.lower()}", fate=fate, notes=True)
    engine = open_engine(database)
    store = Store(engine, Tables(catalogue), page_key=b"k" * 32)
    old, young = made(2026, 7, 5), made(2026, 11, 5)
    try:
        await migrate(engine, store.tables)
        metadata = store.tables.metadata
        await maintain_partitions(engine, metadata, datetime(2026, 7, 15, tzinfo=UTC))
        note = new("notes", catalogue)
        note.name, note.event_id = "tenants/acme/notes/n", f"tenants/acme/events/{old}"
        async with store.transaction() as connection:
            await store.insert(connection, "events", [event(old, catalogue)])
            await store.insert(connection, "events", [event(young, catalogue)])
            await store.insert(connection, "notes", [note])
        # A part whose rows wait in the default one is not made: they could not move.
        later = await maintain_partitions(engine, metadata, NOW)
        assert "events_p20261101" not in later.created
        page = await store.page("notes", "tenants/acme")
        found = ["old" if each.event_id else "" for each in page.items]  # type: ignore[attr-defined]  # notes
        assert found == left
        kept = [old, young] if fate == "ON_DELETE_RESTRICT" else [young]
        assert await names(store) == kept
        assert (await plan_migration(engine, store.tables)).steps == ()
    finally:
        await engine.dispose()


async def test_a_table_becomes_no_log_by_migration(database: str) -> None:
    if database.startswith("sqlite"):
        return
    engine = open_engine(database)
    try:
        await migrate(engine, Tables(contract("log_plain", options="")))
        for allowed in (False, True):
            with pytest.raises(MigrationRefused, match="split events"):
                await migrate(engine, Tables(CATALOGUE), allow_destructive=allowed)
    finally:
        await engine.dispose()


@pytest.mark.parametrize(
    ("package", "options", "text", "problem"),
    [
        ("log_bad1", "partition: {}", "", "names no interval"),
        (
            "log_bad2",
            f'indexes: {{fields: ["text"] unique: true}} {MONTHLY}',
            "",
            "nothing else can be unique",
        ),
        ("log_bad3", f"history: true {MONTHLY}", "", "cannot keep history"),
        ("log_bad4", f'natural_key: ["text"] {MONTHLY}', "", "nothing else can be unique"),
        ("log_bad5", MONTHLY, "[(secmesh.options.v1.field).unique = true]", "unique"),
    ],
)
def test_a_log_that_cannot_be_split_is_refused(
    package: str, options: str, text: str, problem: str
) -> None:
    with pytest.raises(CatalogueError, match=problem):
        Tables(contract(package, options, text))


def test_periods_follow_each_other_over_the_year() -> None:
    [first, *_, last] = partitions.Partition(True, None).periods(NOW, 4)
    assert (first.start, last.end) == (
        datetime(2026, 11, 1, tzinfo=UTC),
        datetime(2027, 3, 1, tzinfo=UTC),
    )
    [day] = partitions.Partition(False, None).periods(NOW, 1)
    assert (day.start, day.end) == (
        datetime(2026, 11, 22, tzinfo=UTC),
        datetime(2026, 11, 23, tzinfo=UTC),
    )


def test_texts_of_ids_sort_by_their_time() -> None:
    before, later = datetime.now(UTC), datetime(2100, 1, 1, tzinfo=UTC)
    record_id = new_uuid()
    assert is_uuid7(record_id)
    assert first_of(before) <= record_id < first_of(later)
    assert first_of(datetime(1960, 1, 1, tzinfo=UTC)) == "00000000-0000"
