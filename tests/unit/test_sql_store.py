"""The store: one tenant at a time, one writer at a time, and honest when it fails."""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mesh.errors import (
    DependencyUnavailable,
    FieldInvalid,
    KindUnknown,
    PageTokenInvalid,
    ResourceExists,
    ResourceNotFound,
)
from mesh.sql.engine import EngineUrlError, open_engine
from mesh.sql.store import Store
from mesh.sql.tables import Tables, create_tables
from tests.unit.sql_contract import new, sample_catalogue

KEY = b"k" * 32


@contextlib.asynccontextmanager
async def opened(url: str) -> AsyncIterator[Store]:
    engine = open_engine(url)
    try:
        yield Store(engine, Tables(sample_catalogue()), page_key=KEY)
    finally:
        await engine.dispose()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with opened(f"sqlite:///{tmp_path}/store.db") as made:
        await create_tables(made.engine, made.tables)
        yield made


def plain(record: str, tenant: str = "acme", **body: Any) -> Any:
    message = new("plains")
    message.name = f"tenants/{tenant}/plains/{record}"
    message.plain.SetInParent()
    for name, value in body.items():
        setattr(message.plain, name, value)
    return message


def vault(seen: int, owner: str, closed: int | None = None) -> Any:
    message = new("vaults")
    message.name = "tenants/acme/vaults/v"
    message.vault.owner = owner
    message.valid_from.seconds = seen
    if closed is not None:
        message.valid_to.seconds = closed
    return message


def boxed(box: str, record: str, tenant: str = "acme") -> Any:
    message = new("everythings")
    message.name = f"tenants/{tenant}/boxes/{box}/everythings/{record}"
    message.an_sfixed32 = 101
    # What must differ within a tenant: the natural key and the unique index.
    message.a_string, message.an_sint32 = record, sum(f"{box}{record}".encode())
    return message


async def put(store: Store, collection: str, *messages: Any) -> None:
    async with store.transaction() as connection:
        await store.upsert(connection, collection, messages)


async def names(store: Store, collection: str, parent: str) -> list[str]:
    page = await store.page(collection, parent)
    return [message.name for message in page.items]  # type: ignore[attr-defined]  # has a name


async def test_what_is_inserted_is_got_and_replaced(store: Store) -> None:
    await put(store, "plains", plain("a", title="one"))
    assert await store.ready()
    assert await store.get("plains", "tenants/acme/plains/a") == plain("a", title="one")
    await put(store, "plains", plain("a", rank=2))
    assert await store.get("plains", "tenants/acme/plains/a") == plain("a", rank=2)


async def test_an_insert_refuses_what_exists_and_keeps_it(store: Store) -> None:
    await put(store, "plains", plain("a", title="one"))

    async def insert() -> None:
        async with store.transaction() as connection:
            await store.insert(connection, "plains", [plain("b")])
            await store.insert(connection, "plains", [plain("a", title="two")])

    with pytest.raises(ResourceExists) as refused:
        await insert()
    assert refused.value.metadata == {"resource": "tenants/acme/plains/a"}
    assert await names(store, "plains", "tenants/acme") == ["tenants/acme/plains/a"]
    kept: Any = await store.get("plains", "tenants/acme/plains/a")
    assert kept.plain.title == "one"


@pytest.mark.parametrize(
    "name", ["tenants/acme/plains/none", "tenants/acme/vaults/a", "plains/a", "", "tenants/acme"]
)
async def test_a_name_that_leads_nowhere_is_not_found(store: Store, name: str) -> None:
    await put(store, "plains", plain("a"))
    with pytest.raises(ResourceNotFound) as refused:
        await store.get("plains", name)
    assert refused.value.metadata == {"resource": name}


async def test_an_unknown_collection_is_named(store: Store) -> None:
    with pytest.raises(KindUnknown, match="nothings"):
        await store.get("nothings", "tenants/acme/nothings/a")
    with pytest.raises(KindUnknown, match="nothings"):
        await store.page("nothings", "tenants/acme")


@pytest.mark.parametrize("parent", ["", "acme", "tenants/acme/vaults", "tenants/acme/plains/a/b"])
async def test_a_parent_of_another_form_is_refused(store: Store, parent: str) -> None:
    with pytest.raises(FieldInvalid, match="parent: must be of the form tenants"):
        await store.page("plains", parent)


async def test_a_page_holds_what_is_under_its_parent(store: Store) -> None:
    await put(store, "everythings", boxed("b", "1"), boxed("b", "2"), boxed("c", "3"))
    assert await names(store, "everythings", "tenants/acme/boxes/b") == [
        "tenants/acme/boxes/b/everythings/1",
        "tenants/acme/boxes/b/everythings/2",
    ]
    async with store.transaction() as connection:
        assert await store.delete_under(connection, "everythings", "tenants/acme/boxes/b") == 2
    assert await names(store, "everythings", "tenants/acme/boxes/b") == []
    assert len(await names(store, "everythings", "tenants/acme/boxes/c")) == 1


async def test_no_call_reaches_another_tenants_rows(store: Store) -> None:
    await put(store, "plains", plain("a", title="acme's"), plain("b"))
    await put(store, "plains", plain("a", "other", title="other's"))
    await put(store, "everythings", boxed("b", "1", "acme"), boxed("b", "1", "other"))
    mine: Any = await store.get("plains", "tenants/other/plains/a")
    assert mine.plain.title == "other's"
    with pytest.raises(ResourceNotFound):
        await store.get("plains", "tenants/other/plains/b")
    assert await names(store, "plains", "tenants/other") == ["tenants/other/plains/a"]
    assert await names(store, "plains", "tenants/third") == []
    everything = store.select("plains", "other", past=True)
    assert len(await store.messages("plains", everything)) == 1
    filtered = await store.page("plains", "tenants/other", filter='title == "acme\'s" || true')
    assert [each.name for each in filtered.items] == ["tenants/other/plains/a"]  # type: ignore[attr-defined]  # has a name
    async with store.transaction() as connection:
        await connection.execute(store.update("plains", "other").values(title="changed"))
        await store.delete_under(connection, "everythings", "tenants/other/boxes/b")
        await connection.execute(store.delete("everythings", "other"))
        await store.upsert(connection, "plains", [plain("b", "other")])
    kept: Any = await store.get("plains", "tenants/acme/plains/a")
    assert kept.plain.title == "acme's"
    assert len(await names(store, "everythings", "tenants/acme/boxes/b")) == 1


async def test_a_token_of_one_tenant_opens_no_page_of_another(store: Store) -> None:
    await put(
        store,
        "plains",
        *(plain(str(each), tenant) for each in range(3) for tenant in ("acme", "other")),
    )
    first = await store.page("plains", "tenants/acme", page_size=1)
    with pytest.raises(PageTokenInvalid):
        await store.page("plains", "tenants/other", page_size=1, page_token=first.next_page_token)


async def test_only_current_versions_are_read(store: Store) -> None:
    await put(store, "vaults", vault(1, "ana", closed=5), vault(5, "bob"))
    current: Any = await store.get("vaults", "tenants/acme/vaults/v")
    assert current.vault.owner == "bob"
    assert len((await store.page("vaults", "tenants/acme")).items) == 1
    versions = await store.messages("vaults", store.select("vaults", "acme", past=True))
    assert versions == [vault(1, "ana", closed=5), vault(5, "bob")]


async def test_a_vanished_record_is_not_found_and_not_lost(store: Store) -> None:
    await put(store, "vaults", vault(1, "ana"))
    table = store.target("vaults").table
    closing = store.update("vaults", "acme").where(table.c.id == "v").values(valid_to=9_000_000)
    async with store.transaction() as connection:
        await connection.execute(closing)
        # Closed already: only current versions are updated.
        assert (await connection.execute(closing)).rowcount == 0
    with pytest.raises(ResourceNotFound):
        await store.get("vaults", "tenants/acme/vaults/v")
    [past] = await store.messages("vaults", store.select("vaults", "acme", past=True))
    assert past == vault(1, "ana", closed=9)


async def test_two_current_versions_are_refused(store: Store) -> None:
    await put(store, "vaults", vault(1, "ana"))
    with pytest.raises(ResourceExists):
        await put(store, "vaults", vault(2, "bob"))


async def test_secrets_are_not_even_read(store: Store) -> None:
    record = vault(1, "ana")
    record.vault.password = "hunter2"
    record.vault.main_key.material = b"s3cret"
    await put(store, "vaults", record)
    seen: list[str] = []

    def listen(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        seen.append(statement)

    sa.event.listen(store.engine.sync_engine, "before_cursor_execute", listen)
    got = await store.get("vaults", record.name)
    [listed] = (await store.page("vaults", "tenants/acme")).items
    assert seen
    assert not any("password" in statement for statement in seen)
    for message in (got, listed):
        assert b"hunter2" not in message.SerializeToString()
        assert b"s3cret" not in message.SerializeToString()
    assert await store.get("vaults", record.name, secrets=True) == record


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


def file_of(store: Store) -> Path:
    return Path(str(store.engine.url.database))


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
