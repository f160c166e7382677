"""One writer at a time, readers beside it, and honest failures."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mesh.errors import (
    DependencyUnavailable,
    FieldInvalid,
    ResourceExists,
)
from mesh.sql.engine import EngineUrlError, open_engine
from mesh.sql.store import Store
from mesh.sql.tables import Tables, create_tables
from tests.unit.sql_contract import sample_catalogue
from tests.unit.sql_rows import boxed, file_of, names, opened, plain, put


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with opened(f"sqlite:///{tmp_path}/store.db") as made:
        await create_tables(made.engine, made.tables)
        yield made


async def test_a_transaction_inside_another_is_refused_at_once(store: Store) -> None:
    async def nest() -> None:
        async with store.transaction(), store.transaction():
            pass

    with pytest.raises(RuntimeError, match="inside another"):
        await nest()
    await put(store, "plains", plain("a"))


async def test_many_rows_are_written_in_one_transaction(store: Store) -> None:
    rows = [plain(f"{place:04d}") for place in range(1201)]

    async def insert() -> None:
        async with store.transaction() as connection:
            await store.insert(connection, "plains", [*rows, rows[0]])

    with pytest.raises(ResourceExists):
        await insert()
    assert await names(store, "plains", "tenants/acme") == []
    await put(store, "plains", *rows)
    found = await store.messages("plains", store.select("plains", "acme"))
    assert len(found) == 1201


async def test_an_error_in_the_block_rolls_back(store: Store) -> None:
    async def fail() -> None:
        async with store.transaction() as connection:
            await store.insert(connection, "plains", [plain("a")])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    assert await names(store, "plains", "tenants/acme") == []


async def test_readers_go_on_while_a_writer_works(store: Store) -> None:
    await put(store, "plains", plain("a", title="before"))
    async with store.transaction() as connection:
        await store.upsert(connection, "plains", [plain("a", title="after")])
        started = time.monotonic()
        outside: Any = await store.get("plains", "tenants/acme/plains/a")
        inside: Any = await store.get("plains", "tenants/acme/plains/a", connection=connection)
        assert time.monotonic() - started < 5
    assert (outside.plain.title, inside.plain.title) == ("before", "after")


async def add_one(store: Store) -> None:
    async with store.transaction() as connection:
        counter: Any = await store.get("plains", "tenants/acme/plains/n", connection=connection)
        counter.plain.rank += 1
        await store.upsert(connection, "plains", [counter])


async def test_fifty_writers_lose_no_write(store: Store) -> None:
    """Half of them through a pool of its own, as another process would write."""
    await put(store, "plains", plain("n", rank=0))
    url = store.engine.url.render_as_string().replace("sqlite+aiosqlite", "sqlite")
    async with opened(url) as other:
        await asyncio.gather(*(add_one(each) for each in [store, other] * 25))
    counter: Any = await store.get("plains", "tenants/acme/plains/n")
    assert counter.plain.rank == 50


async def test_cancelling_rolls_back_and_returns_the_connection(store: Store) -> None:
    async def write(entered: asyncio.Event, delay: float) -> None:
        async with store.transaction() as connection:
            entered.set()
            await store.insert(connection, "plains", [plain("lost")])
            await asyncio.sleep(delay)
            await store.insert(connection, "plains", [plain("lost too")])
            await asyncio.sleep(10)

    for round_number in range(20):
        entered = asyncio.Event()
        task = asyncio.create_task(write(entered, 0.0005 * (round_number % 4)))
        if round_number % 2:
            await entered.wait()
        await asyncio.sleep(0.0005 * round_number)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert store.engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # a queue pool
    assert await names(store, "plains", "tenants/acme") == []
    await put(store, "plains", plain("kept"))
    assert await names(store, "plains", "tenants/acme") == ["tenants/acme/plains/kept"]


async def test_cancelling_while_waiting_for_another_process(store: Store) -> None:
    """The wait for the lock goes on in the driver's thread; nothing of it may stay."""
    blocker = sqlite3.connect(str(store.engine.url.database), isolation_level=None)
    try:
        blocker.execute("BEGIN IMMEDIATE")
        task = asyncio.create_task(put(store, "plains", plain("lost")))
        await asyncio.sleep(0.05)
        task.cancel()
        blocker.execute("ROLLBACK")
        with pytest.raises(asyncio.CancelledError):
            await task
    finally:
        blocker.close()
    await put(store, "plains", plain("kept"))
    assert await names(store, "plains", "tenants/acme") == ["tenants/acme/plains/kept"]
    assert store.engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # a queue pool


async def refused_everywhere(store: Store) -> None:
    async def write() -> None:
        await put(store, "plains", plain("a", title="personal"))

    async def create() -> None:
        await create_tables(store.engine, store.tables)

    for call in (
        lambda: store.get("plains", "tenants/acme/plains/a"),
        lambda: store.page("plains", "tenants/acme"),
        write,
        create,
    ):
        assert not await store.ready()
        with pytest.raises(DependencyUnavailable) as refused:
            await call()
        assert refused.value.metadata == {"dependency": "store"}
        assert refused.value.message == "store does not answer"


async def test_a_store_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    async with opened(f"sqlite:///{tmp_path}/no/such/folder/store.db") as store:
        await refused_everywhere(store)


async def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"this is a letter, not a database" * 100)
    async with opened(f"sqlite:///{tmp_path}/store.db") as store:
        await refused_everywhere(store)


async def test_a_database_damaged_later_is_unavailable(store: Store) -> None:
    await put(store, "plains", *(plain(str(each), title="x" * 200) for each in range(200)))
    async with store.engine.connect() as connection:
        await connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    await store.engine.dispose()
    damage(file_of(store))
    with pytest.raises(DependencyUnavailable):
        await store.page("plains", "tenants/acme", order_by="title", page_size=1000)


def damage(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:8192] + b"\xff" * 60_000)


async def test_refusals_hold_no_data_of_the_row(store: Store) -> None:
    with pytest.raises(FieldInvalid) as refused:
        await put(store, "everythings", _too_long())
    told: BaseException | None = refused.value
    while told is not None:
        assert "personal" not in str(told)
        told = told.__cause__


def _too_long() -> Any:
    message = boxed("b", "1")
    message.a_string = "personal" * 5
    return message


async def test_the_file_is_its_owners_alone(store: Store) -> None:
    await put(store, "plains", plain("a"))
    modes = {path.name: path.stat().st_mode & 0o777 for path in file_of(store).parent.iterdir()}
    assert modes == {"store.db": 0o600, "store.db-wal": 0o600, "store.db-shm": 0o600}


async def test_a_scratch_database_is_shared_by_its_connections_alone() -> None:
    async with opened("sqlite://") as store:
        await create_tables(store.engine, store.tables)
        await put(store, "plains", plain("a"))
        assert len(await names(store, "plains", "tenants/acme")) == 1
        async with opened("sqlite://") as second:
            assert file_of(second) != file_of(store)


@pytest.mark.parametrize(
    "url", ["mysql://u:hunter2@h/d", "no url", "", "postgresql://u:hunter2@h/d"]
)
def test_a_database_that_is_not_supported_is_refused(url: str) -> None:
    with pytest.raises(EngineUrlError) as refused:
        open_engine(url)
    assert "hunter2" not in str(refused.value)


def test_a_short_page_key_is_refused() -> None:
    with pytest.raises(ValueError, match="page key"):
        Store(open_engine("sqlite://"), Tables(sample_catalogue()), page_key=b"short")
