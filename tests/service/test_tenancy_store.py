"""What every store of the tenancy service promises, asked of each of them."""

import asyncio
from typing import Any

import pytest

from services.tenancy.store.conditions import All, AtMost, Equals, Exists, In, Missing
from services.tenancy.store.conditions import Any as AnyOf
from services.tenancy.store.keys import PlatformScope, TenantScope
from services.tenancy.store.memory import MemoryStore
from services.tenancy.store.port import (
    Add,
    Change,
    Check,
    ConditionFailed,
    Delete,
    Item,
    ItemTooLarge,
    Put,
    Remove,
    RequestInvalid,
    Set,
    SetIfMissing,
    Store,
    TokenReused,
    Update,
)
from tests.service.tenancy_stores import full, new_tenant

PLATFORM = PlatformScope()


@pytest.fixture
def scope() -> TenantScope:
    return TenantScope(new_tenant())


async def test_a_written_item_is_read_back_with_its_types(
    tenancy_store: Store, scope: TenantScope
) -> None:
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
    await tenancy_store.write(Put(key, attributes))
    assert await tenancy_store.get(key) == full(key, **attributes)
    assert await tenancy_store.get(scope.account("a2")) is None


async def test_what_is_read_is_a_copy(tenancy_store: Store, scope: TenantScope) -> None:
    key = scope.account("a1")
    mine: list[Any] = ["a"]
    await tenancy_store.write(Put(key, {"list": mine}))
    mine.append("b")
    found = await tenancy_store.get(key)
    assert found is not None
    found["list"] = "other"
    assert await tenancy_store.get(key) == full(key, list=["a"])


async def test_many_are_read_at_once_in_their_order(
    tenancy_store: Store, scope: TenantScope
) -> None:
    keys = [scope.account(f"a{number}") for number in range(100)]
    for number in (0, 57, 99):
        await tenancy_store.write(Put(keys[number], {"number": number}))
    found = await tenancy_store.get_many(list(reversed(keys)))
    assert {index: item for index, item in enumerate(found) if item} == {
        0: full(keys[99], number=99),
        42: full(keys[57], number=57),
        99: full(keys[0], number=0),
    }
    assert await tenancy_store.get_many([]) == []
    quota, account = scope.quota(), keys[0]
    assert await tenancy_store.get_many([quota, account]) == [None, full(account, number=0)]
    with pytest.raises(ValueError, match="at most 100"):
        await tenancy_store.get_many([*keys, scope.account("more")])
    with pytest.raises(ValueError, match="twice"):
        await tenancy_store.get_many([keys[0], keys[0]])


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
async def test_conditions(
    tenancy_store: Store, scope: TenantScope, condition: Any, is_met: bool
) -> None:
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
    await tenancy_store.write(Put(key, before))
    update = Update(key, [Set("size", 2)], condition)
    if is_met:
        await tenancy_store.write(update)
        assert await tenancy_store.get(key) == full(key, **before | {"size": 2})
        return
    with pytest.raises(ConditionFailed) as failed:
        await tenancy_store.write(update)
    assert (failed.value.position, failed.value.item) == (0, full(key, **before))
    assert await tenancy_store.get(key) == full(key, **before)


@pytest.mark.parametrize("condition", MIXED, ids=repr)
async def test_values_of_different_types_compare_to_nothing(
    scope: TenantScope, condition: Any
) -> None:
    store, key = MemoryStore(), scope.account("a1")
    await store.write(Put(key, {"yes": True, "number": 1, "text": "1"}))
    with pytest.raises(ConditionFailed):
        await store.write(Update(key, [Set("size", 2)], condition))


async def test_changes(tenancy_store: Store, scope: TenantScope) -> None:
    key = scope.account("a1")
    await tenancy_store.write(Put(key, {"kept": 1, "changed": 1, "removed": 1, "counted": 40}))
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
    await tenancy_store.write(Update(key, changes))
    assert await tenancy_store.get(key) == full(
        key, kept=1, changed="x", name={"in": ["a"]}, added=2, counted=42, counted_new=-3
    )


async def test_an_update_makes_no_item_unless_it_may(
    tenancy_store: Store, scope: TenantScope
) -> None:
    key = scope.account("a1")
    for condition in (None, Missing("deleted")):
        with pytest.raises(ConditionFailed) as failed:
            await tenancy_store.write(Update(key, [Set("a", 1)], condition))
        assert failed.value.item is None
    assert await tenancy_store.get(key) is None
    await tenancy_store.write(Update(key, [Add("a", 1)], upsert=True))
    await tenancy_store.write(Update(key, [Add("a", 1)], upsert=True))
    assert await tenancy_store.get(key) == full(key, a=2)


async def test_puts_and_deletes_under_conditions(tenancy_store: Store, scope: TenantScope) -> None:
    key = scope.account("a1")
    await tenancy_store.write(Put(key, {"a": 1}, Missing()))
    with pytest.raises(ConditionFailed) as failed:
        await tenancy_store.write(Put(key, {"a": 2}, Missing()))
    assert failed.value.item == full(key, a=1)
    with pytest.raises(ConditionFailed):
        await tenancy_store.write(Delete(key, Equals("a", 2)))
    await tenancy_store.write(Put(key, {"b": 1}))
    assert await tenancy_store.get(key) == full(key, b=1)
    await tenancy_store.write(Delete(key, Equals("b", 1)))
    await tenancy_store.write(Delete(key))
    assert await tenancy_store.get(key) is None


async def test_a_transaction_is_done_whole_or_not(tenancy_store: Store, scope: TenantScope) -> None:
    account, guard, quota = scope.account("a1"), scope.account_guard("aws", "1"), scope.quota()
    create = (
        Update(
            quota, [Add("accounts", 1)], AnyOf(Missing("accounts"), AtMost("accounts", 1)), True
        ),
        Put(account, {"a": 1}, Missing()),
        Put(guard, {"owner": "a1"}, Missing()),
    )
    await tenancy_store.write(*create)
    other = (create[0], Put(scope.account("a2"), {"a": 2}, Missing()), create[2])
    with pytest.raises(ConditionFailed) as failed:
        await tenancy_store.write(*other)
    assert (failed.value.position, failed.value.item) == (2, full(guard, owner="a1"))
    assert await tenancy_store.get_many([scope.account("a2"), quota]) == [
        None,
        full(quota, accounts=1),
    ]
    await tenancy_store.write(
        Check(guard, Equals("owner", "a1")),
        Update(account, [Set("a", 3)], Equals("a", 1)),
        Delete(quota, Exists()),
    )
    assert await tenancy_store.get_many([account, quota]) == [full(account, a=3), None]
    with pytest.raises(ConditionFailed) as checked:
        await tenancy_store.write(Put(quota, {}), Check(guard, Missing()))
    assert checked.value.position == 1
    assert await tenancy_store.get(quota) is None


async def test_a_transaction_of_a_hundred_actions(tenancy_store: Store, scope: TenantScope) -> None:
    puts = [Put(scope.account(f"a{number:03d}"), {"n": number}) for number in range(101)]
    with pytest.raises(ValueError, match="1 to 100"):
        await tenancy_store.write(*puts)
    await tenancy_store.write(*puts[:100])
    page = await tenancy_store.query(scope.accounts())
    assert [item["n"] for item in page.items] == list(range(100))


async def test_a_token_lets_a_transaction_happen_once(
    tenancy_store: Store, scope: TenantScope
) -> None:
    quota, account = scope.quota(), scope.account("a1")
    actions = (Update(quota, [Add("n", 1)], upsert=True), Put(account, {}))
    token = f"once-{scope.tenant}"[:36]
    for _ in range(3):
        await tenancy_store.write(*actions, token=token)
    assert await tenancy_store.get(quota) == full(quota, n=1)
    with pytest.raises(TokenReused):
        await tenancy_store.write(actions[0], Put(account, {"x": 1}), token=token)
    assert await tenancy_store.get(account) == full(account)
    # One that failed is not remembered.
    failing = Put(account, {"y": 1}, Exists("x"))
    with pytest.raises(ConditionFailed):
        await tenancy_store.write(failing, token="f" + token[1:])
    await tenancy_store.write(Update(account, [Set("x", 1)]))
    await tenancy_store.write(failing, token="f" + token[1:])
    assert await tenancy_store.get(account) == full(account, y=1)


async def test_one_of_many_at_once_wins(tenancy_store: Store, scope: TenantScope) -> None:
    schedule = scope.schedule("s1")
    await tenancy_store.write(Put(schedule, {"version": 1}))

    async def claim(number: int) -> bool:
        try:
            await tenancy_store.write(
                Update(schedule, [Set("version", 2), Set("by", number)], Equals("version", 1)),
                Put(scope.execution("s1", 60), {"by": number}, Missing()),
            )
        except ConditionFailed:
            return False
        return True

    won = await asyncio.gather(*map(claim, range(12)))
    assert won.count(True) == 1
    winner = won.index(True)
    assert await tenancy_store.get(schedule) == full(schedule, version=2, by=winner)
    execution = scope.execution("s1", 60)
    assert await tenancy_store.get(execution) == full(execution, by=winner)


async def test_no_addition_is_lost(tenancy_store: Store, scope: TenantScope) -> None:
    quota = scope.quota()
    add = Update(quota, [Add("n", 1)], upsert=True)
    await asyncio.gather(*(tenancy_store.write(add) for _ in range(40)))
    assert await tenancy_store.get(quota) == full(quota, n=40)


async def test_what_no_store_takes(tenancy_store: Store, scope: TenantScope) -> None:
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
            await tenancy_store.write(*actions)
    with pytest.raises(ValueError, match="36"):
        await tenancy_store.write(put, token="x" * 37)
    assert await tenancy_store.get(key) is None


async def test_an_item_is_at_most_400_kilobytes(tenancy_store: Store, scope: TenantScope) -> None:
    key = scope.account("a1")
    await tenancy_store.write(Put(key, {"text": "x" * 390_000}))
    with pytest.raises(ItemTooLarge):
        await tenancy_store.write(Put(key, {"text": "x" * 410_000}))
    with pytest.raises(ItemTooLarge):
        await tenancy_store.write(Update(key, [Set("more", "x" * 20_000)]))
    with pytest.raises(ItemTooLarge):
        await tenancy_store.write(Put(key, {"text": "x" * 410_000}), Put(scope.quota(), {}))
    assert await tenancy_store.get(scope.quota()) is None
    await tenancy_store.write(Delete(key))


async def test_a_text_is_not_counted_up(tenancy_store: Store, scope: TenantScope) -> None:
    key = scope.account("a1")
    await tenancy_store.write(Put(key, {"text": "x"}))
    with pytest.raises(RequestInvalid):
        await tenancy_store.write(Update(key, [Add("text", 1)]))
    assert await tenancy_store.get(key) == full(key, text="x")
