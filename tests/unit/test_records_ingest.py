"""Streams of records: what becomes of each, on every database."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import RFC_4122, UUID

import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo

from mesh.errors import Refusal
from mesh.identifiers import MAX_SEQUENCE, derived_uuid, new_uuid
from tests.unit.ingest_world import STREAM, TENANT, answers, as_caller, ingest, numbered, outcomes
from tests.unit.record_contract import message
from tests.unit.record_world import (
    ENTRIES,
    ITEMS,
    SHELVES,
    TALES,
    Records,
    record_of,
    records_on,
)


@pytest.fixture
async def records(database: str) -> AsyncIterator[Records]:
    async with records_on(database) as made:
        yield made


def told(result: Any) -> tuple[str, list[str]]:
    """Give the reason of a rejection and the fields at fault."""
    info, bad = ErrorInfo(), BadRequest()
    for detail in result.error.details:
        detail.Unpack(info)
        detail.Unpack(bad)
    assert info.metadata["request_id"] == "id-1"
    return info.reason, [each.field for each in bad.field_violations]


async def test_each_record_is_new_then_unchanged_then_updated(records: Records) -> None:
    shelves = [record_of(SHELVES, room="r", place=place) for place in (1, 2)]
    shelves.append(record_of(SHELVES, room="r", wall="w", place=1))
    first = await ingest(records, shelves)
    assert outcomes(first) == ["NEW"] * 3
    assert [each.sequence for each in first] == [1, 2, 3]
    assert all(each.durable for each in first)
    again = await ingest(records, shelves, first=10)
    assert outcomes(again) == ["UNCHANGED"] * 3
    assert [each.name for each in again] == [each.name for each in first]
    shelves[2].labels["a"] = "b"
    changed = await ingest(records, shelves, first=20)
    assert outcomes(changed) == ["UNCHANGED", "UNCHANGED", "UPDATED"]
    stored = await records.get(first[2].name)
    assert dict(stored.labels) == {"a": "b"}
    assert stored.update_time.ToMicroseconds() > stored.create_time.ToMicroseconds()
    assert len(await records.names(SHELVES)) == 3


async def test_records_are_known_by_name_and_by_unique_fields(records: Records) -> None:
    given = [
        record_of(f"{ITEMS}/named", title="a"),
        record_of(ITEMS, title="b", serial="s1"),
        record_of(ITEMS, title="c"),
    ]
    first = await ingest(records, given)
    assert outcomes(first) == ["NEW"] * 3
    assert first[0].name == f"{ITEMS}/named"
    assert first[2].name == f"{ITEMS}/{derived_uuid(STREAM, 3)}"
    assert outcomes(await ingest(records, given)) == ["UNCHANGED"] * 3, "nothing comes twice"
    changes = [
        record_of(f"{ITEMS}/named", rank=4),
        record_of(ITEMS, serial="s1", rank=5),
    ]
    assert outcomes(await ingest(records, changes)) == ["UPDATED", "UPDATED"]
    stored = await records.get(first[1].name)
    assert (stored.item.title, stored.item.rank) == ("b", 5), "what is not sent stays"
    # Another stream's unnamed record is another one.
    other = await ingest(
        records, [record_of(ITEMS, title="c")], stream_id=STREAM.replace("01a2", "01a3")
    )
    assert outcomes(other) == ["NEW"]


async def test_what_is_stored_is_what_single_writes_store(records: Records) -> None:
    shelf = (await records.create(SHELVES, "shelf-1", room="r")).name
    body: dict[str, Any] = {
        "title": "t",
        "rank": 3,
        "password": "hunter2",
        "score": 9,
        "tags": ["x", "y"],
        "door": {"colour": "red", "code": "1234", "opened": 3},
        "named_doors": {"a": {"width": 2}},
        "sealed": True,
        "shelf": shelf,
    }
    single = await records.create(ITEMS, "single", **body)
    [result] = await ingest(records, [record_of(f"{ITEMS}/bulk", **body)])
    stored = await records.get(result.name)
    assert stored.item == single.item
    assert not stored.item.HasField("score")
    assert (await records.stored(result.name)).item.password == "hunter2"
    assert stored.etag
    changed = await ingest(records, [record_of(f"{ITEMS}/bulk", rank=4)])
    assert outcomes(changed) == ["UPDATED"]
    updated = await records.stored(result.name)
    assert updated.item.password == "hunter2", "a secret that is not sent stays"
    assert updated.etag != stored.etag
    assert updated.create_time == stored.create_time
    # The etag is that of single writes: an update that changes nothing keeps it.
    same = await records.update(record_of(f"{ITEMS}/bulk", rank=4))
    assert same.etag == updated.etag


@pytest.mark.parametrize(
    ("bad", "reason", "field"),
    [
        (record_of(ITEMS, title="x" * 21), "FIELD_INVALID", "record.item.title"),
        (record_of(ITEMS, rank=1), "FIELD_INVALID", "record.item.title"),
        (record_of(ITEMS, title="t", rank=101), "FIELD_INVALID", "record.item.rank"),
        (record_of(ITEMS, title="t", tags=list("abcd")), "FIELD_INVALID", "record.item.tags"),
        (record_of(f"{ITEMS}/kept", origin="other"), "FIELD_INVALID", "record.item.origin"),
        (record_of(f"{ITEMS}/a b", title="t"), "FIELD_INVALID", "record.name"),
        (record_of("tenants/other/items/a", title="t"), "FIELD_INVALID", "record.name"),
        (record_of(ITEMS, title="t", shelf=f"{ITEMS}/abcdefghij"), "FIELD_INVALID", "shelf"),
        (record_of(ITEMS, title="t", shelf=f"{SHELVES}/nothing"), "REFERENCE_NOT_FOUND", "shelf"),
        (
            record_of(ITEMS, title="t", shelf="tenants/other/shelves/s"),
            "REFERENCE_NOT_FOUND",
            "shelf",
        ),
        (record_of(f"{ITEMS}/new", title="t", serial="taken"), "RESOURCE_EXISTS", ""),
    ],
)
async def test_a_bad_record_is_rejected_alone_with_its_field(
    records: Records, bad: Any, reason: str, field: str
) -> None:
    kept = await records.create(ITEMS, "kept", title="kept", origin="here", serial="taken")
    given = [record_of(ITEMS, title=f"t{n}") for n in range(7)]
    given.insert(3, bad)
    results = await ingest(records, given)
    assert outcomes(results) == ["NEW"] * 3 + ["REJECTED"] + ["NEW"] * 4
    assert not results[3].durable
    assert not results[3].name
    said, fields = told(results[3])
    assert said == reason
    if reason == "FIELD_INVALID":
        assert fields == [field]
    elif field:
        assert f"{field} refers to" in results[3].error.message
    assert len(await records.names(ITEMS)) == 8
    assert await records.get(kept.name) == kept


async def test_an_etag_is_asked_for(records: Records) -> None:
    kept = await records.create(ITEMS, "kept", title="t")
    stale, fresh, absent = (record_of(f"{ITEMS}/{each}", rank=2) for each in ("kept", "kept", "no"))
    stale.etag, fresh.etag, absent.etag = "stale", kept.etag, kept.etag
    results = await ingest(records, [stale, fresh, absent])
    assert outcomes(results) == ["REJECTED", "UPDATED", "REJECTED"]
    assert told(results[0])[0] == told(results[2])[0] == "ETAG_MISMATCH"


async def test_without_the_end_of_its_key_each_record_is_new(records: Records) -> None:
    given = [record_of(SHELVES, room="r", wall="w") for _ in range(3)]
    # Of the parts before the end, absence is a value.
    keyed = [record_of(SHELVES, room="r", place=1)]
    assert outcomes(await ingest(records, [*given, *keyed])) == ["NEW"] * 4
    again = await ingest(records, [*given, *keyed], first=10)
    assert outcomes(again) == ["NEW", "NEW", "NEW", "UNCHANGED"]
    assert len(await records.names(SHELVES)) == 7


async def test_one_record_twice_is_written_in_order(records: Records) -> None:
    given = [
        record_of(SHELVES, room="r", place=1),
        record_of(SHELVES, room="other", place=1),
        record_of(SHELVES, room="r", place=1),
    ]
    given[2].labels["second"] = "1"
    given.append(record_of(SHELVES, room="r", place=1))
    assert outcomes(await ingest(records, given)) == ["NEW", "NEW", "UPDATED", "UNCHANGED"]
    assert len(await records.names(SHELVES)) == 2


async def test_records_refer_to_those_before_them(records: Records) -> None:
    given = [
        record_of(f"{SHELVES}/s", room="r"),
        record_of(f"{ITEMS}/i", title="on", shelf=f"{SHELVES}/s"),
        record_of(f"{ITEMS}/j", title="in", parent_item=f"{ITEMS}/i"),
        record_of(f"{ITEMS}/k", title="x" * 21),
        record_of(f"{ITEMS}/l", title="lost", parent_item=f"{ITEMS}/k"),
        record_of(f"{ITEMS}/m", title="lost", parent_item=f"{ITEMS}/l"),
    ]
    results = await ingest(records, given)
    assert outcomes(results) == ["NEW", "NEW", "NEW", "REJECTED", "REJECTED", "REJECTED"]
    assert told(results[4])[0] == told(results[5])[0] == "REFERENCE_NOT_FOUND"
    assert (await records.get(f"{ITEMS}/j")).item.parent_item == f"{ITEMS}/i"


async def test_kinds_with_history_keep_their_past(records: Records) -> None:
    given = [record_of(f"{TALES}/a", text="one"), record_of(f"{TALES}/b", text="b")]
    assert outcomes(await ingest(records, given)) == ["NEW", "NEW"]
    before = records.moment
    given[0].tale.text = "two"
    assert outcomes(await ingest(records, given)) == ["UPDATED", "UNCHANGED"]
    assert (await records.get(f"{TALES}/a")).tale.text == "two"
    old: Any = await records.store.get("tales", f"{TALES}/a", read_time=before)
    assert old.tale.text == "one"


async def test_a_fact_is_created_and_never_updated(records: Records) -> None:
    given = [record_of(f"{ENTRIES}/a", line="one"), record_of(ENTRIES, line="two")]
    assert outcomes(await ingest(records, given)) == ["NEW", "NEW"]
    assert outcomes(await ingest(records, given)) == ["UNCHANGED", "UNCHANGED"]
    given[0].entry.line = "other"
    results = await ingest(records, given)
    assert outcomes(results) == ["REJECTED", "UNCHANGED"]
    assert told(results[0])[0] == "KIND_APPEND_ONLY"
    assert (await records.get(f"{ENTRIES}/a")).entry.line == "one"


async def test_a_trial_tells_alike_and_writes_nothing(records: Records) -> None:
    kept = await records.create(ITEMS, "kept", title="t")
    given = [
        record_of(f"{ITEMS}/new", title="n"),
        record_of(f"{ITEMS}/kept", rank=3),
        record_of(ITEMS, title="x" * 21),
    ]
    tried = await ingest(records, given, validate_only=True)
    assert outcomes(tried) == ["NEW", "UPDATED", "REJECTED"]
    assert not any(each.durable for each in tried)
    assert await records.names(ITEMS) == ["kept"]
    assert await records.get(kept.name) == kept


async def refused(records: Records, *requests: Any) -> tuple[list[Any], Refusal]:
    """Give the results before a stream was refused, and why it was."""
    parts: list[Any] = []
    with pytest.raises(Refusal) as error:
        await answers(records, requests, parts)
    return [result for part in parts for result in part.results], error.value


def request(*given: Any, parent: str = TENANT, first: int = 1, **fields: Any) -> Any:
    return message("IngestRecordsRequest", parent=parent, items=numbered(given, first), **fields)


async def test_what_ends_a_stream_leaves_what_came_before(records: Records) -> None:
    as_caller()
    good = record_of(ITEMS, title="t")
    got, error = await refused(
        records, request(good, record_of("tenants/acme/readings", value=1.0), good)
    )
    assert outcomes(got) == ["NEW"]
    assert error.reason.name == "KIND_READ_ONLY"
    got, error = await refused(records, request(good, good, first=5), request(good, first=6))
    assert outcomes(got) == ["NEW", "NEW"]
    assert "sequence" in error.message
    got, error = await refused(records, request(good), request(good, parent=ITEMS, first=2))
    assert outcomes(got) == ["NEW"]
    assert "parent" in error.message
    assert len(await records.names(ITEMS)) == 4
    got, error = await refused(records, request(good, parent=""))
    assert (got, error.reason.name) == ([], "FIELD_INVALID")
    got, error = await refused(records, request(parent="tenants/acme/readings"))
    assert (got, error.reason.name) == ([], "KIND_READ_ONLY")
    got, error = await refused(records, request(parent="tenants/acme/nothing"))
    assert (got, error.reason.name) == ([], "KIND_UNKNOWN")
    got, error = await refused(records, request(message("Record")))
    assert (got, error.reason.name) == ([], "KIND_UNKNOWN")


@pytest.mark.parametrize("verb", ["create", "update"])
async def test_each_kind_needs_both_permissions(records: Records, verb: str) -> None:
    as_caller("store.shelves.*", f"store.items.{verb}")
    got, error = await refused(
        records, request(record_of(SHELVES, room="r"), record_of(ITEMS, title="t"))
    )
    assert outcomes(got) == ["NEW"]
    other = {"create": "update", "update": "create"}[verb]
    assert error.metadata == {"permission": f"store.items.{other}"}
    assert await records.names(ITEMS) == []


async def test_a_collection_as_parent_takes_its_kind_alone(records: Records) -> None:
    given = [record_of(ITEMS, title="t"), record_of(SHELVES, room="r")]
    results = await ingest(records, given, parent=ITEMS)
    assert outcomes(results) == ["NEW", "REJECTED"]
    assert told(results[1]) == ("FIELD_INVALID", ["record.shelf"])


def test_ids_of_a_stream_are_its_own_and_sort_by_sequence() -> None:
    made = [derived_uuid(STREAM, sequence) for sequence in (1, 2, 3000, MAX_SEQUENCE - 1)]
    assert made == sorted(set(made))
    for each in made:
        parsed = UUID(each)
        assert (parsed.version, parsed.variant) == (7, RFC_4122)
        assert parsed.int >> 80 == UUID(STREAM).int >> 80, "the time of the stream"
    assert derived_uuid(new_uuid(), 1) != derived_uuid(new_uuid(), 1)


async def test_an_empty_stream_ends_well(records: Records) -> None:
    as_caller()
    [end] = await answers(records, [request()])
    assert end.ended.code == 0
    assert end.stream_id
