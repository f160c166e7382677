"""Groups by references, beside other fields and spans of time."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from mesh.errors import FieldInvalid
from secmesh.records.v1 import aggregate_pb2 as pb
from tests.unit.record_world import ITEMS, SHELVES, START, Records, records_on


@pytest.fixture
async def records(database: str) -> AsyncIterator[Records]:
    async with records_on(database) as made:
        for place in range(2):
            await made.create(SHELVES, f"shelf-{place:05}", room="r", place=place)
        for number in range(9):
            body: dict[str, Any] = {"title": "t", "rank": number % 2, "sealed": number > 3}
            if number < 6:
                body["shelf"] = f"{SHELVES}/shelf-{number % 2:05}"
            await made.create(ITEMS, f"i{number}", **body)
        yield made


async def groups(records: Records, **fields: Any) -> list[Any]:
    request = pb.AggregateRecordsRequest(parent=ITEMS, **fields)
    return list((await records.reads.AggregateRecords(request, None)).groups)


async def test_a_reference_is_a_key_by_its_full_name(records: Records) -> None:
    found = await groups(records, group_by=["shelf"])
    assert [(each.keys[0].string_value, each.count) for each in found] == [
        ("", 3),
        (f"{SHELVES}/shelf-00000", 3),
        (f"{SHELVES}/shelf-00001", 3),
    ]
    assert found[0].keys[0].WhichOneof("value") is None


async def test_three_fields_and_a_span_make_groups_together(records: Records) -> None:
    found = await groups(
        records,
        group_by=["shelf", "rank", "sealed"],
        time_bucket={"field": "record.create_time", "unit": "UNIT_DAY"},
        aggregates=[{"function": "FUNCTION_COUNT", "field": "shelf"}],
        filter=f'!has(shelf) || shelf == "{SHELVES}/shelf-00000"',
    )
    day = START // 86_400_000_000 * 86_400
    assert {each.keys[3].timestamp_value.seconds for each in found} == {day}
    shelf = f"{SHELVES}/shelf-00000"
    assert [
        (
            each.keys[0].string_value,
            each.keys[1].int_value,
            each.keys[2].bool_value,
            each.count,
            each.values[0].int_value,
        )
        for each in found
    ] == [
        ("", 0, True, 2, 0),
        ("", 1, True, 1, 0),
        (shelf, 0, False, 2, 2),
        (shelf, 0, True, 1, 1),
    ]


async def test_a_secret_makes_no_groups(records: Records) -> None:
    with pytest.raises(FieldInvalid, match=r"group_by\[0\]"):
        await groups(records, group_by=["password"])
