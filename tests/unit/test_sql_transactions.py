"""No write is lost, readers go on beside writers, and refusals tell nothing of the data."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mesh.errors import FieldInvalid, ResourceExists
from mesh.sql.engine import EngineUrlError, open_engine
from mesh.sql.store import Store
from mesh.sql.tables import Tables, create_tables
from tests.unit.sql_contract import sample_catalogue
from tests.unit.sql_rows import boxed, names, opened, plain, put


@pytest.fixture
async def store(database: str) -> AsyncIterator[Store]:
    async with opened(database) as made:
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


async def test_fifty_writers_lose_no_write(store: Store, database: str) -> None:
    """Half of them through a pool of its own, as another process would write."""
    await put(store, "plains", plain("n", rank=0))
    async with opened(database) as other:
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


@pytest.mark.parametrize(
    "url", ["mysql://u:hunter2@h/d", "no url", "", "postgresql+asyncpg://u:hunter2@h/d"]
)
def test_a_database_that_is_not_supported_is_refused(url: str) -> None:
    with pytest.raises(EngineUrlError) as refused:
        open_engine(url)
    assert "hunter2" not in str(refused.value)


def test_a_short_page_key_is_refused() -> None:
    with pytest.raises(ValueError, match="page key"):
        Store(open_engine("sqlite://"), Tables(sample_catalogue()), page_key=b"short")
