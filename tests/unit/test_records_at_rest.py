"""Fields that are kept sealed or hashed, on every way into the store, in both databases."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import sqlalchemy as sa
from google.protobuf.field_mask_pb2 import FieldMask

from mesh.errors import (
    FieldInvalid,
    FilterInvalid,
    MaskInvalid,
    OrderInvalid,
    ResourceExists,
    SealBroken,
    SealingKeysMissing,
)
from mesh.sealing.envelope import SEALED
from mesh.sealing.hashing import is_hash, is_hash_of
from mesh.sealing.keyring import KeyRing
from mesh.server.call import Call, RequestKey, enter_call
from mesh.sql.answers import Answers
from mesh.sql.changes import ChangeFeed, Revision
from mesh.sql.store import Store
from mesh.sql.tables import Tables
from secmesh.records.v1.aggregate_pb2 import AggregateRecordsRequest
from secmesh.records.v1.record_requests_pb2 import GetRecordRequest, ListRecordsRequest
from tests.unit.ingest_world import ingest, outcomes
from tests.unit.record_contract import message, request_of, store_catalogue
from tests.unit.record_world import Records, record_of, records_on

SAFES = "tenants/acme/safes"
PLANTED = ("pin-4711", "code-4712", "token-4713", "word-4714", "door-4715", "4716", "note-4717")
SECRETS = ("pin", "code", "token", "words", "door")
NAME = f"{SAFES}/a"


@pytest.fixture
async def records(database: str) -> AsyncIterator[Records]:
    async with records_on(database) as made:
        yield made


def planted(**more: Any) -> dict[str, Any]:
    """Give the fields of a safe with everything in it."""
    pin, code, token, word, door, phone, note = PLANTED
    body: dict[str, Any] = {"title": "mine", "pin": pin, "code": code, "token": token}
    body |= {"words": [word], "door": message("Door", colour=door), "phone": phone}
    return {**body, "notes": [note], **more}


async def rows(records: Records, table: str = "safes") -> list[dict[str, Any]]:
    """Give what stands in a table, as any program sees it."""
    async with records.store.engine.connect() as connection:
        found = await connection.execute(sa.text(f"SELECT * FROM {table}"))  # noqa: S608  # of tests
        return [dict(row._mapping) for row in found]


async def current(records: Records) -> dict[str, Any]:
    [row] = [row for row in await rows(records) if row["valid_to"] is None]
    return row


async def require_nothing_plain(records: Records) -> None:
    tables = list(records.store.tables.metadata.tables)
    everything = str([await rows(records, table) for table in tables])
    assert "safes" in tables
    assert [word for word in PLANTED if word in everything] == []


async def change(records: Records, name: str, **body: Any) -> Any:
    return await records.update(record_of(name, **body))


async def test_the_database_holds_nothing_that_can_be_read(records: Records) -> None:
    made = await records.create(SAFES, "a", **planted())
    await require_nothing_plain(records)
    row = await current(records)
    assert is_hash(row["pin"], keyed=False)
    assert await is_hash_of(row["pin"], "pin-4711")
    assert is_hash(row["code"], keyed=True)
    for name in ("token", "words", "door", "phone", "notes"):
        assert row[name].startswith(SEALED)
    assert [name for name in SECRETS if made.safe.ListFields() and is_there(made.safe, name)] == []
    assert (made.safe.phone, list(made.safe.notes)) == ("4716", ["note-4717"])
    assert await records.get(NAME) == made
    stored = await records.stored(NAME)
    assert (stored.safe.token, list(stored.safe.words)) == ("token-4713", ["word-4714"])
    assert stored.safe.door.colour == "door-4715"


def is_there(body: Any, name: str) -> bool:
    return name in {field.name for field, _ in body.ListFields()}


async def test_values_are_bound_by_what_is_sent_and_not_by_what_is_stored(records: Records) -> None:
    for field, value in (("pin", "1" * 13), ("token", "1" * 21), ("code", "1" * 21)):
        with pytest.raises(FieldInvalid, match=field):
            await records.create(SAFES, "a", **planted(**{field: value}))
    assert await rows(records) == []
    await records.create(SAFES, "a", **planted())
    with pytest.raises(FieldInvalid, match="pin"):
        await change(records, NAME, pin="1" * 13)


async def test_an_update_leaves_the_secrets_that_it_does_not_name(records: Records) -> None:
    made = await records.create(SAFES, "a", **planted())
    before = await current(records)
    changed = await change(records, NAME, title="yours")
    after = await current(records)
    assert changed.etag != made.etag
    assert changed.safe.title == "yours"
    kept = (*SECRETS, "phone", "notes")
    assert [after[name] for name in kept] == [before[name] for name in kept]
    replaced = await records.update(record_of(NAME, token="other"), "safe.token")
    after = await current(records)
    assert replaced.etag != changed.etag
    assert after["token"] != before["token"]
    assert after["pin"] == before["pin"]
    assert (await records.stored(NAME)).safe.token == "other"
    await require_nothing_plain(records)


async def test_the_same_secrets_change_nothing(records: Records) -> None:
    made = await records.create(SAFES, "a", **planted())
    again = await change(records, NAME, **planted())
    assert again.etag == made.etag
    assert len(await rows(records)) == 1
    other = await change(records, NAME, pin="pin-0000")
    assert other.etag != made.etag
    assert await is_hash_of((await current(records))["pin"], "pin-0000")


async def test_a_hash_that_is_sent_is_a_value_like_others(records: Records) -> None:
    await records.create(SAFES, "a", **planted())
    stored = (await current(records))["code"]
    with pytest.raises(FieldInvalid, match="code"):
        await records.create(SAFES, "b", code=stored)
    form = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$9sTbSlTio3Biev89thdrlKKiCaYsjjYVJxGAL3swxpQ"
    with pytest.raises(FieldInvalid, match="pin"):
        await change(records, NAME, pin=form)


async def test_a_keyed_hash_keeps_values_apart(records: Records) -> None:
    await records.create(SAFES, "a", **planted())
    with pytest.raises(ResourceExists, match=NAME):
        await records.create(SAFES, "b", code="code-4712")
    await records.create("tenants/beta/safes", "b", code="code-4712")
    assert len({row["code"] for row in await rows(records)}) == 2  # two tenants
    with pytest.raises(FieldInvalid, match="code"):
        await change(records, NAME, code="code-0000")
    assert (await change(records, NAME, code="code-4712")).name == NAME


async def test_a_stream_seals_and_finds_by_keyed_hashes(records: Records) -> None:
    given = record_of(SAFES, **planted())
    [result] = await ingest(records, [given])
    assert outcomes([result]) == ["NEW"]
    await require_nothing_plain(records)
    before = await current(records)
    assert outcomes(await ingest(records, [given], first=2)) == ["UNCHANGED"]
    other = record_of(SAFES, **planted(phone="4700"))
    assert outcomes(await ingest(records, [other], first=3)) == ["UPDATED"]
    after = await current(records)
    assert after["id"] == before["id"]
    assert [after[name] for name in SECRETS] == [before[name] for name in SECRETS]
    assert (await records.get(result.name)).safe.phone == "4700"
    long = record_of(SAFES, pin="1" * 13)
    assert outcomes(await ingest(records, [long], first=4)) == ["REJECTED"]


async def test_a_batch_seals(records: Records) -> None:
    create = {
        "create": {"parent": SAFES, "record_id": "a", "record": record_of(SAFES, **planted())}
    }
    answer = await records.batch([create])
    assert answer.results[0].record.safe.phone == "4716"
    await require_nothing_plain(records)


async def test_the_feed_holds_what_is_shown_sealed_and_opens_it(records: Records) -> None:
    made = await records.create(SAFES, "a", **planted())
    changed = await change(records, NAME, phone="4799")
    page = await ChangeFeed(records.store).page("acme", Revision(0, 0))
    assert [each.after for each in page.changes] == [made, changed]
    kept = str(await rows(records, "record_changes"))
    assert SEALED in kept
    assert [word for word in (*PLANTED, "4799", *SECRETS[:1]) if f'"{word}"' in kept] == []


async def test_an_answer_that_is_kept_is_sealed(records: Records) -> None:
    made = await records.create(SAFES, "a", **planted())
    kept = Answers(records.store)
    key = RequestKey("acme", "ann", "CreateRecord", "01a201ab-6d72-72c3-b342-5607cc9c856d")

    async def run() -> Any:
        return made

    asked = request_of("CreateRecord", parent=SAFES, record=record_of(SAFES, **planted()))
    await kept.once(key, asked, run)
    assert await kept.once(key, asked, run) == made.SerializeToString()
    await require_nothing_plain(records)


async def test_masks_show_what_is_sealed_and_no_more(records: Records) -> None:
    await records.create(SAFES, "a", **planted())
    request = GetRecordRequest(name=NAME, read_mask=FieldMask(paths=["safe.phone"]))
    shown: Any = await records.reads.GetRecord(request, None)
    assert shown == message("Record", safe=message("Safe", phone="4716"))
    listed: Any = await records.reads.ListRecords(ListRecordsRequest(parent=SAFES), None)
    assert [each.safe.phone for each in listed.records] == ["4716"]
    request = GetRecordRequest(name=NAME, read_mask=FieldMask(paths=["safe.token"]))
    with pytest.raises(MaskInvalid):
        await records.reads.GetRecord(request, None)


@pytest.mark.parametrize("field", ["pin", "code", "token", "phone"])
async def test_no_question_reads_what_is_sealed(records: Records, field: str) -> None:
    with pytest.raises(FilterInvalid, match=field):
        await records.names(SAFES, f'{field} == "4716"')
    ordered = ListRecordsRequest(parent=SAFES, order_by=field)
    with pytest.raises(OrderInvalid, match=field):
        await records.reads.ListRecords(ordered, None)
    grouped = AggregateRecordsRequest(parent=SAFES, group_by=[field])
    enter_call(Call("/secmesh.store.v1.RecordService/AggregateRecords"))
    with pytest.raises(FieldInvalid, match=field):
        await records.reads.AggregateRecords(grouped, None)


async def test_what_cannot_be_opened_is_an_error_and_never_garbage(records: Records) -> None:
    await records.create(SAFES, "a", **planted())
    stranger = Tables(store_catalogue(), keys=KeyRing({"one": b"2" * 32}, b"p" * 32))
    lost = Records(Store(records.store.engine, stranger, page_key=b"k" * 32))
    with pytest.raises(SealBroken) as refused:
        await lost.get(NAME)
    assert refused.value.metadata["collection"] == "safes"
    titles = ListRecordsRequest(parent=SAFES, read_mask=FieldMask(paths=["safe.title"]))
    shown: Any = await lost.reads.ListRecords(titles, None)
    assert [each.safe.title for each in shown.records] == ["mine"]
    with pytest.raises(SealBroken):
        await change(lost, NAME, title="yours")


async def test_a_value_that_was_moved_is_refused(records: Records) -> None:
    await records.create(SAFES, "a", **planted())
    await records.create(SAFES, "b", phone="4700")
    async with records.store.engine.begin() as connection:
        move = "UPDATE safes SET phone = (SELECT phone FROM safes WHERE id = 'a') WHERE id = 'b'"
        await connection.execute(sa.text(move))
    with pytest.raises(SealBroken):
        await records.get(f"{SAFES}/b")
    assert (await records.get(NAME)).safe.phone == "4716"


async def test_nothing_is_stored_without_keys(records: Records) -> None:
    bare = Records(Store(records.store.engine, Tables(store_catalogue()), page_key=b"k" * 32))
    for field in ("pin", "code", "token", "phone"):
        with pytest.raises(SealingKeysMissing, match=field):
            await bare.create(SAFES, "a", **{field: "x"})
    with pytest.raises(ValueError, match="not hashed"):
        records.store.target("safes").codec.row(record_of(NAME, pin="plain"))
    assert await rows(records) == []
    assert (await bare.create(SAFES, "a", title="open")).safe.title == "open"
