"""What ``serve`` asks of a database, without Alembic where nothing has to be compared."""

import asyncio
import subprocess
import sys
from pathlib import Path

import sqlalchemy as sa

from mesh.contract.catalogue import load_catalogue
from mesh.sql.engine import open_engine
from mesh.sql.migration import plan_migration
from mesh.sql.migration_history import HISTORY
from mesh.sql.schema import require_schema
from mesh.sql.tables import Tables

PACKAGE = "secmesh.inventory.v1"
UNUSED = ("alembic", "psycopg", "opentelemetry.sdk", "moto", "werkzeug")
START = f"""
import asyncio, sys
from services.inventory import __main__  # what a service imports is loaded
from mesh.contract.catalogue import load_catalogue
from mesh.server.deployable import open_store
from services.inventory.settings import InventorySettings

async def start():
    settings = InventorySettings(database_url=sys.argv[1])
    store = await open_store(settings, load_catalogue("{PACKAGE}"))
    await store.engine.dispose()

asyncio.run(start())
print(*(name for name in {UNUSED} if name in sys.modules))
"""


def start(url: str) -> str:
    """Start as a service does, in a process of its own; gives what it should not have loaded."""
    command = [sys.executable, "-c", START, url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # ours
    return done.stdout.strip()


def test_filling_and_starting_again_load_nothing_unused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'inventory.db'}"
    assert start(url) == ""
    assert start(url) == ""


async def test_a_filled_database_is_what_the_contract_says(database: str) -> None:
    tables = Tables(load_catalogue(PACKAGE))
    engine = open_engine(database)
    try:
        # Processes that start at once take turns.
        await asyncio.gather(*(require_schema(engine, tables) for _ in range(3)))
        plan = await plan_migration(engine, tables)
        assert plan.steps == ()
        async with engine.connect() as connection:
            changes = (await connection.execute(sa.select(HISTORY.c.change))).scalars().all()
        assert sorted(changes) == sorted(f"create table {each}" for each in tables.metadata.tables)
    finally:
        await engine.dispose()


async def test_a_table_that_is_missing_is_made_again(tmp_path: Path) -> None:
    tables = Tables(load_catalogue(PACKAGE))
    engine = open_engine(f"sqlite:///{tmp_path / 'inventory.db'}")
    try:
        await require_schema(engine, tables)
        async with engine.begin() as connection:
            await connection.exec_driver_sql("DROP TABLE s3_buckets")
        await require_schema(engine, tables)
        async with engine.connect() as connection:
            present = await connection.run_sync(lambda sync: sa.inspect(sync).get_table_names())
        assert "s3_buckets" in present
        assert (await plan_migration(engine, tables)).steps == ()
    finally:
        await engine.dispose()


async def test_without_its_history_a_database_is_compared(tmp_path: Path) -> None:
    tables = Tables(load_catalogue(PACKAGE))
    engine = open_engine(f"sqlite:///{tmp_path / 'inventory.db'}")
    try:
        await require_schema(engine, tables)
        async with engine.begin() as connection:
            await connection.exec_driver_sql("DROP TABLE schema_history")
            await connection.exec_driver_sql("DROP INDEX " + await connection.run_sync(an_index))
        await require_schema(engine, tables)
        assert (await plan_migration(engine, tables)).steps == ()
    finally:
        await engine.dispose()


def an_index(connection: sa.Connection) -> str:
    return str(sa.inspect(connection).get_indexes("s3_buckets")[0]["name"])
