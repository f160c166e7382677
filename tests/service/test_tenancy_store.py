"""What every store of the tenancy service promises, asked of each of them."""

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import pytest

from mesh.embedded.aws import AwsEndpoint
from services.tenancy.store.conditions import All, AtMost, Equals, Exists, In, Missing
from services.tenancy.store.conditions import Any as AnyOf
from services.tenancy.store.keys import PlatformScope, TenantScope, key_of
from services.tenancy.store.memory import MemoryStore
from services.tenancy.store.port import (
    Add,
    Between,
    Change,
    Check,
    ConditionFailed,
    Delete,
    Item,
    ItemTooLarge,
    Key,
    Prefix,
    Put,
    Query,
    Remove,
    RequestInvalid,
    Set,
    SetIfMissing,
    Store,
    TokenReused,
    Update,
    UpTo,
)
from services.tenancy.store.tables import Table
from tests.service.tenancy_stores import embedded_store, made_tables, new_tenant

PLATFORM = PlatformScope()


@pytest.fixture(scope="module")
def embedded(aws: AwsEndpoint) -> Iterator[Store]:
    with embedded_store(aws.url, made_tables(aws.url)) as made:
        yield made


ELSEWHERE = os.environ.get("SECMESH_TEST_DYNAMODB_ENDPOINT", "")
"""A DynamoDB Local to be tried as well, such as http://127.0.0.1:8000."""


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Store]:
    with embedded_store(ELSEWHERE, made_tables(ELSEWHERE)) as made:
        yield made


@pytest.fixture(params=["memory", "embedded", *(["elsewhere"] if ELSEWHERE else [])])
def store(request: pytest.FixtureRequest) -> Store:
    if request.param == "memory":
        return MemoryStore()
    made: Store = request.getfixturevalue(request.param)
    return made


@pytest.fixture
def scope() -> TenantScope:
    return TenantScope(new_tenant())


def full(key: Key, **attributes: Any) -> Item:
    return {"pk": key.pk, "sk": key.sk, **attributes}


async def test_a_written_item_is_read_back_with_its_types(store: Store, scope: TenantScope) -> None:
    key = scope.account("a1")
    attributes: Item = {
        "text": "naïve #",
        "empty": "",
        "number": -(2**62),
        "yes": True,
        "no": False,
        "bytes": b"\x00\xff",
        "list": ["a", 1, [False], {"b": b"c"}],
        "map": {"x": {"y": []}, "size": 2},
    }
    await store.write(Put(key, attributes))
    assert await store.get(key) == full(key, **attributes)
    assert await store.get(scope.account("a2")) is None


async def test_what_is_read_is_a_copy(store: Store, scope: TenantScope) -> None:
    key = scope.account("a1")
    mine: list[Any] = ["a"]
    await store.write(Put(key, {"list": mine}))
    mine.append("b")
    found = await store.get(key)
    assert found is not None
    found["list"] = "other"
    assert await store.get(key) == full(key, list=["a"])


async def test_many_are_read_at_once_in_their_order(store: Store, scope: TenantScope) -> None:
    keys = [scope.account(f"a{number}") for number in range(100)]
    for number in (0, 57, 99):
        await store.write(Put(keys[number], {"number": number}))
    found = await store.get_many(list(reversed(keys)))
    assert {index: item for index, item in enumerate(found) if item} == {
        0: full(keys[99], number=99),
        42: full(keys[57], number=57),
        99: full(keys[0], number=0),
    }
    assert await store.get_many([]) == []
    quota, account = scope.quota(), keys[0]
    assert await store.get_many([quota, account]) == [None, full(account, number=0)]
    with pytest.raises(ValueError, match="at most 100"):
        await store.get_many([*keys, scope.account("more")])
    with pytest.raises(ValueError, match="twice"):
        await store.get_many([keys[0], keys[0]])


CONDITIONS = [
    (Exists(), True),
    (Missing(), False),
    (Exists("nothing"), False),
    (Missing("nothing"), True),
    (Equals("text", "b"), True),
    (Equals("text", "c"), False),
    (Equals("number", 7), True),
    (Equals("number", "7"), False),
    (Equals("yes", True), True),
    (Equals("list", ["a", {"b": 1}]), True),
    (Equals("list", ["a", {"b": 2}]), False),
    (Equals("nothing", ""), False),
    (AtMost("number", 7), True),
    (AtMost("number", 6), False),
    (AtMost("text", "b"), True),
    (AtMost("text", "a"), False),
    (AtMost("bytes", b"\x01"), True),
    (AtMost("nothing", 10**9), False),
    (In("text", ("a", "b")), True),
    (In("text", ("a", "c")), False),
    (In("number", tuple(range(100))), True),
    (All(Exists(), Equals("number", 7)), True),
    (All(Exists(), Equals("number", 8)), False),
    (AnyOf(Missing(), Equals("number", 7)), True),
    (AnyOf(Missing(), Equals("number", 8)), False),
    (All(AnyOf(Missing("nothing"), Exists("size")), AnyOf(Equals("text", "b"), Missing())), True),
]


MIXED = [Equals("yes", 1), Equals("number", True), AtMost("number", "9"), AtMost("text", 9)]
"""Moto takes True for 1, and fails where a number is compared with a text."""


@pytest.mark.parametrize(("condition", "is_met"), CONDITIONS, ids=lambda each: repr(each)[:40])
async def test_conditions(store: Store, scope: TenantScope, condition: Any, is_met: bool) -> None:
    key = scope.account("a1")
    # "size" is a reserved word of DynamoDB.
    before: Item = {
        "text": "b",
        "number": 7,
        "yes": True,
        "bytes": b"\x00\xff",
        "list": ["a", {"b": 1}],
        "size": 1,
    }
    await store.write(Put(key, before))
    update = Update(key, [Set("size", 2)], condition)
    if is_met:
        await store.write(update)
        assert await store.get(key) == full(key, **before | {"size": 2})
        return
    with pytest.raises(ConditionFailed) as failed:
        await store.write(update)
    assert (failed.value.position, failed.value.item) == (0, full(key, **before))
    assert await store.get(key) == full(key, **before)


@pytest.mark.parametrize("condition", MIXED, ids=repr)
async def test_values_of_different_types_compare_to_nothing(
    scope: TenantScope, condition: Any
) -> None:
    store, key = MemoryStore(), scope.account("a1")
    await store.write(Put(key, {"yes": True, "number": 1, "text": "1"}))
    with pytest.raises(ConditionFailed):
        await store.write(Update(key, [Set("size", 2)], condition))


async def test_changes(store: Store, scope: TenantScope) -> None:
    key = scope.account("a1")
    await store.write(Put(key, {"kept": 1, "changed": 1, "removed": 1, "counted": 40}))
    changes: list[Change] = [
        Set("changed", "x"),
        Set("name", {"in": ["a"]}),
        SetIfMissing("kept", 2),
        SetIfMissing("added", 2),
        Remove("removed"),
        Remove("nothing"),
        Add("counted", 2),
        Add("counted_new", -3),
    ]
    await store.write(Update(key, changes))
    assert await store.get(key) == full(
        key, kept=1, changed="x", name={"in": ["a"]}, added=2, counted=42, counted_new=-3
    )


async def test_an_update_makes_no_item_unless_it_may(store: Store, scope: TenantScope) -> None:
    key = scope.account("a1")
    for condition in (None, Missing("deleted")):
        with pytest.raises(ConditionFailed) as failed:
            await store.write(Update(key, [Set("a", 1)], condition))
        assert failed.value.item is None
    assert await store.get(key) is None
    await store.write(Update(key, [Add("a", 1)], upsert=True))
    await store.write(Update(key, [Add("a", 1)], upsert=True))
    assert await store.get(key) == full(key, a=2)


async def test_puts_and_deletes_under_conditions(store: Store, scope: TenantScope) -> None:
    key = scope.account("a1")
    await store.write(Put(key, {"a": 1}, Missing()))
    with pytest.raises(ConditionFailed) as failed:
        await store.write(Put(key, {"a": 2}, Missing()))
    assert failed.value.item == full(key, a=1)
    with pytest.raises(ConditionFailed):
        await store.write(Delete(key, Equals("a", 2)))
    await store.write(Put(key, {"b": 1}))
    assert await store.get(key) == full(key, b=1)
    await store.write(Delete(key, Equals("b", 1)))
    await store.write(Delete(key))
    assert await store.get(key) is None


async def test_a_transaction_is_done_whole_or_not(store: Store, scope: TenantScope) -> None:
    account, guard, quota = scope.account("a1"), scope.account_guard("aws", "1"), scope.quota()
    create = (
        Update(
            quota, [Add("accounts", 1)], AnyOf(Missing("accounts"), AtMost("accounts", 1)), True
        ),
        Put(account, {"a": 1}, Missing()),
        Put(guard, {"owner": "a1"}, Missing()),
    )
    await store.write(*create)
    other = (create[0], Put(scope.account("a2"), {"a": 2}, Missing()), create[2])
    with pytest.raises(ConditionFailed) as failed:
        await store.write(*other)
    assert (failed.value.position, failed.value.item) == (2, full(guard, owner="a1"))
    assert await store.get_many([scope.account("a2"), quota]) == [None, full(quota, accounts=1)]
    await store.write(
        Check(guard, Equals("owner", "a1")),
        Update(account, [Set("a", 3)], Equals("a", 1)),
        Delete(quota, Exists()),
    )
    assert await store.get_many([account, quota]) == [full(account, a=3), None]
    with pytest.raises(ConditionFailed) as checked:
        await store.write(Put(quota, {}), Check(guard, Missing()))
    assert checked.value.position == 1
    assert await store.get(quota) is None


async def test_a_transaction_of_a_hundred_actions(store: Store, scope: TenantScope) -> None:
    puts = [Put(scope.account(f"a{number:03d}"), {"n": number}) for number in range(101)]
    with pytest.raises(ValueError, match="1 to 100"):
        await store.write(*puts)
    await store.write(*puts[:100])
    page = await store.query(scope.accounts())
    assert [item["n"] for item in page.items] == list(range(100))


async def test_a_token_lets_a_transaction_happen_once(store: Store, scope: TenantScope) -> None:
    quota, account = scope.quota(), scope.account("a1")
    actions = (Update(quota, [Add("n", 1)], upsert=True), Put(account, {}))
    token = f"once-{scope.tenant}"[:36]
    for _ in range(3):
        await store.write(*actions, token=token)
    assert await store.get(quota) == full(quota, n=1)
    with pytest.raises(TokenReused):
        await store.write(actions[0], Put(account, {"x": 1}), token=token)
    assert await store.get(account) == full(account)
    # One that failed is not remembered.
    failing = Put(account, {"y": 1}, Exists("x"))
    with pytest.raises(ConditionFailed):
        await store.write(failing, token="f" + token[1:])
    await store.write(Update(account, [Set("x", 1)]))
    await store.write(failing, token="f" + token[1:])
    assert await store.get(account) == full(account, y=1)


async def test_one_of_many_at_once_wins(store: Store, scope: TenantScope) -> None:
    schedule = scope.schedule("s1")
    await store.write(Put(schedule, {"version": 1}))

    async def claim(number: int) -> bool:
        try:
            await store.write(
                Update(schedule, [Set("version", 2), Set("by", number)], Equals("version", 1)),
                Put(scope.execution("s1", 60), {"by": number}, Missing()),
            )
        except ConditionFailed:
            return False
        return True

    won = await asyncio.gather(*map(claim, range(12)))
    assert won.count(True) == 1
    winner = won.index(True)
    assert await store.get(schedule) == full(schedule, version=2, by=winner)
    execution = scope.execution("s1", 60)
    assert await store.get(execution) == full(execution, by=winner)


async def test_no_addition_is_lost(store: Store, scope: TenantScope) -> None:
    quota = scope.quota()
    add = Update(quota, [Add("n", 1)], upsert=True)
    await asyncio.gather(*(store.write(add) for _ in range(40)))
    assert await store.get(quota) == full(quota, n=40)


async def test_a_partition_is_read_in_order(store: Store, scope: TenantScope) -> None:
    other = TenantScope(new_tenant())
    for name in ("b", "a", "é", "z", "B"):
        await store.write(Put(scope.provider(name), {"id": name}))
    await store.write(Put(other.provider("c"), {"id": "c"}))
    await store.write(Put(scope.provider_guard("aws", "a"), {"owner": "a"}))
    page = await store.query(scope.providers())
    # As their UTF-8 bytes are.
    assert [item["id"] for item in page.items] == ["B", "a", "b", "z", "é"]
    assert page.next is None


async def test_sort_keys_within_bounds(store: Store, scope: TenantScope) -> None:
    for fire in (100, 200, 300, 400):
        await store.write(Put(scope.execution("s1", fire), {"fire": fire}))
    await store.write(Put(scope.manual_execution("s1", "x"), {"fire": 0}))
    pk = scope.execution("s1", 100).pk

    async def fires(sk: Any, *, forward: bool = True) -> list[Any]:
        query = Query(Table.EXECUTIONS, pk, sk=sk, forward=forward, consistent=True)
        return [item["fire"] for item in (await store.query(query)).items]

    assert await fires(Prefix("F#")) == [100, 200, 300, 400]
    assert await fires(Prefix("F#"), forward=False) == [400, 300, 200, 100]
    assert await fires(Between("F#0000000200", "F#0000000300")) == [200, 300]
    assert await fires(Between("F#0000000300", "F#0000000200")) == []
    assert await fires(UpTo("F#0000000300")) == [100, 200, 300]
    assert await fires(UpTo("F#0000000300"), forward=False) == [300, 200, 100]
    assert await fires(None) == [100, 200, 300, 400, 0]
    assert await fires(Prefix("nothing")) == []
    page = await store.query(scope.executions_of_schedule("s1", 150, 300))
    assert [item["fire"] for item in page.items] == [200, 300]


@pytest.mark.parametrize("forward", [True, False])
async def test_pages_go_on_where_they_ended(
    store: Store, scope: TenantScope, forward: bool
) -> None:
    expected = [f"a{number}" for number in range(7)]
    for name in expected:
        await store.write(Put(scope.account(name), {"id": name}))
    query = Query(scope.account("x").table, scope.tenant, limit=3, forward=forward)
    seen: list[Any] = []
    start = None
    for _ in range(4):
        page = await store.query(Query(**{**vars(query), "start": start}))
        seen += [item["id"] for item in page.items]
        start = page.next
        if start is None:
            break
        # Where a page ended may be gone by the time of the next.
        await store.write(Delete(scope.account(str(page.items[-1]["id"]))))
    assert start is None
    assert seen == (expected if forward else expected[::-1])


async def test_an_index_holds_what_has_its_keys(store: Store, scope: TenantScope) -> None:
    def account(name: str, status: str) -> Put:
        place = scope.by_provider("p1", status, name) | PLATFORM.by_account_id(name)
        return Put(scope.account(name), {"account_id": name, **place})

    ids = [f"{scope.tenant}-{letter}" for letter in "abc"]
    await store.write(*map(account, ids, ("FAILED", "ACTIVE", "FAILED")))
    await store.write(Put(scope.account("outside"), {"account_id": "outside"}))

    async def found(query: Query) -> list[Any]:
        return [item["account_id"] for item in (await store.query(query)).items]

    assert await found(scope.accounts_of_provider("p1")) == [ids[1], ids[0], ids[2]]
    assert await found(scope.accounts_of_provider("p1", "FAILED")) == [ids[0], ids[2]]
    assert await found(scope.accounts_of_provider("p2")) == []
    # An index of keys shows nothing else.
    (entry,) = (await store.query(PLATFORM.account(ids[0]))).items
    key = scope.account(ids[0])
    assert entry == full(key, by_id_pk=ids[0])
    assert key_of(Table.ACCOUNTS, entry) == key
    # It follows: a change of place, and one out of it.
    await store.write(account(ids[0], "ACTIVE"))
    assert await found(scope.accounts_of_provider("p1", "ACTIVE")) == [ids[0], ids[1]]
    gone = [Remove(name) for name in ("by_provider_pk", "by_provider_sk")]
    await store.write(Update(scope.account(ids[1]), gone))
    assert await found(scope.accounts_of_provider("p1")) == [ids[0], ids[2]]
    await store.write(Delete(scope.account(ids[2])))
    assert await found(scope.accounts_of_provider("p1")) == [ids[0]]


async def test_pages_of_an_index_with_equal_sort_keys(store: Store, scope: TenantScope) -> None:
    expected = set()
    for number in range(5):
        key = scope.scan_result(f"a{number}", 1_000_000, f"e{number}")
        expected.add(key.pk)
        places = scope.scan_result_indexes(f"e{number}", 0, 1_000_000) | {"by_tenant_sk": "same"}
        await store.write(Put(key, places))
    query = scope.scan_results_of_month("197001")
    seen: list[Any] = []
    start = None
    for _ in range(6):
        page = await store.query(Query(**{**vars(query), "start": start, "limit": 2}))
        seen += [item["pk"] for item in page.items]
        start = page.next
        if start is None:
            break
    assert len(seen) == len(expected)
    assert set(seen) == expected


async def test_the_index_of_what_is_due_shows_versions(store: Store, scope: TenantScope) -> None:
    shard = int(scope.tenant[1:], 36) % 10_000 + 100  # No other test polls it.
    for name, fire in (("s1", 300), ("s2", 100), ("s3", 200)):
        place = PLATFORM.due_place(shard, fire, name)
        await store.write(Put(scope.schedule(name), {"version": fire, "body": "x", **place}))
    page = await store.query(PLATFORM.due(shard, 200))
    assert [item["sk"] for item in page.items] == ["S#s2", "S#s3"]
    assert page.items[0] == full(
        scope.schedule("s2"), version=100, **PLATFORM.due_place(shard, 100, "s2")
    )


async def test_what_no_store_takes(store: Store, scope: TenantScope) -> None:
    key = scope.account("a1")
    put = Put(key, {})
    refused: list[tuple[Any, ...]] = [
        (),
        (put, Delete(key)),
        (Check(key, Exists()),),
        (Update(key, []),),
        (Update(key, [Set("a", 1), Remove("a")]),),
        (Update(key, [Set("pk", "other")]),),
        (Put(key, {"sk": "other"}),),
        (Put(key, {"by_provider_pk": ""}),),
        (Put(key, {"by_id_pk": 5}),),
        (Update(key, [Set("by_provider_sk", True)]),),
    ]
    for actions in refused:
        with pytest.raises(ValueError, match=r"\w"):
            await store.write(*actions)
    with pytest.raises(ValueError, match="36"):
        await store.write(put, token="x" * 37)
    assert await store.get(key) is None


async def test_an_item_is_at_most_400_kilobytes(store: Store, scope: TenantScope) -> None:
    key = scope.account("a1")
    await store.write(Put(key, {"text": "x" * 390_000}))
    with pytest.raises(ItemTooLarge):
        await store.write(Put(key, {"text": "x" * 410_000}))
    with pytest.raises(ItemTooLarge):
        await store.write(Update(key, [Set("more", "x" * 20_000)]))
    with pytest.raises(ItemTooLarge):
        await store.write(Put(key, {"text": "x" * 410_000}), Put(scope.quota(), {}))
    assert await store.get(scope.quota()) is None


async def test_a_text_is_not_counted_up(store: Store, scope: TenantScope) -> None:
    key = scope.account("a1")
    await store.write(Put(key, {"text": "x"}))
    with pytest.raises(RequestInvalid):
        await store.write(Update(key, [Add("text", 1)]))
    assert await store.get(key) == full(key, text="x")


async def test_a_page_ends_at_a_megabyte(store: Store, scope: TenantScope) -> None:
    for number in range(4):
        await store.write(Put(scope.account(f"a{number}"), {"text": "x" * 390_000}))
    first = await store.query(scope.accounts())
    assert first.next is not None
    assert 2 <= len(first.items) <= 3
    rest = await store.query(Query(**{**vars(scope.accounts()), "start": first.next}))
    assert len(first.items) + len(rest.items) == 4
