"""The tables of values follow their lists, however rows are written, in every database."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import sqlalchemy as sa

from mesh.contract.catalogue import CatalogueError
from mesh.sql.backup.backups import Backups
from mesh.sql.backup.folder import BackupFolder, Origin
from mesh.sql.backup.progress import Progress
from mesh.sql.engine import open_engine
from mesh.sql.migration import migrate, plan_migration
from mesh.sql.store import Store
from mesh.sql.tables import Tables
from tests.unit.index_contract import CONTRACT, index_catalogue
from tests.unit.sql_contract import compile_contract, new
from tests.unit.sql_rows import KEY

OPEN, CLOSED = 1, 2


@pytest.fixture
async def store(database: str) -> AsyncIterator[Store]:
    engine = open_engine(database)
    opened = Store(engine, Tables(index_catalogue()), page_key=KEY)
    await migrate(engine, opened.tables)
    yield opened
    await engine.dispose()


def finding(number: str, *tags: str, states: tuple[int, ...] = ()) -> Any:
    message = new("findings", index_catalogue())
    message.name = f"tenants/acme/findings/{number}"
    message.fingerprint = number
    message.tags.extend(tags)
    message.states.extend(states)
    return message


async def put(store: Store, *messages: Any) -> None:
    async with store.transaction() as connection:
        await store.upsert(connection, "findings", messages)


async def values(store: Store, field: str = "tags") -> set[tuple[str, Any]]:
    async with store.connection() as connection:
        found = await connection.execute(sa.text(f"SELECT id, value FROM findings_{field}"))  # noqa: S608  # a table of the contract
        return {tuple(row) for row in found}


async def found(store: Store, condition: str) -> set[str]:
    page = await store.page("findings", "tenants/acme", filter=condition)
    return {each.name.rpartition("/")[2] for each in page.items}  # type: ignore[attr-defined]  # named


async def test_values_follow_every_write(store: Store) -> None:
    await put(store, finding("a", "x", "y", "x"), finding("b", "y", states=(OPEN, CLOSED)))
    assert await values(store) == {("a", "x"), ("a", "y"), ("b", "y")}
    assert await values(store, "states") == {("b", OPEN), ("b", CLOSED)}
    await put(store, finding("a", "z", "y"), finding("b", "y", states=(CLOSED,)), finding("c"))
    assert await values(store) == {("a", "z"), ("a", "y"), ("b", "y")}
    assert await values(store, "states") == {("b", CLOSED)}
    async with store.transaction() as connection:
        table = store.target("findings").table
        await connection.execute(store.update("findings", "acme").values(line=1))
        await connection.execute(store.delete("findings", "acme").where(table.c.id == "a"))
    assert await values(store) == {("b", "y")}


async def test_conditions_mean_what_they_did(store: Store) -> None:
    await put(store, finding("a", "x", "it's"), finding("b", "y", states=(OPEN,)), finding("c"))
    for condition, wanted in {
        '"x" in tags': {"a"},
        '"it\'s" in tags': {"a"},
        '!("x" in tags)': {"b", "c"},
        '"x" in tags || "y" in tags': {"a", "b"},
        'tags.exists(t, t == "y")': {"b"},
        '!tags.exists(t, "y" == t)': {"a", "c"},
        'tags.all(t, t == "y")': {"b", "c"},
        'tags.exists(t, t.startsWith("i"))': {"a"},
        "STATE_OPEN in states": {"b"},
        "99999999 in states": set(),
        "fingerprint in tags": set(),
        '("x" in tags) == (fingerprint == "a")': {"a", "b", "c"},
    }.items():
        assert await found(store, condition) == wanted, condition


async def test_lists_that_are_there_already_are_indexed_by_migration(database: str) -> None:
    unindexed = CONTRACT.replace(
        "repeated string tags = 11 [(secmesh.options.v1.field).indexed = true];",
        "repeated string tags = 11;",
    ).replace("secmesh.indexes.v1", "secmesh.unindexed.v1")
    catalogue = compile_contract("unindexed_sample.proto", unindexed, "secmesh.unindexed.v1")
    engine = open_engine(database)
    try:
        await migrate(engine, Tables(catalogue))
        message = new("findings", catalogue)
        message.name = "tenants/acme/findings/a"
        message.tags.append("x")
        await put(Store(engine, Tables(catalogue), page_key=KEY), message)
        store = Store(engine, Tables(index_catalogue()), page_key=KEY)
        await migrate(engine, store.tables)
        assert await values(store) == {("a", "x")}
        await put(store, finding("b", "y"))
        assert await values(store) == {("a", "x"), ("b", "y")}
        assert (await plan_migration(engine, store.tables)).steps == ()
    finally:
        await engine.dispose()


async def test_a_backup_brings_the_values_back(store: Store, tmp_path: Any) -> None:
    await put(store, finding("a", "x"))
    backups = Backups(store, BackupFolder(tmp_path / "backups"), "digest", "")
    made = await backups.create(Origin.REQUESTED, Progress())
    await put(store, finding("a", "y"), finding("b", "z"))

    async def nobody_is_at_work() -> None:
        return None

    await backups.restore(made.id, Progress(), nobody_is_at_work, validate_only=False)
    assert await values(store) == {("a", "x")}
    assert await found(store, '"x" in tags') == {"a"}


@pytest.mark.parametrize(
    ("package", "old", "new_text"),
    [
        ("members_bad1", "repeated string tags", "repeated double tags"),
        ("members_bad2", 'collection: "findings"', 'collection: "findings" history: true'),
    ],
)
def test_lists_that_cannot_be_indexed_are_refused(package: str, old: str, new_text: str) -> None:
    text = CONTRACT.replace(old, new_text).replace("secmesh.indexes.v1", f"secmesh.{package}.v1")
    if "history" in new_text:
        moments = (
            "google.protobuf.Timestamp valid_from = 20; google.protobuf.Timestamp valid_to = 21;"
        )
        text = text.replace("repeated string tags", f"{moments} repeated string tags")
        text = text.replace('references = "projects"', "indexed = true")
        text = text.replace('{references: "projects" on_delete: ON_DELETE_SET_NULL}', "{}")
    catalogue = compile_contract(f"{package}.proto", text, f"secmesh.{package}.v1")
    with pytest.raises(CatalogueError, match="only texts and enums"):
        Tables(catalogue)
