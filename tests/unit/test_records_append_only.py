"""Facts about a moment are created and never updated."""

from collections.abc import AsyncIterator

import pytest
from google.rpc.error_details_pb2 import ErrorInfo

from mesh.errors import KindAppendOnly, ResourceNotFound
from mesh.records.kinds import describe_kinds
from tests.unit.record_contract import request_of, store_catalogue
from tests.unit.record_world import ENTRIES, Records, record_of, records_on


@pytest.fixture
async def records(database: str) -> AsyncIterator[Records]:
    async with records_on(database) as made:
        yield made


async def test_an_update_is_refused_by_its_own_reason(records: Records) -> None:
    made = await records.create(ENTRIES, "a", line="one")
    change = record_of(made.name, line="two")
    for fields in ({}, {"allow_missing": True}):
        with pytest.raises(KindAppendOnly) as refused:
            await records.update(change, **fields)
        assert refused.value.metadata == {"collection": "entries"}
    with pytest.raises(KindAppendOnly):
        await records.update(record_of(f"{ENTRIES}/none", line="two"))
    assert await records.get(made.name) == made


async def test_a_batch_cannot_update_either(records: Records) -> None:
    made = await records.create(ENTRIES, "a", line="one")
    update = {"update": request_of("UpdateRecord", record=record_of(made.name, line="two"))}
    answer = await records.batch([update], return_partial_success=True)
    info = ErrorInfo()
    assert answer.results[0].error.details[0].Unpack(info)
    assert info.reason == "KIND_APPEND_ONLY"
    assert await records.get(made.name) == made


async def test_what_is_missing_is_created_and_can_be_deleted(records: Records) -> None:
    made = await records.update(record_of(f"{ENTRIES}/a", line="one"), allow_missing=True)
    assert await records.get(made.name) == made
    await records.delete(made.name)
    with pytest.raises(ResourceNotFound):
        await records.get(made.name)


def test_the_catalogue_of_kinds_says_it() -> None:
    said = {kind.collection: kind.append_only for kind in describe_kinds(store_catalogue()).kinds}
    assert said["entries"]
    assert not said["items"]
