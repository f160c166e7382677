"""A file as database: its owner's alone, and honest when it is damaged or missing."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from mesh.errors import DependencyUnavailable
from mesh.sql import own_files
from mesh.sql.own_files import OpenToOthers, close_to_others, make_folder
from mesh.sql.settings import EngineUrlError
from mesh.sql.store import Store
from mesh.sql.tables import create_tables
from tests.unit.sql_rows import file_of, names, opened, plain, put, refused_everywhere


@pytest.fixture
def careless() -> Iterator[None]:
    """Let files be made with all the rights that they are asked for."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with opened(f"sqlite:///{tmp_path}/store.db") as made:
        await create_tables(made.engine, made.tables)
        yield made


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


OWN = {"store.db": 0o600, "store.db-wal": 0o600, "store.db-shm": 0o600}


def modes(file: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in file.parent.iterdir()}


@pytest.mark.usefixtures("careless")
async def test_the_file_is_its_owners_alone(store: Store) -> None:
    await put(store, "plains", plain("a"))
    assert modes(file_of(store)) == OWN


@pytest.mark.usefixtures("careless")
async def test_a_file_that_was_opened_to_others_is_closed_again(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    await put(store, "plains", plain("a"))
    for each in file_of(store).parent.iterdir():
        each.chmod(0o666)
    async with opened(f"sqlite:///{file_of(store)}") as second:
        await put(second, "plains", plain("b"))
        assert modes(file_of(store)) == OWN
    told = [each for each in caplog.records if each.name == own_files.__name__]
    assert {each.__dict__["fields"]["file"] for each in told} == {
        str(file_of(store).with_name(name)) for name in OWN
    }
    assert {each.__dict__["fields"]["mode"] for each in told} == {"0666"}


async def test_a_file_of_somebody_else_that_others_may_read_is_refused(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_of(store).chmod(0o644)

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refuse)
    async with opened(f"sqlite:///{file_of(store)}") as second:
        with pytest.raises(EngineUrlError, match=r"0644.*not permitted"):
            await put(second, "plains", plain("b"))
    with pytest.raises(OpenToOthers):
        close_to_others([file_of(store)])


@pytest.mark.usefixtures("careless")
def test_a_folder_is_made_for_its_owner_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "home"
    make_folder(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    make_folder(folder)
    assert not caplog.records
    folder.chmod(0o770)
    make_folder(folder)
    assert "0700" in caplog.text


async def test_a_scratch_database_is_shared_by_its_connections_alone() -> None:
    async with opened("sqlite://") as store:
        await create_tables(store.engine, store.tables)
        await put(store, "plains", plain("a"))
        assert len(await names(store, "plains", "tenants/acme")) == 1
        async with opened("sqlite://") as second:
            assert file_of(second) != file_of(store)
