"""Records created, updated and deleted by callers, on every database."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from mesh.errors import (
    EtagMismatch,
    FieldInvalid,
    KindReadOnly,
    KindUnknown,
    ResourceExists,
    ResourceNotFound,
)
from secmesh.records.v1.record_requests_pb2 import ListRecordVersionsRequest
from tests.unit.record_world import ITEMS, SHELVES, START, TALES, Records, record_of, records_on


@pytest.fixture
async def records(database: str) -> AsyncIterator[Records]:
    async with records_on(database) as made:
        yield made


def violation(refused: pytest.ExceptionInfo[FieldInvalid]) -> tuple[str, str]:
    [found] = refused.value.details[0].field_violations  # type: ignore[attr-defined]  # BadRequest
    return found.field, found.reason


async def test_a_created_record_is_read_as_it_was_answered(records: Records) -> None:
    made = await records.create(ITEMS, title="box", tags=["a", "b"], door={"width": 3})
    assert await records.get(made.name) == made
    assert UUID(made.name.removeprefix(f"{ITEMS}/")).version == 7
    assert made.create_time == made.update_time
    assert made.create_time.ToMicroseconds() == START + 1_000_000
    assert made.etag
    assert made.item.tags == ["a", "b"]


async def test_a_caller_may_choose_the_id_once(records: Records) -> None:
    made = await records.create(ITEMS, "box-1", title="box")
    assert made.name == f"{ITEMS}/box-1"
    with pytest.raises(ResourceExists) as refused:
        await records.create(ITEMS, "box-1", title="other")
    assert refused.value.metadata == {"resource": made.name}
    assert await records.get(made.name) == made


async def test_what_the_service_says_of_a_record_is_not_the_callers_to_say(
    records: Records,
) -> None:
    record = record_of(ITEMS, title="box", score=7, door={"opened": 2, "width": 1})
    record.etag, record.create_time.seconds = "mine", 5
    made = await records.create(ITEMS, "a", title="box")
    record.name, record.etag = made.name, made.etag
    changed = await records.update(record)
    assert changed.create_time == made.create_time
    assert changed.etag not in ("mine", made.etag)
    assert not changed.item.HasField("score")
    assert not changed.item.door.HasField("opened")
    assert changed.item.door.width == 1


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        ({}, "record.item.title", "REQUIRED"),
        ({"title": ""}, "record.item.title", "STRING.MIN_LEN"),
        ({"title": "t", "rank": 101}, "record.item.rank", "INT32.LTE"),
        ({"title": "t", "tags": list("abcd")}, "record.item.tags", "REPEATED.MAX_ITEMS"),
    ],
)
async def test_a_body_that_breaks_its_rules_is_refused(
    records: Records, body: dict[str, Any], field: str, reason: str
) -> None:
    with pytest.raises(FieldInvalid) as refused:
        await records.create(ITEMS, **body)
    assert violation(refused) == (field, reason)
    assert await records.names(ITEMS) == []


async def test_an_envelope_that_breaks_its_rules_is_refused(records: Records) -> None:
    made = await records.create(ITEMS, "a", title="box")
    record = record_of(made.name)
    for key in "abcd":
        record.labels[key] = key
    with pytest.raises(FieldInvalid) as refused:
        await records.update(record)
    assert violation(refused) == ("record.labels", "MAP.MAX_PAIRS")
    assert await records.get(made.name) == made


async def test_a_body_of_another_kind_is_refused(records: Records) -> None:
    made = await records.create(ITEMS, "a", title="box")
    record = record_of(SHELVES, room="r")
    record.name = made.name
    with pytest.raises(FieldInvalid) as refused:
        await records.update(record)
    assert violation(refused) == ("record.shelf", "KIND_MISMATCH")


@pytest.mark.parametrize(
    ("collection", "error"), [("readings", KindReadOnly), ("nothings", KindUnknown)]
)
async def test_kinds_that_callers_do_not_write(
    records: Records, collection: str, error: type[Exception]
) -> None:
    parent = f"tenants/acme/{collection}"
    record = record_of(TALES)
    record.name = f"{parent}/a"
    for call in (
        records.batch([{"create": {"parent": parent, "record": record}}]),
        records.update(record, allow_missing=True),
        records.delete(f"{parent}/a", allow_missing=True),
    ):
        with pytest.raises(Exception, match=collection) as refused:
            await call
        assert refused.value.metadata == {"collection": collection}  # type: ignore[attr-defined]  # a refusal
        assert refused.value.reason.name == error.reason.name  # type: ignore[attr-defined]  # a refusal


async def test_a_missing_record_is_updated_and_deleted_only_if_that_is_allowed(
    records: Records,
) -> None:
    name = f"{ITEMS}/new"
    with pytest.raises(ResourceNotFound):
        await records.update(record_of(name, title="t"))
    with pytest.raises(ResourceNotFound):
        await records.delete(name)
    await records.delete(name, allow_missing=True)
    made = await records.update(record_of(name, title="t"), "item.rank", allow_missing=True)
    assert made.item.title == "t"
    await records.delete(name)
    assert await records.names(ITEMS) == []


@pytest.mark.parametrize("record_id", ["a b", "ä", "x" * 129, "a\n"])
async def test_an_update_makes_no_record_of_a_bad_name(records: Records, record_id: str) -> None:
    with pytest.raises(FieldInvalid):
        await records.update(record_of(f"{ITEMS}/{record_id}", title="t"), allow_missing=True)


async def test_a_stale_etag_loses_nothing(records: Records) -> None:
    made = await records.create(ITEMS, "a", title="one")
    second = await records.update(record_of(made.name, title="two"))
    stale = record_of(made.name, title="three")
    stale.etag = made.etag
    for call in (
        records.update(stale),
        records.update(stale, "*"),
        records.delete(made.name, etag=made.etag),
        records.delete(f"{ITEMS}/none", etag="e", allow_missing=True),
    ):
        with pytest.raises(EtagMismatch):
            await call
    assert await records.get(made.name) == second
    stale.etag = second.etag
    third = await records.update(stale)
    assert third.item.title == "three"
    await records.delete(made.name, etag=third.etag)


async def test_an_update_that_changes_nothing_writes_nothing(records: Records) -> None:
    made = await records.create(ITEMS, "a", title="one", password="p")
    assert await records.update(record_of(made.name, title="one", password="p")) == made
    assert await records.update(record_of(made.name, title="one"), "*") == made


async def test_a_secret_changes_the_etag_and_is_not_shown(records: Records) -> None:
    made = await records.create(ITEMS, "a", title="one", password="p")
    changed = await records.update(record_of(made.name, password="q"))
    assert changed.etag != made.etag
    assert not changed.item.HasField("password")
    assert (await records.stored(made.name)).item.password == "q"


async def test_of_concurrent_writers_with_one_etag_one_wins(records: Records) -> None:
    made = await records.create(ITEMS, "a", title="start", rank=0)

    async def write(rank: int) -> str:
        record = record_of(made.name, rank=rank)
        record.etag = made.etag
        try:
            await records.update(record)
        except EtagMismatch:
            return "lost"
        return f"won {rank}"

    outcomes = await asyncio.gather(*(write(rank) for rank in range(1, 9)))
    [winner] = [each for each in outcomes if each != "lost"]
    assert (await records.get(made.name)).item.rank == int(winner.removeprefix("won "))


async def test_concurrent_writers_of_different_fields_keep_each_others(records: Records) -> None:
    made = await records.create(ITEMS, "a", title="start")
    fields: list[dict[str, Any]] = [
        {"title": "end"},
        {"rank": 5},
        {"serial": "s"},
        {"door": {"colour": "red"}},
        {"door": {"width": 2}},
    ]
    await asyncio.gather(*(records.update(record_of(made.name, **each)) for each in fields))
    item = (await records.get(made.name)).item
    assert (item.title, item.rank, item.serial) == ("end", 5, "s")
    assert (item.door.colour, item.door.width) == ("red", 2)


async def test_of_concurrent_creators_of_one_name_one_wins(records: Records) -> None:
    calls = [records.create(ITEMS, "a", title=str(each)) for each in range(6)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    made = [each for each in outcomes if not isinstance(each, BaseException)]
    assert len(made) == 1
    assert all(isinstance(each, ResourceExists) for each in outcomes if each is not made[0])
    both = [
        records.update(record_of(f"{ITEMS}/b", title="b", rank=n), allow_missing=True)
        for n in range(6)
    ]
    await asyncio.gather(*both)
    assert await records.names(ITEMS) == ["a", "b"]


async def test_a_write_to_a_kind_with_history_makes_a_version(records: Records) -> None:
    made = await records.create(TALES, "t", text="one")
    second = await records.update(record_of(made.name, text="two"))
    records.moment = START  # the clock goes back: versions still come in order
    third = await records.update(record_of(made.name, text="three"))
    await records.delete(made.name)
    with pytest.raises(ResourceNotFound):
        await records.get(made.name)
    again = await records.create(TALES, "t", text="again")
    assert await records.get(made.name) == again
    found: Any = await records.reads.ListRecordVersions(
        ListRecordVersionsRequest(parent=made.name), None
    )
    assert [each.tale.text for each in found.records] == ["again", "three", "two", "one"]
    periods = [
        (each.valid_from.ToMicroseconds(), each.valid_to.ToMicroseconds())
        for each in reversed(found.records)
    ]
    assert [start for start, _ in periods] == sorted({start for start, _ in periods})
    assert all(start < end for start, end in periods[:-1])
    assert second.create_time == third.create_time == made.create_time
    with pytest.raises(ResourceExists):
        await records.create(TALES, "t", text="twice")
    with pytest.raises(EtagMismatch):
        await records.delete(made.name, etag=third.etag)


async def test_a_natural_key_is_one_records(records: Records) -> None:
    first = await records.create(SHELVES, "first", room="r", place=1)
    walled = await records.create(SHELVES, "walled", room="r", wall="w", place=1)
    await records.create(SHELVES, "zero", room="r", place=0)
    await records.create(SHELVES, "other", room="q", place=1)
    twins: list[tuple[dict[str, Any], Any]] = [({}, first), ({"wall": "w"}, walled)]
    for body, existing in twins:
        with pytest.raises(ResourceExists) as refused:
            await records.create(SHELVES, room="r", place=1, **body)
        assert refused.value.metadata == {"resource": existing.name}


async def test_without_the_end_of_its_key_a_record_has_none(records: Records) -> None:
    first = await records.create(SHELVES, "first", room="r", place=1)
    bare = await records.create(SHELVES, "bare", room="r")
    twin = await records.create(SHELVES, "twin", room="r")
    assert bare.shelf == twin.shelf
    with pytest.raises(ResourceExists) as refused:
        await records.update(record_of(bare.name, place=1))
    assert refused.value.metadata == {"resource": first.name}
    assert await records.get(bare.name) == bare
    await records.delete(first.name)
    await records.update(record_of(bare.name, place=1))


async def test_a_unique_field_may_be_absent_in_many(records: Records) -> None:
    await records.create(ITEMS, "a", title="a")
    await records.create(ITEMS, "b", title="b")
    made = await records.create(ITEMS, "c", title="c", serial="s")
    with pytest.raises(ResourceExists) as refused:
        await records.update(record_of(f"{ITEMS}/a", serial="s"))
    assert refused.value.metadata == {"resource": made.name}


async def test_what_cannot_be_stored_is_refused(records: Records) -> None:
    with pytest.raises(FieldInvalid, match="NUL"):
        await records.create(ITEMS, title="a\0b")
