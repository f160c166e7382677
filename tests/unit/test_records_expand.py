"""What records refer to comes along with a page of them."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import sqlalchemy as sa
from google.protobuf.field_mask_pb2 import FieldMask

from mesh.errors import FieldInvalid, MaskInvalid, PermissionMissing, Refusal
from secmesh.records.v1.record_requests_pb2 import ListRecordsRequest
from tests.unit.ingest_world import as_caller
from tests.unit.record_world import ITEMS, SHELVES, Records, records_on


@pytest.fixture
async def records(database: str) -> AsyncIterator[Records]:
    async with records_on(database) as made:
        for place in range(3):
            await made.create(SHELVES, f"shelf-{place}", room="r", place=place)
        await made.create(ITEMS, "box", title="box", password="hunter2")
        for number in range(12):
            await made.create(
                ITEMS,
                f"i{number:02}",
                title="t",
                shelf=f"{SHELVES}/shelf-{number % 2}",
                parent_item=f"{ITEMS}/box",
            )
        as_caller()
        yield made


async def listed(records: Records, *expand: str, mask: str = "", **fields: Any) -> Any:
    request = ListRecordsRequest(parent=ITEMS, expand=expand, **fields)
    if mask:
        request.expand_mask.paths.append(mask)
    return await records.reads.ListRecords(request, None)


async def test_what_is_referred_to_comes_once_by_name(records: Records) -> None:
    page = await listed(records, "shelf", "parent_item", "spare_shelf")
    names = [f"{ITEMS}/box", f"{SHELVES}/shelf-0", f"{SHELVES}/shelf-1"]
    assert sorted(page.expanded) == names
    for name in names:
        assert page.expanded[name] == await records.get(name)
    assert not page.expanded[names[0]].item.HasField("password")
    assert len(page.records) == 13
    assert not (await listed(records)).expanded


async def test_the_number_of_statements_does_not_grow_with_the_page(records: Records) -> None:
    seen: list[str] = []
    engine = records.store.engine.sync_engine
    sa.event.listen(engine, "before_cursor_execute", lambda *given: seen.append(given[2]))
    counts = []
    for size in (2, 13):
        seen.clear()
        await listed(records, "shelf", "spare_shelf", "parent_item", page_size=size)
        counts.append(sum(text.lstrip().startswith("SELECT items") for text in seen))
        counts.append(sum(text.lstrip().startswith("SELECT shelves") for text in seen))
    assert counts == [2, 1, 2, 1]


async def test_masks_choose_the_fields_of_both(records: Records) -> None:
    page = await listed(
        records,
        "shelf",
        "parent_item",
        mask="shelf.room",
        read_mask=FieldMask(paths=["item.shelf", "item.parent_item"]),
    )
    shelf = page.expanded[f"{SHELVES}/shelf-0"]
    assert shelf == type(shelf)(shelf={"room": "r"})
    assert page.expanded[f"{ITEMS}/box"].name == f"{ITEMS}/box"
    assert not page.expanded[f"{ITEMS}/box"].HasField("item")
    assert page.records[1].item.shelf


@pytest.mark.parametrize(
    ("fields", "error", "says"),
    [
        ({"expand": ["title"]}, FieldInvalid, r"expand\[0\]"),
        ({"expand": ["shelf", "nothing"]}, FieldInvalid, r"expand\[1\]"),
        ({"expand": ["record.shelf"]}, FieldInvalid, r"expand\[0\]"),
        ({"expand": ["shelf"], "read_mask": {"paths": ["name"]}}, FieldInvalid, "read_mask"),
        ({"expand": ["shelf"], "expand_mask": {"paths": ["shelf.no"]}}, MaskInvalid, "expand_mask"),
        ({"expand": ["shelf"], "expand_mask": {"paths": ["item"]}}, MaskInvalid, "expand_mask"),
    ],
)
async def test_a_bad_expansion_is_refused(
    records: Records, fields: dict[str, Any], error: type[Refusal], says: str
) -> None:
    with pytest.raises(error, match=says):
        await records.reads.ListRecords(ListRecordsRequest(parent=ITEMS, **fields), None)


async def test_who_may_not_get_the_referred_may_not_expand(records: Records) -> None:
    as_caller("store.items.*", "store.shelves.list")
    assert (await listed(records, "parent_item")).expanded
    with pytest.raises(PermissionMissing) as refused:
        await listed(records, "shelf")
    assert refused.value.metadata == {"permission": "store.shelves.get"}


async def test_what_refers_to_nothing_expands_to_nothing(records: Records) -> None:
    page = await listed(records, "spare_shelf", filter='title == "box"')
    assert len(page.records) == 1
    assert not page.expanded
