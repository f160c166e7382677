"""One transaction of which others become parts."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from mesh.errors import ResourceNotFound
from tests.unit.record_world import ITEMS, Records, record_of, records_on


@pytest.fixture
async def records(database: str) -> AsyncIterator[Records]:
    async with records_on(database) as made:
        yield made


async def test_parts_are_committed_together(records: Records) -> None:
    async with records.store.shared_transaction():
        first = await records.create(ITEMS, "a", title="a")
        await records.update(record_of(first.name, rank=2))
        with pytest.raises(ResourceNotFound):
            await records.get(first.name)
    assert (await records.get(first.name)).item.rank == 2


async def test_an_error_undoes_all_parts(records: Records) -> None:
    async def write() -> None:
        async with records.store.shared_transaction():
            await records.create(ITEMS, "a", title="a")
            raise ValueError("late")

    with pytest.raises(ValueError, match="late"):
        await write()
    assert await records.names(ITEMS) == []


async def test_a_part_that_fails_is_undone_alone(records: Records) -> None:
    async with records.store.shared_transaction():
        await records.create(ITEMS, "a", title="a")
        with pytest.raises(ValueError, match="inner"):
            await _create_and_fail(records)
        await records.create(ITEMS, "c", title="c")
    assert await records.names(ITEMS) == ["a", "c"]


async def _create_and_fail(records: Records) -> None:
    async with records.store.transaction() as connection:
        record = record_of(f"{ITEMS}/b", title="b")
        await records.store.insert(connection, "items", [record])
        raise ValueError("inner")


async def test_a_part_has_no_parts(records: Records) -> None:
    async with records.store.shared_transaction(), records.store.transaction():
        with pytest.raises(RuntimeError):
            async with records.store.transaction():
                pass


async def test_another_task_is_no_part(records: Records) -> None:
    others = []

    async def write() -> None:
        async with records.store.shared_transaction():
            await records.create(ITEMS, "a", title="a")
            others.append(asyncio.create_task(records.create(ITEMS, "b", title="b")))
            await asyncio.sleep(0.05)
            raise ValueError("end")

    with pytest.raises(ValueError, match="end"):
        await write()
    await others[0]
    assert await records.names(ITEMS) == ["b"]
