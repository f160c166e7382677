"""A PostgreSQL server: deadlines of calls, lost servers, and what it is trusted with."""

import asyncio
import ctypes
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from mesh.embedded.postgres import PostgresFailed, PostgresServer
from mesh.errors import DeadlineExceeded
from mesh.server.call import Call, enter_call
from mesh.sql.engine import EngineUrlError, Pool, open_engine
from mesh.sql.store import Store
from mesh.sql.tables import Tables, create_tables
from tests.databases import DATABASES, SQLITE, empty_database, server
from tests.unit.sql_contract import sample_catalogue
from tests.unit.sql_rows import KEY, names, opened, plain, put, refused_everywhere

VERSIONS = [16, 18]


@pytest.fixture(params=[each for each in DATABASES if each != SQLITE])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with empty_database(request.param, tmp_path_factory) as made:
        yield made


async def slow(store: Store) -> None:
    """Take longer than a test may."""
    async with store.connection() as connection:
        await connection.execute(sa.select(sa.func.pg_sleep(3000)))


async def test_a_statement_ends_with_its_call(url: str) -> None:
    async with opened(url) as store:

        async def call() -> None:
            enter_call(Call("/a/b", deadline=time.monotonic() + 0.3))
            await slow(store)

        with pytest.raises(DeadlineExceeded):
            await asyncio.create_task(call())
        # The limit goes with its transaction: the connection serves on without it.
        async with store.connection() as connection:
            left = await connection.execute(sa.text("SHOW statement_timeout"))
            assert left.scalar_one() == "0"


async def test_readers_see_one_snapshot_and_write_nothing(url: str) -> None:
    async with opened(url) as store:
        await create_tables(store.engine, store.tables)
        await put(store, "plains", plain("a"))
        async with store.connection() as connection:
            count = sa.select(sa.func.count()).select_from(store.target("plains").table)
            assert (await connection.execute(count)).scalar_one() == 1
            await put(store, "plains", plain("b"))
            assert (await connection.execute(count)).scalar_one() == 1
            await store.insert(connection, "plains", [plain("c")])
        assert len(await names(store, "plains", "tenants/acme")) == 2


async def test_a_server_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    async with opened(f"postgresql://u:hunter2@/d?host={tmp_path}") as store:
        await refused_everywhere(store)


async def test_a_full_pool_is_unavailable(url: str) -> None:
    engine = open_engine(url, Pool(size=1, overflow=0, wait_seconds=0.1))
    store = Store(engine, Tables(sample_catalogue()), page_key=KEY)
    async with store.connection() as connection:
        await connection.execute(sa.select(1))
        assert not await store.ready()
    assert await store.ready()
    await engine.dispose()


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_server_that_restarts_costs_no_later_call(version: int, tmp_path: Path) -> None:
    host = PostgresServer(tmp_path / "data", version=version)
    with host:
        async with opened(host.create_database("kept")) as store:
            await create_tables(store.engine, store.tables)
            await put(store, "plains", plain("a"))
            async with store.connection() as connection:
                ended = sa.select(sa.func.pg_terminate_backend(sa.column("pid"))).where(
                    sa.column("datname") == "kept",
                    sa.column("pid") != sa.func.pg_backend_pid(),
                )
                await connection.execute(ended.select_from(sa.table("pg_stat_activity")))
            assert await names(store, "plains", "tenants/acme") == ["tenants/acme/plains/a"]
    # The same data, started anew.
    with host:
        async with opened(host.url("kept")) as store:
            assert await names(store, "plains", "tenants/acme") == ["tenants/acme/plains/a"]


@pytest.mark.parametrize("version", VERSIONS)
async def test_another_encoding_is_refused(version: int) -> None:
    host = server(version)
    other = open_engine(host.url())
    async with other.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.exec_driver_sql(
            "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"
        )
    await other.dispose()
    try:
        async with opened(host.url("latin")) as store:
            with pytest.raises(EngineUrlError, match="UTF8"):
                await store.get("plains", "tenants/acme/plains/a")
    finally:
        host.drop_database("latin")


def test_data_of_another_version_does_not_start(tmp_path: Path) -> None:
    with PostgresServer(tmp_path / "data", version=16, durable=False):
        pass
    with pytest.raises(PostgresFailed, match="initialized by PostgreSQL version 16"):
        PostgresServer(tmp_path / "data", version=18, durable=False).start()


def test_a_server_waits_for_what_a_killed_one_left(tmp_path: Path) -> None:
    data = tmp_path / "data"
    host = PostgresServer(data, durable=False)
    host.start()
    identity = int((data / "postmaster.pid").read_text().splitlines()[6].split()[1])
    memory = ctypes.CDLL(None, use_errno=True)
    memory.shmat.restype = ctypes.c_void_p
    memory.shmat.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
    memory.shmdt.argtypes = (ctypes.c_void_p,)
    # A session that has not ended yet is attached like this.
    held = memory.shmat(identity, None, 0)
    host.kill()
    with ThreadPoolExecutor(1) as thread:
        starting = thread.submit(host.start)
        while "still in use" not in (tmp_path / "data.log").read_text():
            assert not starting.done()
            time.sleep(0.01)
        memory.shmdt(held)
        starting.result()
    psycopg.connect(host.url()).close()
    host.stop()


def test_the_socket_is_its_owners_alone(tmp_path: Path) -> None:
    with PostgresServer(tmp_path / "data", durable=False) as host:
        folder = Path(host.url().partition("host=")[2])
        assert folder.stat().st_mode & 0o777 == 0o700
        assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
        assert next(folder.glob(".s.PGSQL.*")).stat().st_mode & 0o777 == 0o700
    assert not folder.exists()
