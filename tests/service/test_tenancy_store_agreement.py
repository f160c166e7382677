"""The store in memory and DynamoDB's stand-in do the same, whatever is asked of them."""

import random
from dataclasses import replace
from typing import Any

import pytest

from services.tenancy.store.conditions import (
    All,
    AtMost,
    Condition,
    Equals,
    Exists,
    In,
    Missing,
)
from services.tenancy.store.conditions import Any as AnyOf
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.memory import MemoryStore
from services.tenancy.store.port import (
    Action,
    Add,
    Between,
    Change,
    Check,
    ConditionFailed,
    Delete,
    Item,
    Prefix,
    Put,
    Query,
    Remove,
    Set,
    SetIfMissing,
    SortCondition,
    Store,
    Update,
    UpTo,
)
from services.tenancy.store.tables import Table
from tests.service.tenancy_stores import new_tenant

NAMES = ["a", "ab", "b", "c", "d"]
STATUSES = ["ACTIVE", "FAILED"]


class Asker:
    """Makes up what is asked, by chance."""

    def __init__(self, seed: int, scope: TenantScope) -> None:
        self._chance = random.Random(seed)
        self._scope = scope

    def condition(self, depth: int = 2) -> Condition:
        pick = self._chance.choice
        if depth and self._chance.random() < 0.3:
            parts = [self.condition(depth - 1) for _ in range(pick([1, 2]))]
            return All(*parts) if pick([True, False]) else AnyOf(*parts)
        simple: list[Condition] = [
            Exists(pick(["pk", "n", "text"])),
            Missing(pick(["pk", "n", "text"])),
            Equals("n", pick([1, 2])),
            AtMost("n", pick([0, 1, 2])),
            In("text", ("x", "y")),
        ]
        return pick(simple)

    def item(self, name: str) -> Item:
        chance = self._chance
        item: Item = {"n": chance.randrange(4), "text": chance.choice("xyz")}
        if chance.random() < 0.3:
            del item["n"]
        if chance.random() < 0.7:
            item |= self._scope.by_provider("p", chance.choice(STATUSES), name)
        return item

    def action(self, name: str, *, alone: bool) -> Action:
        key = self._scope.account(name)
        condition = self.condition() if self._chance.random() < 0.6 else None
        kind = self._chance.randrange(3 if alone else 4)
        if kind == 0:
            return Put(key, self.item(name), condition)
        if kind == 1:
            return Delete(key, condition)
        if kind == 2:
            return Update(key, self.changes(name), condition, self._chance.random() < 0.5)
        return Check(key, self.condition())

    def changes(self, name: str) -> list[Change]:
        moved = self._scope.by_provider("p", self._chance.choice(STATUSES), name)
        changes: list[Change] = [
            Set("text", self._chance.choice("xyz")),
            Add("n", self._chance.choice([-1, 1])),
            SetIfMissing("first", self._chance.randrange(9)),
        ]
        if self._chance.random() < 0.5:
            away = self._chance.choice([True, False])
            changes += [Remove(key) if away else Set(key, moved[key]) for key in moved]
        return self._chance.sample(changes, self._chance.randint(1, len(changes)))

    def actions(self) -> list[Action]:
        names = self._chance.sample(NAMES, self._chance.choice([1, 1, 2, 3]))
        return [self.action(name, alone=len(names) == 1) for name in names]

    def query(self) -> Query:
        pick = self._chance.choice
        of_table: list[SortCondition | None] = [
            None,
            Prefix("A#a"),
            Between("A#ab", "A#c"),
            UpTo("A#b"),
        ]
        of_index: list[SortCondition | None] = [None, Prefix("ACTIVE#"), UpTo("FAILED#b")]
        forward, limit = pick([True, False]), pick([1, 2, 10])
        if pick([True, False]):
            sk = pick(of_table)
            return Query(Table.ACCOUNTS, self._scope.tenant, "", sk, limit, forward)
        pk = str(self._scope.by_provider("p", "ACTIVE", "a")["by_provider_pk"])
        return Query(Table.ACCOUNTS, pk, "by-provider", pick(of_index), limit, forward)


async def outcome(store: Store, actions: list[Action]) -> Any:
    try:
        await store.write(*actions)
    except ConditionFailed as failed:
        return failed.position, failed.item
    return "done"


async def all_pages(store: Store, query: Query) -> list[Item]:
    items: list[Item] = []
    start = None
    while True:
        page = await store.query(replace(query, start=start))
        assert len(page.items) <= query.limit
        items += page.items
        start = page.next
        if start is None:
            return items


@pytest.mark.parametrize("seed", range(6))
async def test_both_stores_agree(embedded_tenancy_store: Store, seed: int) -> None:
    scope = TenantScope(new_tenant())
    asker, memory = Asker(seed, scope), MemoryStore()
    keys = [scope.account(name) for name in NAMES]
    done = 0
    for step in range(40):
        actions = asker.actions()
        expected = await outcome(memory, actions)
        assert await outcome(embedded_tenancy_store, actions) == expected, (step, actions)
        done += expected == "done"
        if step % 4 == 0:
            query = asker.query()
            assert await all_pages(embedded_tenancy_store, query) == await all_pages(
                memory, query
            ), query
    assert await embedded_tenancy_store.get_many(keys) == await memory.get_many(keys)
    assert 5 < done < 36
