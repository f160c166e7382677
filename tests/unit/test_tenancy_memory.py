"""The store in memory where it does more than others: lag, faults, exact sizes and its bill."""

import asyncio
import time
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from services.tenancy.store.conditions import Any as AnyOf
from services.tenancy.store.conditions import AtMost, Equals, Missing
from services.tenancy.store.keys import PlatformScope, TenantScope, execution_id, shard_of
from services.tenancy.store.memory import MemoryStore
from services.tenancy.store.memory_faults import Faults
from services.tenancy.store.port import (
    Add,
    Check,
    ConditionFailed,
    Conflict,
    Delete,
    Item,
    ItemTooLarge,
    Put,
    Query,
    Remove,
    RequestInvalid,
    Set,
    Store,
    StoreUnavailable,
    Throttled,
    TokenReused,
    Update,
    UpTo,
)
from services.tenancy.store.recorder import Access, Recorder, StoreCall
from services.tenancy.store.tables import Table
from tests.unit.tenancy_clock import TurnedClock

SCOPE, PLATFORM = TenantScope("acme"), PlatformScope()
NOW = 1_800_000_000
SHARDS = 16


class World:
    """A store whose faults and clock a test turns, and what was asked of it."""

    def __init__(self, **faults: Any) -> None:
        self.clock = TurnedClock(NOW)
        self.recorder = Recorder()
        self.faults = Faults(Random(1), **faults)
        self.store = MemoryStore(self.clock, faults=self.faults, observe=self.recorder.observe)

    @property
    def last(self) -> StoreCall:
        return self.recorder.calls[-1]


def scheduled(number: int, fire: int) -> Put:
    """Make a schedule as large as usual (research: 190 bytes are shown in the index)."""
    name = f"{number:08d}-0000-4000-8000-000000000000"
    attributes: Item = {
        "version": 1,
        "enabled": True,
        "cron": "0 2 * * *",
        "note": "x" * 300,
        **SCOPE.schedule_by_account(f"a{number}", name),
        **PLATFORM.due_place(shard_of(name, SHARDS), fire, name),
    }
    return Put(SCOPE.schedule(name), attributes)


# Indexes that lag


async def test_an_index_learns_of_a_write_later() -> None:
    world = World(index_lag=(5.0, 5.0))
    await world.store.write(scheduled(1, NOW))
    query = PLATFORM.due(shard_of("00000001-0000-4000-8000-000000000000", SHARDS), NOW)
    assert (await world.store.query(query)).items == []
    assert await world.store.get(scheduled(1, NOW).key) is not None
    world.clock.turn(4.9)
    assert (await world.store.query(query)).items == []
    world.clock.turn(0.1)
    assert len((await world.store.query(query)).items) == 1


async def test_a_stale_index_still_shows_what_is_gone() -> None:
    world = World()
    put = scheduled(1, NOW)
    await world.store.write(put)
    world.faults.index_lag = (8.0, 8.0)
    await world.store.write(Delete(put.key))
    query = PLATFORM.due(shard_of("00000001-0000-4000-8000-000000000000", SHARDS), NOW)
    assert len((await world.store.query(query)).items) == 1
    world.clock.turn(8)
    assert (await world.store.query(query)).items == []


async def test_writes_of_one_item_arrive_in_their_order() -> None:
    world = World(index_lag=(0.0, 10.0))
    put = scheduled(1, NOW)
    shard = shard_of("00000001-0000-4000-8000-000000000000", SHARDS)
    for version in range(2, 40):
        await world.store.write(replace(put, attributes={**put.attributes, "version": version}))
        shown = (await world.store.query(PLATFORM.due(shard, NOW))).items
        world.clock.turn(0.2)
        later = (await world.store.query(PLATFORM.due(shard, NOW))).items
        assert [item["version"] for item in shown] <= [item["version"] for item in later]
    world.clock.turn(10)
    (entry,) = (await world.store.query(PLATFORM.due(shard, NOW))).items
    assert entry["version"] == 39


# Faults


async def test_throttled_and_unsent_calls_do_nothing() -> None:
    key = SCOPE.quota()
    for faults, error in (({"throttled": 1.0}, Throttled), ({"unsent": 1.0}, StoreUnavailable)):
        world = World(**faults)
        with pytest.raises(error):
            await world.store.write(Put(key, {}))
        with pytest.raises(error):
            await world.store.get(key)
        assert world.store.items(Table.TENANTS) == []
        assert world.last.error == error.__name__


async def test_an_answer_may_be_lost_after_the_write() -> None:
    world = World(unanswered=1.0)
    with pytest.raises(StoreUnavailable):
        await world.store.write(Put(SCOPE.quota(), {"n": 1}))
    assert [item["n"] for item in world.store.items(Table.TENANTS)] == [1]


async def test_conflicts_are_of_transactions_alone() -> None:
    world = World(conflicting=1.0)
    await world.store.write(Put(SCOPE.quota(), {}))
    with pytest.raises(Conflict):
        await world.store.write(Delete(SCOPE.quota()), Put(SCOPE.tenant_key(), {}))
    assert len(world.store.items(Table.TENANTS)) == 1


async def test_faults_come_by_the_chance_that_is_given() -> None:
    async def failures() -> list[int]:
        world = World(throttled=0.3)
        failed = []
        for number in range(50):
            try:
                await world.store.get(SCOPE.quota())
            except Throttled:
                failed.append(number)
        return failed

    first = await failures()
    assert first == await failures()
    assert 5 < len(first) < 25


async def test_a_token_is_remembered_for_ten_minutes() -> None:
    world = World()
    add = Update(SCOPE.quota(), [Add("n", 1)], upsert=True)
    for _ in range(2):
        await world.store.write(add, token="t")
        world.clock.turn(300)
    world.clock.turn(-1)
    with pytest.raises(TokenReused):
        await world.store.write(Update(SCOPE.quota(), [Add("n", 2)]), token="t")
    world.clock.turn(1)
    await world.store.write(add, token="t")
    assert [item["n"] for item in world.store.items(Table.TENANTS)] == [2]


# Sizes


async def test_sizes_count_names_and_values() -> None:
    world = World()
    own = len("acme#quota") + len("META") + len("pksktext")
    largest = "x" * (400 * 1024 - own)
    await world.store.write(Put(SCOPE.quota(), {"text": largest}))
    with pytest.raises(ItemTooLarge):
        await world.store.write(Put(SCOPE.quota(), {"text": largest + "x"}))
    with pytest.raises(ItemTooLarge):
        await world.store.write(
            *(Put(SCOPE.account(f"a{n}"), {"text": "x" * 400_000}) for n in range(11))
        )
    assert world.store.items(Table.ACCOUNTS) == []


# The bill


async def cost(store: MemoryStore, recorder: Recorder, *actions: Any) -> float:
    recorder.calls.clear()
    await store.write(*actions)
    (call,) = recorder.calls
    return call.write_units


async def test_a_read_costs_by_four_kilobytes() -> None:
    world = World()
    key = SCOPE.account("a")
    for size, units in ((0, 1.0), (4000, 1.0), (4200, 2.0), (10_000, 3.0)):
        await world.store.write(Put(key, {"text": "x" * size}))
        await world.store.get(key)
        assert world.last == StoreCall(
            "GetItem", (Access("GetItem", Table.ACCOUNTS, "acme"),), units
        )
        await world.store.get(key, consistent=False)
        assert world.last.read_units == units / 2
    await world.store.get(SCOPE.account("none"), consistent=False)
    assert world.last.read_units == 0.5
    await world.store.get_many([key, SCOPE.account("none")])
    assert (world.last.operation, world.last.read_units) == ("BatchGetItem", 4.0)


async def test_a_write_costs_by_the_larger_item_and_by_index() -> None:
    world = World()
    store, recorder = world.store, world.recorder
    key = SCOPE.account("a")
    place = SCOPE.by_provider("p", "ACTIVE", "a") | PLATFORM.by_account_id("a")
    small: Item = {"text": "x"}
    assert await cost(store, recorder, Put(key, small)) == 1
    assert await cost(store, recorder, Put(key, {"text": "x" * 3000})) == 3
    assert await cost(store, recorder, Put(key, small)) == 3
    # Into two indexes.
    assert await cost(store, recorder, Put(key, {**small, **place})) == 1 + 1 + 1
    # What one of them does not show is no write of it.
    assert await cost(store, recorder, Update(key, [Set("text", "y")])) == 1 + 1
    # A change of place is a removal and an addition.
    moved = Update(key, [Set("by_provider_sk", "FAILED#a")])
    assert await cost(store, recorder, moved) == 1 + 2
    assert await cost(store, recorder, moved) == 1
    # Twice in a transaction, but never in an index.
    assert await cost(store, recorder, moved, Put(SCOPE.quota(), {})) == 2 + 2
    removal = Delete(key), Check(SCOPE.quota(), Missing("text"))
    assert await cost(store, recorder, *removal) == (2 + 1 + 1) + 2


async def test_a_failed_condition_is_billed() -> None:
    world = World()
    with pytest.raises(ConditionFailed):
        await world.store.write(Update(SCOPE.quota(), [Set("a", 1)]))
    assert (world.last.write_units, world.last.error) == (1.0, "ConditionFailed")


@pytest.mark.parametrize("number", [100, 2000])
async def test_a_poll_costs_by_what_is_due_and_not_by_what_there_is(number: int) -> None:
    world = World()
    for each in range(number):
        await world.store.write(scheduled(each, NOW + 3600 if each >= 50 else NOW - each))
    world.recorder.calls.clear()
    found = 0
    for shard in range(SHARDS):
        found += len((await world.store.query(PLATFORM.due(shard, NOW))).items)
    assert found == 50
    assert len(world.recorder.calls) == SHARDS
    assert sum(call.read_units for call in world.recorder.calls) <= 0.5 * SHARDS + 0.024 * 50


async def test_a_claim_costs_nine_units() -> None:
    world = World()
    put = scheduled(1, NOW)
    await world.store.write(put)
    name = put.key.sk.removeprefix("S#")
    execution = SCOPE.execution(name, NOW)
    identity = execution_id(execution)
    places = SCOPE.execution_indexes("a1", NOW, NOW * 1_000_000, identity)
    places |= PLATFORM.lease_place(3, NOW, identity)
    due = PLATFORM.due_place(shard_of(name, SHARDS), NOW + 86400, name)
    changes = [Set("version", 2), *(Set(key, value) for key, value in due.items())]
    claim = (
        Update(put.key, changes, Equals("version", 1)),
        Put(execution, {"status": "QUEUED", "fence": 0, **places}, Missing()),
    )
    assert await cost(world.store, world.recorder, *claim) <= 9
    # A heartbeat changes nothing that an index shows.
    beat = Update(execution, [Set("lease_time", NOW + 120)], Equals("fence", 0))
    assert await cost(world.store, world.recorder, beat) == 1
    done = Update(execution, [Set("status", "DONE"), Remove("lease_pk"), Remove("lease_sk")])
    assert await cost(world.store, world.recorder, done) == 2


# At once


async def test_calls_interleave_and_transactions_do_not() -> None:
    store: Store = MemoryStore()
    limit = AnyOf(Missing("n"), AtMost("n", 9))

    async def create(number: int) -> bool:
        try:
            await store.write(
                Update(SCOPE.quota(), [Add("n", 1)], limit, upsert=True),
                Put(SCOPE.account(f"a{number}"), {}, Missing()),
            )
        except ConditionFailed:
            return False
        return True

    made = await asyncio.gather(*map(create, range(50)))
    assert made.count(True) == 10
    assert len((await store.query(SCOPE.accounts())).items) == 10


async def test_a_full_page_says_that_there_may_be_more() -> None:
    store = MemoryStore()
    for name in ("a", "b"):
        await store.write(Put(SCOPE.account(name), {}))
    page = await store.query(replace(SCOPE.accounts(), limit=2))
    assert page.next is not None
    assert await store.query(replace(SCOPE.accounts(), limit=2, start=page.next)) == type(page)(
        [], None
    )


async def test_a_page_starts_within_its_query() -> None:
    store = MemoryStore()
    for fire in (1, 2, 3):
        await store.write(scheduled(fire, fire))
    query = replace(PLATFORM.due(shard_of(scheduled(3, 3).key.sk[2:], SHARDS), 3), limit=1)
    page = await store.query(query)
    # A poll that has begun goes on with the moment at which it began.
    for forward in (True, False):
        with pytest.raises(RequestInvalid):
            await store.query(replace(query, sk=UpTo("0"), start=page.next, forward=forward))


async def test_a_poll_takes_as_long_however_much_there_is() -> None:
    async def seconds(number: int) -> float:
        store = MemoryStore()
        for each in range(number):
            await store.write(scheduled(each, NOW + 3600))
        query = PLATFORM.due(0, NOW)
        started = time.process_time()
        for _ in range(200):
            await store.query(query)
        return time.process_time() - started

    assert await seconds(2000) < 10 * await seconds(100)


def test_queries_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="no index"):
        Query(Table.TENANTS, "acme", "due")
    with pytest.raises(ValueError, match="consistently"):
        Query(Table.SCHEDULES, "D#00", "due", consistent=True)
    with pytest.raises(ValueError, match="room"):
        Query(Table.TENANTS, "acme", limit=0)
