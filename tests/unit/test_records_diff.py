"""Comparisons of two moments: what they say makes the later state of the earlier one."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mesh.errors import FieldInvalid, FilterInvalid, KindUnknown, PageTokenInvalid
from mesh.records.values import holds_secret
from mesh.sql.history import History, Span
from mesh.sql.store import Store
from mesh.sql.tables import create_tables
from secmesh.inventory.v1.history_service_pb2 import (
    DiffRecordsRequest,
    FieldChange,
    RecordChange,
)
from secmesh.inventory.v1.record_pb2 import READ_OUTCOME_DENIED, Record
from secmesh.inventory.v1.sync_pb2 import Sync
from services.inventory.history_servicer import HistoryServicer
from services.inventory.sync_store import SyncStore
from tests.examples import examples
from tests.unit.sql_contract import sample_catalogue
from tests.unit.sql_rows import opened, vault
from tests.unit.version_histories import (
    ACCOUNTS,
    COLLECTIONS,
    INVENTORY,
    LAST,
    opened_store,
    pasts,
    refill,
    standing,
)

FREE = settings(max_examples=examples(20), deadline=None, suppress_health_check=list(HealthCheck))
MOMENTS = st.integers(0, LAST + 2)
BODIES = {collection: body for body, collection in COLLECTIONS.items()}


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as made:
        yield made


@pytest.fixture(scope="module")
def store(runner: asyncio.Runner) -> Iterator[Store]:
    with opened_store(runner) as made:
        yield made


def servicer_of(store: Store) -> HistoryServicer:
    return HistoryServicer(INVENTORY, store, SyncStore(store), clock=lambda: 100_000_000)


def at(moment: int) -> Timestamp:
    return Timestamp(seconds=moment)


async def diff(store: Store, page_size: int = 1000, **fields: Any) -> list[RecordChange]:
    found: list[RecordChange] = []
    token = ""
    while True:
        request = DiffRecordsRequest(page_size=page_size, page_token=token, **fields)
        page = await servicer_of(store).DiffRecords(request, None)  # type: ignore[arg-type]  # unused
        assert len(page.changes) <= page_size
        found += page.changes
        token = page.next_page_token
        if not token:
            return found


def content(record: Record) -> Record:
    """Give what a comparison is about: no times, no run, and gaps by their fields."""
    kept = Record(name=record.name, cloud_account_id=record.cloud_account_id)
    kept.region, kept.arn = record.region, record.arn
    kept.labels.update(record.labels)
    body = str(record.WhichOneof("body"))
    getattr(kept, body).CopyFrom(getattr(record, body))
    kept.unread.extend(sorted(record.unread, key=lambda gap: gap.field))
    return kept


def applied(old: dict[str, Record], changes: list[RecordChange]) -> dict[str, Record]:
    """Make the later state of the earlier one by what a comparison says."""
    state = {name: content(record) for name, record in old.items()}
    for change in changes:
        if change.type == RecordChange.TYPE_REMOVED:
            del state[change.name]
            continue
        if change.type == RecordChange.TYPE_ADDED:
            assert change.name not in state
            state[change.name] = Record(name=change.name)
        record = state[change.name]
        body = getattr(record, BODIES[change.name.split("/")[2]])
        body.SetInParent()
        for field in change.fields:
            apply_field(record, body, field)
    return {name: content(record) for name, record in state.items()}


def apply_field(record: Record, body: Any, change: FieldChange) -> None:
    outer = change.field.startswith("record.")
    target: Any = record if outer else body
    name = change.field.removeprefix("record.")
    target.ClearField(name)
    if change.HasField("new_value"):
        ParseDict({name: json.loads(change.new_value)}, target)
    if not outer:
        kept = [gap for gap in record.unread if gap.field != name]
        del record.unread[:]
        record.unread.extend(kept)
        if change.HasField("new_unread"):
            record.unread.append(change.new_unread)


@FREE
@given(past=pasts(), old=MOMENTS, new=MOMENTS, page_size=st.integers(1, 5))
def test_a_comparison_applied_to_the_earlier_state_gives_the_later(
    runner: asyncio.Runner, store: Store, past: list[Record], old: int, new: int, page_size: int
) -> None:
    runner.run(refill(store, past))
    request = {"parent": "tenants/acme/-", "from_time": at(old), "to_time": at(new)}
    changes = runner.run(diff(store, page_size, **request))
    names = [change.name for change in changes]
    assert names == sorted(set(names))
    before, after = standing(past, old), standing(past, new)
    assert applied(before, changes) == {name: content(each) for name, each in after.items()}
    changed = {
        name
        for name in before.keys() | after.keys()
        if name not in before or name not in after or content(before[name]) != content(after[name])
    }
    assert set(names) == changed, "what did not change is not told"


@FREE
@given(past=pasts(), moment=MOMENTS)
def test_a_state_does_not_differ_from_itself(
    runner: asyncio.Runner, store: Store, past: list[Record], moment: int
) -> None:
    runner.run(refill(store, past))
    same = at(moment)
    parent = "tenants/acme/-"
    assert runner.run(diff(store, parent=parent, from_time=same, to_time=same)) == []


@FREE
@given(past=pasts(), old=MOMENTS, new=MOMENTS)
def test_an_account_and_a_filter_narrow_both_states(
    runner: asyncio.Runner, store: Store, past: list[Record], old: int, new: int
) -> None:
    runner.run(refill(store, past))
    users = [each for each in past if each.HasField("iam_user")]

    def chosen(moment: int) -> dict[str, Record]:
        return {
            name: record
            for name, record in standing(users, moment).items()
            if record.cloud_account_id == ACCOUNTS[0] and record.iam_user.mfa_enabled
        }

    changes = runner.run(
        diff(
            store,
            parent="tenants/acme/iam_users",
            from_time=at(old),
            to_time=at(new),
            cloud_account_id=ACCOUNTS[0],
            filter="mfa_enabled",
        )
    )
    assert applied(chosen(old), changes) == {
        name: content(record) for name, record in chosen(new).items()
    }


def user(opened_at: int, closed_at: int | None, gap: str = "", **body: Any) -> Record:
    made = Record(name="tenants/acme/iam_users/a", cloud_account_id=ACCOUNTS[0], region="global")
    made.sync, made.arn = f"tenants/acme/syncs/s{opened_at}", "arn:aws:iam::1:user/a"
    made.valid_from.seconds = opened_at
    if closed_at is not None:
        made.valid_to.seconds = closed_at
    if gap:
        made.unread.add(field="mfa_enabled", action="iam:X", code=gap, outcome=READ_OUTCOME_DENIED)
    made.iam_user.SetInParent()
    for name, value in body.items():
        setattr(made.iam_user, name, value)
    return made


READING, VALUE = FieldChange.TYPE_READING, FieldChange.TYPE_VALUE


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        # An unread field keeps its value: only its reading changed.
        ({"mfa_enabled": True}, {"mfa_enabled": True, "gap": "No"}, (READING, "true", "true")),
        ({"mfa_enabled": True, "gap": "No"}, {"mfa_enabled": True}, (READING, "true", "true")),
        ({"gap": "No"}, {"gap": "Busy"}, (READING, None, None)),
        # Never read until now: the value is news, not a change.
        ({"gap": "No"}, {"mfa_enabled": True}, (READING, None, "true")),
        # Read again, and not what was read last.
        ({"mfa_enabled": True, "gap": "No"}, {"mfa_enabled": False}, (VALUE, "true", "false")),
        ({"mfa_enabled": True}, {}, (VALUE, "true", None)),
    ],
)
def test_how_a_field_was_read_is_told_apart_from_its_value(
    runner: asyncio.Runner, store: Store, old: Any, new: Any, told: Any
) -> None:
    runner.run(refill(store, [user(1, 5, **old), user(5, None, **new)]))
    [change] = runner.run(
        diff(store, parent="tenants/acme/iam_users", from_time=at(2), to_time=at(9))
    )
    assert change.type == RecordChange.TYPE_CHANGED
    assert (change.arn, change.region) == ("arn:aws:iam::1:user/a", "global")
    assert (change.change_time, change.sync) == (at(5), "tenants/acme/syncs/s5")
    [field] = change.fields
    values = [
        getattr(field, name) if field.HasField(name) else None
        for name in ("old_value", "new_value")
    ]
    assert (field.field, field.type, *values) == ("mfa_enabled", *told)
    assert (field.old_unread.code, field.new_unread.code) == (
        old.get("gap", ""),
        new.get("gap", ""),
    )


def test_what_came_and_went_carries_its_fields(runner: asyncio.Runner, store: Store) -> None:
    runner.run(refill(store, [user(3, 6, username="ana")]))
    parent = "tenants/acme/iam_users"
    [came] = runner.run(diff(store, parent=parent, from_time=at(1), to_time=at(4)))
    [went] = runner.run(diff(store, parent=parent, from_time=at(4), to_time=at(9)))
    assert (came.type, came.change_time) == (RecordChange.TYPE_ADDED, at(3))
    assert (went.type, went.change_time) == (RecordChange.TYPE_REMOVED, at(6))
    assert {field.field: field.new_value for field in came.fields}["username"] == '"ana"'
    assert {field.field: field.old_value for field in went.fields}["username"] == '"ana"'
    assert went.sync == ""


async def put_runs(store: Store, *runs: Sync) -> None:
    async with store.transaction() as connection:
        await store.upsert(connection, "syncs", runs)


def run(sync: str, ended: int | None, account: str = ACCOUNTS[0], tenant: str = "acme") -> Sync:
    made = Sync(name=f"tenants/{tenant}/syncs/{sync}", cloud_account_id=account)
    if ended is not None:
        made.end_time.seconds = ended
    return made


def test_runs_stand_for_their_ends_and_their_account(runner: asyncio.Runner, store: Store) -> None:
    other = user(4, None, username="eve")
    other.name, other.cloud_account_id = "tenants/acme/iam_users/b", ACCOUNTS[1]
    runner.run(refill(store, [user(1, 5, username="a"), user(5, None, username="b"), other]))
    runner.run(put_runs(store, run("one", 3), run("two", 6)))
    [change] = runner.run(
        diff(
            store,
            parent="tenants/acme/-",
            from_sync="tenants/acme/syncs/one",
            to_sync="tenants/acme/syncs/two",
        )
    )
    assert change.name == "tenants/acme/iam_users/a"
    assert [field.field for field in change.fields] == ["username"]


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"from_sync": "tenants/acme/syncs/going"}, "from_sync"),
        ({"from_sync": "tenants/other/syncs/one"}, "from_sync"),
        ({"from_time": at(1), "to_sync": "tenants/acme/syncs/going"}, "to_sync"),
        (
            {"from_sync": "tenants/acme/syncs/one", "to_sync": "tenants/acme/syncs/away"},
            "to_sync",
        ),
        ({"from_sync": "tenants/acme/syncs/one", "cloud_account_id": ACCOUNTS[1]}, "from_sync"),
        ({"from_time": at(101)}, "from_time"),
        ({"from_time": at(1), "to_time": at(101)}, "to_time"),
        ({"from_time": at(1), "page_size": 1001}, "page_size"),
    ],
)
def test_states_that_cannot_be_compared_are_refused(
    runner: asyncio.Runner, store: Store, asked: dict[str, Any], field: str
) -> None:
    runs = run("one", 3), run("going", None), run("away", 4, ACCOUNTS[1])
    runner.run(put_runs(store, *runs, run("one", 3, tenant="other")))
    request = DiffRecordsRequest(parent="tenants/acme/-", **asked)
    with pytest.raises(FieldInvalid) as refused:
        runner.run(servicer_of(store).DiffRecords(request, None))  # type: ignore[arg-type]  # unused
    assert refused.value.details[0].field_violations[0].field == field  # type: ignore[attr-defined]  # BadRequest


def test_unknown_kinds_and_bad_filters_are_refused(runner: asyncio.Runner, store: Store) -> None:
    with pytest.raises(KindUnknown):
        runner.run(diff(store, parent="tenants/acme/syncs", from_time=at(1)))
    with pytest.raises(FilterInvalid):
        runner.run(
            diff(store, parent="tenants/acme/-", from_time=at(1), filter="bucket_name == 'x'")
        )


def test_pages_keep_to_the_moment_of_the_first(runner: asyncio.Runner, store: Store) -> None:
    pasts_of = [user(2, None), user(3, None)]
    pasts_of[1].name = "tenants/acme/iam_users/b"
    runner.run(refill(store, pasts_of))
    clock = 50_000_000
    servicer = HistoryServicer(INVENTORY, store, SyncStore(store), clock=lambda: clock)

    def page(**fields: Any) -> Any:
        request = DiffRecordsRequest(
            parent="tenants/acme/iam_users", from_time=at(1), page_size=1, **fields
        )
        return runner.run(servicer.DiffRecords(request, None))  # type: ignore[arg-type]  # unused

    first = page()
    clock = 70_000_000
    second = page(page_token=first.next_page_token)
    assert first.to_time == second.to_time == at(50)
    assert [each.changes[0].name[-1] for each in (first, second)] == ["a", "b"]
    with pytest.raises(PageTokenInvalid):
        page(page_token=first.next_page_token, filter="true")
    with pytest.raises(PageTokenInvalid):
        page(page_token=first.next_page_token + "A")


async def test_a_secret_that_changed_is_noticed_and_not_given() -> None:
    async with opened("sqlite://") as store:
        await create_tables(store.engine, store.tables)
        old, new = vault(1, "ana", closed=5), vault(5, "ana")
        old.vault.password, new.vault.password = "hunter2", "hunter3"
        async with store.transaction() as connection:
            await store.insert(connection, "vaults", [old, new])
        found = await History(store).pairs("vaults", "acme", Span(2_000_000, 9_000_000), limit=5)
        [pair] = found.pairs
        assert "password" in pair.differing
        fields = sample_catalogue().kinds["vaults"].descriptor.fields
        secret = {field.name for field in fields if holds_secret(field)}
        assert secret == {"password", "keys", "main_key", "named_keys"}
        for side in (pair.old, pair.new):
            assert side is not None
            assert b"hunter" not in side.SerializeToString()
