"""Triggers are part of the schema: made with tables, compared, kept when tables are copied."""

from collections.abc import AsyncIterator
from functools import cache

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from mesh.sql.engine import SQLITE, open_engine
from mesh.sql.migration import migrate, plan_migration
from mesh.sql.schema import require_schema
from mesh.sql.tables import Tables, create_tables
from tests.unit.record_contract import CONTRACT
from tests.unit.sql_contract import compile_contract

# Without what the comparison of schemas does not read: keys over expressions, SET NULL of a column.
NEW = CONTRACT.replace(' natural_key: ["room", "wall", "place"]', "").replace(
    " on_delete: ON_DELETE_SET_NULL", ""
)
SHELF = (
    "INSERT INTO shelves (tenant_id, id, room, labels, etag) VALUES ('acme', 's', 'r', '{}', '')"
)


@cache
def new_tables() -> Tables:
    """Give the tables of a contract whose records are watched."""
    text = NEW.replace("secmesh.store.v1", "secmesh.storenew.v1")
    return Tables(compile_contract("triggers_new.proto", text, "secmesh.storenew.v1"))


@cache
def old_tables() -> Tables:
    """Give those of the contract before they could be watched, without one of the fields."""
    text = NEW.replace("secmesh.store.v1", "secmesh.storeold.v1")
    begin, end = text.index("  rpc WatchRecords("), text.index("  rpc AggregateRecords(")
    text = text[:begin] + text[end:]
    field = "  optional int32 score = 4 [(google.api.field_behavior) = OUTPUT_ONLY];"
    assert field in text
    text = text.replace(field, "")
    return Tables(compile_contract("triggers_old.proto", text, "secmesh.storeold.v1"))


@pytest.fixture
async def engine(database: str) -> AsyncIterator[AsyncEngine]:
    made = open_engine(database)
    yield made
    await made.dispose()


async def run(engine: AsyncEngine, *statements: str) -> None:
    async with engine.begin() as connection:
        for statement in statements:
            await connection.exec_driver_sql(statement)


def on(engine: AsyncEngine, table: str) -> str:
    return "" if engine.dialect.name == SQLITE else f" ON {table}"


async def test_a_missing_trigger_is_a_change_that_is_due(engine: AsyncEngine) -> None:
    tables = new_tables()
    await require_schema(engine, tables)
    assert (await plan_migration(engine, tables)).steps == ()
    await run(engine, f"DROP TRIGGER changes_items_update{on(engine, 'items')}")
    plan = await plan_migration(engine, tables)
    assert [str(step) for step in plan.due] == ["add trigger changes_items_update to items"]
    assert "changes_items_update" in plan.changes[0].statements[-1]
    await migrate(engine, tables)
    assert (await plan_migration(engine, tables)).steps == ()


async def test_a_trigger_that_does_something_else_is_made_anew(engine: AsyncEngine) -> None:
    tables = new_tables()
    await require_schema(engine, tables)
    if engine.dialect.name == SQLITE:
        silent = "CREATE TRIGGER changes_items_insert AFTER INSERT ON items BEGIN SELECT 1; END"
        await run(engine, "DROP TRIGGER changes_items_insert", silent)
    else:
        body = "BEGIN RETURN NULL; END"
        await run(
            engine,
            "CREATE OR REPLACE FUNCTION changes_items() RETURNS trigger LANGUAGE plpgsql "
            f"AS '{body}'",
        )
    assert (await plan_migration(engine, tables)).due
    await migrate(engine, tables)
    assert (await plan_migration(engine, tables)).steps == ()
    assert await recorded(engine) == [1]


async def recorded(engine: AsyncEngine) -> list[int]:
    """Write one row and give the changes that were kept."""
    await run(engine, SHELF)
    async with engine.connect() as connection:
        statement = sa.text("SELECT change FROM record_changes ORDER BY sequence")
        return list((await connection.execute(statement)).scalars())


async def test_a_contract_that_becomes_watched_is_watched(engine: AsyncEngine) -> None:
    await create_tables(engine, old_tables())
    tables = new_tables()
    plan = await migrate(engine, tables)
    words = [str(step) for step in plan.steps]
    assert "create table record_changes" in words
    assert "add trigger changes_items_insert to items" in words
    assert "add column score (INTEGER) to items" in words
    assert (await plan_migration(engine, tables)).steps == ()
    assert await recorded(engine) == [1]


async def test_a_contract_that_is_watched_no_more_writes_no_changes(engine: AsyncEngine) -> None:
    await create_tables(engine, new_tables())
    await migrate(engine, old_tables(), allow_destructive=True)
    async with engine.connect() as connection:
        names = await connection.run_sync(lambda sync: sa.inspect(sync).get_table_names())
    assert "record_changes" not in names
    await run(engine, SHELF)
