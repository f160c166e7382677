"""Several writes in one request: all or none, or each by itself, or only tried."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc import code_pb2
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo

from mesh.errors import Refusal
from tests.unit.record_contract import request_of
from tests.unit.record_world import ITEMS, SHELVES, Records, record_of, records_on


@pytest.fixture
async def records(database: str) -> AsyncIterator[Records]:
    async with records_on(database) as made:
        yield made


def create(record_id: str, parent: str = ITEMS, **body: Any) -> dict[str, Any]:
    request = request_of("CreateRecord", parent=parent, record_id=record_id)
    request.record.CopyFrom(record_of(parent, **body))
    return {"create": request}


def update(name: str, *paths: str, etag: str = "", **body: Any) -> dict[str, Any]:
    record = record_of(name, **body)
    record.etag = etag
    mask = FieldMask(paths=paths)
    return {"update": request_of("UpdateRecord", record=record, update_mask=mask)}


def delete(name: str, **fields: Any) -> dict[str, Any]:
    return {"delete": {"name": name, **fields}}


async def test_writes_of_all_sorts_are_done_in_order(records: Records) -> None:
    await records.create(ITEMS, "old", title="old")
    await records.create(ITEMS, "gone", title="gone")
    answer = await records.batch(
        [
            create("new", title="new"),
            update(f"{ITEMS}/old", rank=2),
            update(f"{ITEMS}/new", rank=3),
            delete(f"{ITEMS}/gone"),
            create("s", SHELVES, room="r"),
            delete(f"{ITEMS}/none", allow_missing=True),
        ]
    )
    assert not any(result.HasField("error") for result in answer.results)
    shown = [result.record.name if result.HasField("record") else "" for result in answer.results]
    new = f"{ITEMS}/new"
    assert shown == [new, f"{ITEMS}/old", new, "", f"{SHELVES}/s", ""]
    assert await records.get(new) == answer.results[2].record
    assert await records.names(ITEMS) == ["new", "old"]


@pytest.mark.parametrize(
    ("bad", "reason", "field"),
    [
        (create("a", title="twice"), "RESOURCE_EXISTS", "writes[1].create"),
        (create("c", title="x" * 21), "FIELD_INVALID", "writes[1].create.record.item.title"),
        (update(f"{ITEMS}/none", title="t"), "RESOURCE_NOT_FOUND", "writes[1].update"),
        (update(f"{ITEMS}/a", etag="stale"), "ETAG_MISMATCH", "writes[1].update"),
        (update(f"{ITEMS}/a", "nope"), "MASK_INVALID", "writes[1].update"),
        (delete(f"{ITEMS}/none"), "RESOURCE_NOT_FOUND", "writes[1].delete"),
        (delete("tenants/acme/readings/a"), "KIND_READ_ONLY", "writes[1].delete"),
        (delete("tenants/other/items/a"), "FIELD_INVALID", "writes[1].delete.name"),
        (delete(f"{ITEMS}/a", request_id="x"), "FIELD_INVALID", "writes[1].delete.request_id"),
    ],
)
async def test_one_bad_write_undoes_all_and_says_which(
    records: Records, bad: dict[str, Any], reason: str, field: str
) -> None:
    before = await records.create(ITEMS, "a", title="a")
    writes = [update(before.name, rank=9), bad, create("z", title="z")]
    with pytest.raises(Refusal) as refused:
        await records.batch(writes)
    status = refused.value.status("id-1")
    info, found = ErrorInfo(), BadRequest()
    status.details[0].Unpack(info)
    status.details[1].Unpack(found)
    assert info.reason == reason
    assert [each.field for each in found.field_violations] == [field]
    assert status.message.startswith("writes[1].")
    assert await records.get(before.name) == before
    assert await records.names(ITEMS) == ["a"]

    answer = await records.batch(writes, return_partial_success=True)
    assert [result.HasField("record") for result in answer.results] == [True, False, True]
    error = answer.results[1].error
    assert error.code == status.code != code_pb2.OK
    assert error.message == status.message
    assert (await records.get(before.name)).item.rank == 9
    assert await records.names(ITEMS) == ["a", "z"]


@pytest.mark.parametrize("partial", [False, True])
async def test_a_trial_answers_alike_and_writes_nothing(records: Records, partial: bool) -> None:
    before = await records.create(ITEMS, "a", title="a")
    writes = [create("b", title="b"), update(before.name, rank=5), delete(f"{ITEMS}/b")]
    tried = await records.batch(writes, validate_only=True, return_partial_success=partial)
    assert [each.record.item.rank for each in tried.results] == [0, 5, 0]
    assert await records.get(before.name) == before
    assert await records.names(ITEMS) == ["a"]
    bad = [*writes, create("a", title="a")]
    if partial:
        tried = await records.batch(bad, validate_only=True, return_partial_success=True)
        assert tried.results[3].error.code == code_pb2.ALREADY_EXISTS
    else:
        with pytest.raises(Refusal, match=r"writes\[3\]"):
            await records.batch(bad, validate_only=True)
    assert await records.names(ITEMS) == ["a"]
