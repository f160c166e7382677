"""The change feed of the store, on SQLite and PostgreSQL."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import sqlalchemy as sa

from mesh.identity.caller import Caller
from mesh.server.call import Call, enter_call
from mesh.sql.change_table import Change
from mesh.sql.changes import ChangeFeed, RecordChange, Revision
from tests.databases import DATABASES, NEWEST, empty_database
from tests.unit.record_world import ITEMS, SHELVES, TALES, Records, record_of, records_on

CREATED, UPDATED, DELETED = Change.CREATED, Change.UPDATED, Change.DELETED


@pytest.fixture(params=DATABASES)
async def records(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Records]:
    with empty_database(request.param, tmp_path_factory) as url:
        async with records_on(url) as made:
            yield made


async def changes(records: Records, after: Revision | None = None) -> list[RecordChange]:
    """Give all changes of the tenant after a place."""
    feed = ChangeFeed(records.store)
    found: list[RecordChange] = []
    place, more = after or Revision(0, 0), True
    while more:
        page = await feed.page("acme", place)
        found += page.changes
        place, more = page.revision, page.more
    return found


def told(found: list[RecordChange]) -> list[tuple[Change, str]]:
    return [(each.change, each.name.removeprefix("tenants/acme/")) for each in found]


async def test_each_write_is_one_change_with_what_was_and_what_is(records: Records) -> None:
    made = await records.create(ITEMS, "a", title="one", tags=["x"], sealed=True, rank=3)
    update = record_of(made.name, title="two")
    changed = await records.update(update)
    await records.delete(made.name)
    found = await changes(records)
    assert told(found) == [(CREATED, "items/a"), (UPDATED, "items/a"), (DELETED, "items/a")]
    assert [each.before for each in found] == [None, made, changed]
    assert [each.after for each in found] == [made, changed, None]
    assert [each.revision for each in found] == sorted({each.revision for each in found})


async def test_what_changes_nothing_is_no_change(records: Records) -> None:
    made = await records.create(ITEMS, "a", title="one")
    place = await ChangeFeed(records.store).present("acme")
    await records.update(made)
    stored = await records.stored(made.name)
    async with records.store.transaction() as connection:
        await records.store.upsert(connection, "items", [stored])
    assert await changes(records, place) == []


async def test_secrets_are_never_in_the_feed(records: Records) -> None:
    door = {"colour": "red", "code": "PLANTED", "width": 2}
    made = await records.create(
        ITEMS,
        "a",
        title="one",
        password="PLANTED",
        door=door,
        doors=[door, {"colour": "blue"}],
        named_doors={"front": door},
    )
    made.item.title = "two"
    changed = await records.update(made)
    await records.delete(made.name)
    found = await changes(records)
    assert found[1].before == found[0].after
    assert found[1].after == changed
    assert changed.item.named_doors["front"].colour == "red"
    async with records.store.connection() as connection:
        rows = (await connection.exec_driver_sql("SELECT * FROM record_changes")).all()
    assert len(rows) == 3
    assert "PLANTED" not in repr(rows)
    assert "colour" in repr(rows)


async def test_what_the_database_deletes_and_empties_is_seen(records: Records) -> None:
    shelf = await records.create(SHELVES, "s", room="r", place=1)
    parent = await records.create(ITEMS, "parent", title="p")
    child = await records.create(ITEMS, "child", title="c", parent_item=parent.name)
    await records.create(ITEMS, "grandchild", title="g", parent_item=child.name)
    spare = await records.create(ITEMS, "spare", title="s", spare_shelf=shelf.name)
    place = await ChangeFeed(records.store).present("acme")
    await records.delete(parent.name)
    await records.delete(shelf.name)
    found = await changes(records, place)
    assert sorted(told(found)) == sorted(
        [
            (DELETED, "items/parent"),
            (DELETED, "items/child"),
            (DELETED, "items/grandchild"),
            (DELETED, "shelves/s"),
            (UPDATED, "items/spare"),
        ]
    )
    emptied: Any = next(each for each in found if each.change is UPDATED)
    assert emptied.before == spare
    assert not emptied.after.item.HasField("spare_shelf")


async def test_versions_are_changes_of_their_record(records: Records) -> None:
    first = await records.create(TALES, "t", text="one")
    first.tale.text = "two"
    second = await records.update(first)
    await records.delete(second.name)
    third = await records.create(TALES, "t", text="three")
    found: list[Any] = await changes(records)
    assert told(found) == [
        (CREATED, "tales/t"),
        (UPDATED, "tales/t"),
        (DELETED, "tales/t"),
        (CREATED, "tales/t"),
    ]
    assert found[1].before.tale.text == "one"
    assert found[1].before.valid_to == second.valid_from
    assert found[1].after == second
    assert found[2].before.tale.text == "two"
    assert found[3].after == third


async def test_another_tenant_sees_nothing(records: Records) -> None:
    await records.create(ITEMS, "a", title="one")
    await records.create("tenants/umbrella/items", "b", title="other")
    page = await ChangeFeed(records.store).page("umbrella", Revision(0, 0))
    assert [each.name for each in page.changes] == ["tenants/umbrella/items/b"]


async def test_what_is_rolled_back_never_happened(records: Records) -> None:
    async with records.store.shared_transaction() as connection:
        await records.create(ITEMS, "a", title="one")
        await connection.rollback()
    await records.create(ITEMS, "b", title="two")
    assert told(await changes(records)) == [(CREATED, "items/b")]


async def test_values_come_back_exactly(records: Records) -> None:
    text = 'quote " backslash \\ newline \n ünï 😀'
    made = await records.create(ITEMS, "a", title="x", origin=text, tags=[text, ""], rank=-5)
    [found] = await changes(records)
    assert found.after == made


@pytest.fixture
async def on_postgres(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Records]:
    with empty_database(NEWEST, tmp_path_factory) as url:
        async with records_on(url) as made:
            yield made


async def test_a_commit_that_comes_late_is_not_passed_by(on_postgres: Records) -> None:
    store, feed = on_postgres.store, ChangeFeed(on_postgres.store)
    start = await feed.present("acme")
    async with AsyncExitStack() as early:
        # It writes first, so its number and its sequence are the lower ones, and commits last.
        connection = await early.enter_async_context(store.transaction())
        await store.insert(connection, "items", [record_of(f"{ITEMS}/early", title="e")])
        async with store.engine.connect() as other, other.begin():
            await store.insert(other, "items", [record_of(f"{ITEMS}/late", title="l")])
        async with store.connection() as reader:
            seen = await reader.exec_driver_sql("SELECT record_id FROM record_changes")
            # A bare sequence would give this one, and never the one before.
            assert list(seen.scalars()) == ["late"]
        held = await feed.page("acme", start)
        assert held.changes == []
    page = await feed.page("acme", held.revision)
    assert told(list(page.changes)) == [(CREATED, "items/early"), (CREATED, "items/late")]


async def test_bulk_writes_are_one_change_a_row(on_postgres: Records) -> None:
    store = on_postgres.store
    made = [record_of(f"{ITEMS}/i{n}", title="t") for n in range(500)]
    async with store.transaction() as connection:
        await store.insert(connection, "items", made)
    place = await ChangeFeed(store).present("acme")
    async with store.transaction() as connection:
        copy = "CREATE TEMP TABLE staged AS SELECT * FROM items"
        await connection.exec_driver_sql(copy)
        odd = "UPDATE staged SET title = 'odd' WHERE right(id, 1) IN ('1', '3', '5', '7', '9')"
        await connection.exec_driver_sql(odd)
        new = "UPDATE staged SET id = 'new' || id WHERE id IN ('i0', 'i2')"
        await connection.exec_driver_sql(new)
        merged = await connection.exec_driver_sql(
            "INSERT INTO items SELECT * FROM staged "
            "ON CONFLICT (tenant_id, id) DO UPDATE SET title = excluded.title"
        )
        assert merged.rowcount == 500
    kinds = Counter(each.change for each in await changes(on_postgres, place))
    assert kinds == {UPDATED: 250, CREATED: 2}


async def test_of_what_was_before_what_differs_is_kept(on_postgres: Records) -> None:
    made = await on_postgres.create(ITEMS, "a", title="one", tags=["x"], rank=3)
    update = record_of(made.name, title="two", rank=3)
    changed = await on_postgres.update(update)
    table = on_postgres.store.tables.changes
    assert table is not None
    at_update = sa.select(table[0].c.before).where(table[0].c.change == UPDATED)
    async with on_postgres.store.transaction("acme") as connection:
        kept = json.loads((await connection.execute(at_update)).scalar_one())
        assert kept.keys() == {"etag", "update_time", "title"}
        assert kept["title"] == "one"
    assert [each.before for each in await changes(on_postgres)] == [None, made]
    # As it was kept before, whole: it tells the same.
    async with on_postgres.store.transaction("acme") as connection:
        whole = sa.select(table[0].c.after).where(table[0].c.change == CREATED).scalar_subquery()
        change = sa.update(table[0]).where(table[0].c.change == UPDATED)
        await connection.execute(change.values(before=whole))
    assert [each.before for each in await changes(on_postgres)] == [None, made]
    assert [each.after for each in await changes(on_postgres)] == [made, changed]


async def test_who_called_is_kept(on_postgres: Records) -> None:
    caller = Caller("ann", "acme", frozenset(), frozenset({"acme"}), 0.0)
    task = asyncio.create_task(called(on_postgres, caller))
    await task
    await on_postgres.create(ITEMS, "b", title="nobody")
    assert [each.actor for each in await changes(on_postgres)] == ["ann", ""]


async def called(records: Records, caller: Caller) -> None:
    """Write as a call does."""
    call = Call("/x", caller=caller)
    call.deadline = time.monotonic() + 30
    enter_call(call)
    await records.create(ITEMS, "a", title="ann's")
