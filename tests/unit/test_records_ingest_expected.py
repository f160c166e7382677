"""Records that a stream takes for new without a look: what is there already is still seen."""

from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest

from mesh.identifiers import derived_uuid
from mesh.records.ingest import ChunkWriter
from mesh.records.ingest_item import NEW, REJECTED, UNCHANGED, UPDATED, Item, identify
from mesh.records.ingest_keys import Keys
from mesh.records.writing import RecordWriter
from tests.unit.ingest_world import STREAM, as_caller
from tests.unit.record_contract import store_catalogue
from tests.unit.record_world import ITEMS, SHELVES, Records, record_of, records_on
from tests.unit.test_records_fresh import SHORT, TENANT, World, world
from tests.unit.test_records_fresh import record_of as record_of_kind


@pytest.fixture
async def records(database: str) -> AsyncIterator[Records]:
    async with records_on(database) as made:
        yield made


class Chunks:
    """Writes chunks as a stream does whose records were all new so far."""

    def __init__(self, records: Records) -> None:
        as_caller()
        self._store = records.store
        self._writer = RecordWriter(records.store, store_catalogue().record_kinds, records.tick)
        self._chunks = ChunkWriter(records.store, self._writer, "acme", STREAM)
        self._chunks.expects_new = True
        self._last = 0

    async def write(self, given: Iterable[Any]) -> list[Item]:
        items = []
        for record in given:
            self._last += 1
            collection = {"item": "items", "shelf": "shelves"}[record.WhichOneof("body")]
            target = self._store.target(collection)
            item = Item(self._last, record, target)
            identify(item, Keys(target.kind, self._writer.hashed), "acme")
            self._chunks.prepare(item)
            items.append(item)
        await self._chunks.write(items)
        return items


def item(serial: str, **body: Any) -> Any:
    return record_of(ITEMS, serial=serial, **{"title": "a", **body})


async def test_what_is_there_already_is_seen_when_it_is_in_the_way(records: Records) -> None:
    chunks = Chunks(records)
    first = await chunks.write([item("one"), item("two"), record_of(f"{ITEMS}/own", title="a")])
    assert [each.outcome for each in first] == [NEW] * 3
    second = await chunks.write(
        [
            item("three"),
            item("one"),
            item("two", rank=7),
            item("three", rank=1),
            record_of(f"{ITEMS}/own", title="b"),
            item("four", shelf=f"{SHELVES}/none-of-this-name"),
            record_of(ITEMS, title="known by nothing"),
        ]
    )
    assert [each.outcome for each in second] == [
        *(NEW, UNCHANGED, UPDATED, UPDATED, UPDATED, REJECTED, NEW),
    ]
    assert second[1].name == first[0].name
    assert second[3].name == second[0].name
    assert (await records.get(first[1].name)).item.rank == 7
    assert (await records.get(second[0].name)).item.rank == 1
    assert (await records.get(f"{ITEMS}/own")).item.title == "b"
    assert len(await records.names(ITEMS)) == 5


async def test_what_many_have_in_common_is_stored_in_each(records: Records) -> None:
    common: dict[str, Any] = {"rank": 3, "tags": ["a", "b"], "door": {"colour": "red"}}
    written = await Chunks(records).write(item(f"s{place}", **common) for place in range(250))
    assert {each.outcome for each in written} == {NEW}
    for number, place in ((0, 0), (249, 249)):
        stored = (await records.get(written[number].name)).item
        expected = item(f"s{place}", **common).item
        assert stored == expected
        assert not stored.HasField("origin")
    last = 'serial == "s249" && rank == 3 && "b" in tags && !has(shelf)'
    assert await records.names(ITEMS, last) == [written[249].name.rpartition("/")[2]]


async def test_who_refers_to_a_later_record_of_the_kind_is_rejected(records: Records) -> None:
    later = f"{ITEMS}/{derived_uuid(STREAM, 2)}"
    written = await Chunks(records).write(
        [item("one", parent_item=later), item("two"), item("three", parent_item=later)]
    )
    assert [each.outcome for each in written] == [REJECTED, NEW, NEW]


async def test_absent_parts_of_a_key_have_their_place_in_the_order(records: Records) -> None:
    chunks = Chunks(records)
    shelves = [
        record_of(SHELVES, room=room, **rest)
        for room in ("b", "a")
        for rest in (
            {"place": 2},
            {"place": 1, "wall": "w"},
            {"place": 1},
            {"place": 2, "wall": "v"},
        )
    ]
    assert [each.outcome for each in await chunks.write(shelves)] == [NEW] * 8
    assert [each.outcome for each in await chunks.write(shelves)] == [UNCHANGED] * 8


@pytest.mark.parametrize(("module", "kind"), SHORT, ids=[kind.collection for _, kind in SHORT])
@pytest.mark.parametrize("whole", [False, True])
def test_the_key_in_a_row_is_that_of_its_record(module: str, kind: Any, whole: bool) -> None:
    made: World = world(module)
    record, target = record_of_kind(kind, whole=whole), made.tables[kind.collection]
    name = kind.pattern.format(TENANT, "01a201ab-6d72-72c3-b342-5607cc9c856d")
    found = made.writer.fresh_row(target, record, name, (TENANT, name.rpartition("/")[2]))
    if found is None:
        pytest.skip("is made the long way")
    keys = Keys(kind, made.writer.hashed)
    assert keys.of_row(found[0]) == keys.of(record, TENANT)
