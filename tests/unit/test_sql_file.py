"""A database whose file is taken away or replaced while it is in use."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mesh.errors import DependencyUnavailable
from mesh.sql.store import Store
from mesh.sql.tables import create_tables
from tests.unit.sql_rows import file_of, names, opened, plain, put

PLAINS = "tenants/acme/plains"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with opened(f"sqlite:///{tmp_path}/store.db") as made:
        await create_tables(made.engine, made.tables)
        await put(made, "plains", plain("a"))
        yield made


def parts(file: Path) -> list[Path]:
    return sorted(file.parent.glob(f"{file.name}*"))


async def test_nothing_is_written_to_a_file_that_is_gone(store: Store, tmp_path: Path) -> None:
    aside = tmp_path / "aside"
    aside.mkdir()
    file = file_of(store)
    for part in parts(file):
        part.rename(aside / part.name)
    for _ in range(2):
        with pytest.raises(DependencyUnavailable):
            await put(store, "plains", plain("lost"))
        with pytest.raises(DependencyUnavailable):
            await names(store, "plains", "tenants/acme")
        assert not await store.ready()
    assert parts(file) == [], "an empty database in its place would hide the loss"

    for part in sorted(aside.iterdir()):
        part.rename(file.parent / part.name)
    assert await store.ready()
    await put(store, "plains", plain("b"))
    assert await names(store, "plains", "tenants/acme") == [f"{PLAINS}/a", f"{PLAINS}/b"]


async def test_a_file_put_in_its_place_is_the_one_used_from_then_on(
    store: Store, tmp_path: Path
) -> None:
    async with opened(f"sqlite:///{tmp_path}/other.db") as other:
        await create_tables(other.engine, other.tables)
        await put(other, "plains", plain("backup"))
    file = file_of(store)
    for part in parts(file):
        part.unlink()
    (tmp_path / "other.db").rename(file)
    assert await names(store, "plains", "tenants/acme") == [f"{PLAINS}/backup"]
    await put(store, "plains", plain("new"))
    async with opened(f"sqlite:///{file}") as later:
        assert await names(later, "plains", "tenants/acme") == [
            f"{PLAINS}/backup",
            f"{PLAINS}/new",
        ]
