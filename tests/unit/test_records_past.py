"""The past of records: what stood at a moment is what a replay of the versions gives."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mesh.errors import FieldInvalid, PageTokenInvalid, ResourceNotFound
from mesh.records.servicer import RecordServicer
from mesh.sql.history import History
from mesh.sql.store import Store
from secmesh.inventory.v1.record_pb2 import Record
from secmesh.records.v1 import record_requests_pb2 as requests
from tests.examples import examples
from tests.unit.sql_contract import sample_catalogue
from tests.unit.sql_rows import opened
from tests.unit.version_histories import (
    INVENTORY,
    LAST,
    opened_store,
    pasts,
    refill,
    standing,
    versions_of,
)

USERS = "tenants/acme/iam_users"
FREE = settings(max_examples=examples(20), deadline=None, suppress_health_check=list(HealthCheck))
MOMENTS = st.integers(0, LAST + 2)


def at(moment: int, nanos: int = 0) -> Timestamp:
    return Timestamp(seconds=moment, nanos=nanos)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as made:
        yield made


@pytest.fixture(scope="module")
def store(runner: asyncio.Runner) -> Iterator[Store]:
    with opened_store(runner) as made:
        yield made


async def read_all(servicer: RecordServicer, page_size: int, **fields: Any) -> list[Record]:
    found: list[Record] = []
    token = ""
    while True:
        request = requests.ListRecordsRequest(
            parent=USERS, page_size=page_size, page_token=token, **fields
        )
        page: Any = await servicer.ListRecords(request, None)
        found += page.records
        token = page.next_page_token
        if not token:
            return found


@FREE
@given(past=pasts(("iam_user",)), moment=MOMENTS, page_size=st.integers(1, 4))
def test_a_list_of_the_past_is_what_a_replay_gives(
    runner: asyncio.Runner, store: Store, past: list[Record], moment: int, page_size: int
) -> None:
    runner.run(refill(store, past))
    servicer = RecordServicer(INVENTORY, store)
    model = standing(past, moment)
    listed = runner.run(read_all(servicer, page_size, read_time=at(moment)))
    assert listed == sorted(model.values(), key=lambda record: record.name)
    filtered = runner.run(
        read_all(servicer, page_size, read_time=at(moment, 999_999_999), filter="mfa_enabled")
    )
    assert filtered == [record for record in listed if record.iam_user.mfa_enabled]


@FREE
@given(past=versions_of("iam_user", "a"), moment=MOMENTS)
def test_a_record_of_the_past_is_what_a_replay_gives(
    runner: asyncio.Runner, store: Store, past: list[Record], moment: int
) -> None:
    runner.run(refill(store, past))
    servicer = RecordServicer(INVENTORY, store)
    request = requests.GetRecordRequest(name=f"{USERS}/a", read_time=at(moment))
    model = standing(past, moment)
    if model:
        assert runner.run(servicer.GetRecord(request, None)) == model[f"{USERS}/a"]
    else:
        with pytest.raises(ResourceNotFound):
            runner.run(servicer.GetRecord(request, None))


def version(opened_at: int, closed_at: int | None, record: str = "a", **body: Any) -> Record:
    made = Record(name=f"{USERS}/{record}")
    made.valid_from.seconds = opened_at
    if closed_at is not None:
        made.valid_to.seconds = closed_at
    made.iam_user.SetInParent()
    for name, value in body.items():
        setattr(made.iam_user, name, value)
    return made


def test_a_version_stands_from_its_beginning_to_before_its_end(
    runner: asyncio.Runner, store: Store
) -> None:
    runner.run(refill(store, [version(5, 9, username="old"), version(9, None, username="new")]))
    servicer = RecordServicer(INVENTORY, store)

    def username(stamp: Timestamp) -> str:
        mask = FieldMask(paths=["iam_user.username"])
        request = requests.GetRecordRequest(name=f"{USERS}/a", read_time=stamp, read_mask=mask)
        answer: Any = runner.run(servicer.GetRecord(request, None))
        return str(answer.iam_user.username)

    assert username(at(5)) == username(at(8, 999_999_999)) == "old"
    assert username(at(9)) == "new"
    with pytest.raises(ResourceNotFound):
        username(at(4, 999_999_999))


def test_a_page_token_belongs_to_its_moment(runner: asyncio.Runner, store: Store) -> None:
    runner.run(refill(store, [version(1, None, record) for record in "abc"]))
    servicer = RecordServicer(INVENTORY, store)

    def listed(**fields: Any) -> Any:
        request = requests.ListRecordsRequest(parent=USERS, page_size=1, **fields)
        return runner.run(servicer.ListRecords(request, None))

    token = listed(read_time=at(3)).next_page_token
    assert listed(read_time=at(3), page_token=token).records[0].name == f"{USERS}/b"
    for other in ({"read_time": at(4)}, {}):
        with pytest.raises(PageTokenInvalid):
            listed(page_token=token, **other)
    with pytest.raises(PageTokenInvalid):
        listed(page_token=listed().next_page_token, read_time=at(3))


@pytest.mark.parametrize(
    ("stamp", "problem"),
    [
        (at(101), "future"),
        (at(100, 1000), "future"),
        (at(2**62), "future"),
        (at(-(2**62)), "years 1 to 9999"),
        (at(-62_135_596_801), "years 1 to 9999"),
        (at(5, -1), "years 1 to 9999"),
        (at(5, 1_000_000_000), "years 1 to 9999"),
    ],
)
def test_a_moment_that_cannot_be_read_is_refused(
    runner: asyncio.Runner, store: Store, stamp: Timestamp, problem: str
) -> None:
    servicer = RecordServicer(INVENTORY, store, clock=lambda: 100_000_000)
    for call in (
        servicer.GetRecord(requests.GetRecordRequest(name=f"{USERS}/a", read_time=stamp), None),
        servicer.ListRecords(requests.ListRecordsRequest(parent=USERS, read_time=stamp), None),
    ):
        with pytest.raises(FieldInvalid, match=problem) as refused:
            runner.run(call)
        assert refused.value.details[0].field_violations[0].field == "read_time"  # type: ignore[attr-defined]  # BadRequest


def test_the_present_moment_can_be_read(runner: asyncio.Runner, store: Store) -> None:
    runner.run(refill(store, [version(1, None)]))
    servicer = RecordServicer(INVENTORY, store, clock=lambda: 100_000_000)
    request = requests.ListRecordsRequest(parent=USERS, read_time=at(100))
    answer: Any = runner.run(servicer.ListRecords(request, None))
    assert len(answer.records) == 1


async def test_a_kind_without_history_has_no_past() -> None:
    async with opened("sqlite://") as made:
        servicer = RecordServicer(sample_catalogue(), made)
        parent = "tenants/acme/plains"
        with pytest.raises(FieldInvalid, match="read_time: past versions of plains are not kept"):
            await servicer.ListRecords(
                requests.ListRecordsRequest(parent=parent, read_time=at(1)), None
            )
        with pytest.raises(FieldInvalid, match="read_time"):
            await servicer.GetRecord(
                requests.GetRecordRequest(name=f"{parent}/a", read_time=at(1)), None
            )


async def read_versions(servicer: RecordServicer, page_size: int, **fields: Any) -> list[Record]:
    found: list[Record] = []
    token = ""
    while True:
        request = requests.ListRecordVersionsRequest(
            parent=f"{USERS}/a", page_size=page_size, page_token=token, **fields
        )
        page: Any = await servicer.ListRecordVersions(request, None)
        assert len(page.records) <= page_size
        found += page.records
        token = page.next_page_token
        if not token:
            return found


@FREE
@given(past=pasts(("iam_user",)), page_size=st.integers(1, 4))
def test_the_versions_of_a_record_are_all_told_newest_first(
    runner: asyncio.Runner, store: Store, past: list[Record], page_size: int
) -> None:
    runner.run(refill(store, past))
    servicer = RecordServicer(INVENTORY, store)
    own = [each for each in past if each.name == f"{USERS}/a"]
    if not own:
        with pytest.raises(ResourceNotFound):
            runner.run(read_versions(servicer, page_size))
        return
    wanted = sorted(own, key=lambda each: each.valid_from.seconds, reverse=True)
    assert runner.run(read_versions(servicer, page_size)) == wanted
    chosen = [each for each in wanted if each.iam_user.mfa_enabled]
    assert runner.run(read_versions(servicer, page_size, filter="mfa_enabled")) == chosen
    mask = FieldMask(paths=["etag"])
    masked = runner.run(read_versions(servicer, page_size, read_mask=mask))
    assert masked == [Record(etag=each.etag) for each in wanted]


def test_a_page_of_versions_belongs_to_its_record(runner: asyncio.Runner, store: Store) -> None:
    runner.run(refill(store, [version(1, 2), version(2, None), version(1, None, "b")]))
    servicer = RecordServicer(INVENTORY, store)

    def page(record: str, **fields: Any) -> Any:
        request = requests.ListRecordVersionsRequest(parent=f"{USERS}/{record}", **fields)
        return runner.run(servicer.ListRecordVersions(request, None))

    token = page("a", page_size=1).next_page_token
    assert page("a", page_token=token).records[0].valid_from == at(1)
    for wrong in (("b", {"page_token": token}), ("a", {"page_token": token, "filter": "true"})):
        with pytest.raises(PageTokenInvalid):
            page(wrong[0], **wrong[1])


async def test_versions_of_a_kind_without_history_are_refused() -> None:
    async with opened("sqlite://") as made:
        with pytest.raises(FieldInvalid, match="parent: past versions of plains are not kept"):
            await History(made).page("plains", "tenants/acme/plains/a")
