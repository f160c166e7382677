"""Requests that are done once, counters that stay within limits, values that occur once."""

import asyncio

import pytest
from google.protobuf.message import Message

from mesh.errors import RequestIdReused
from secmesh.tenancy.v1 import account_pb2, provider_pb2
from services.tenancy.store.conditions import Missing
from services.tenancy.store.guards import claim, exchange, owner_of, release
from services.tenancy.store.idempotency import REMEMBERED_SECONDS, Requests
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.memory import MemoryStore
from services.tenancy.store.port import ConditionFailed, Put
from services.tenancy.store.quotas import Taking, give_back, take, used_up
from services.tenancy.store.tables import Table
from tests.unit.tenancy_clock import TurnedClock

SCOPE, OTHER = TenantScope("acme"), TenantScope("other")
REQUEST = account_pb2.Account(account_name="Production", external_id="hush")
NAME = "tenants/acme/accounts/a1"


class World:
    def __init__(self) -> None:
        self.clock = TurnedClock()
        self.store = MemoryStore(self.clock)
        self.requests = Requests(self.store, self.clock, b"k" * 32)

    async def create(self, account: str, request: Message = REQUEST, request_id: str = "r1") -> str:
        """Create an account as a servicer does: at most two rounds."""
        for _ in range(2):
            replayed = await self.requests.replayed(SCOPE, request_id, request)
            if replayed is not None:
                return replayed
            remembered = self.requests.remember(SCOPE, request_id, request, account)
            try:
                await self.store.write(*remembered, Put(SCOPE.account(account), {}, Missing()))
            except ConditionFailed as failed:
                if failed.position == 0 and remembered:
                    continue
                raise
            return account
        raise AssertionError("neither done nor replayed")


async def test_a_request_is_done_once() -> None:
    world = World()
    assert await world.create("a1") == "a1"
    assert await world.create("a2") == "a1"
    assert len(world.store.items(Table.ACCOUNTS)) == 1


async def test_two_at_once_are_one() -> None:
    world = World()
    answers = await asyncio.gather(*(world.create(f"a{number}") for number in range(5)))
    assert len(set(answers)) == 1
    assert len(world.store.items(Table.ACCOUNTS)) == 1


async def test_an_id_stands_for_one_request() -> None:
    world = World()
    await world.create("a1")
    for other in (
        account_pb2.Account(account_name="Production"),
        account_pb2.Account(account_name="Production", external_id="hush", description="x"),
        provider_pb2.Provider(provider_name="Production"),
    ):
        with pytest.raises(RequestIdReused):
            await world.create("a2", other)
    assert await world.requests.replayed(OTHER, "r1", REQUEST) is None
    assert await world.requests.replayed(SCOPE, "r2", REQUEST) is None


async def test_without_an_id_each_is_its_own() -> None:
    world = World()
    assert await world.create("a1", request_id="") == "a1"
    assert await world.create("a2", request_id="") == "a2"
    assert world.store.items(Table.TENANTS) == []


async def test_a_request_is_forgotten_after_a_day() -> None:
    world = World()
    await world.create("a1")
    world.clock.turn(REMEMBERED_SECONDS - 1)
    assert await world.create("a2") == "a1"
    world.clock.turn(1)
    # DynamoDB has not removed the item yet.
    assert await world.create("a2") == "a2"
    assert await world.create("a3") == "a2"


async def test_no_guess_of_a_request_can_be_checked() -> None:
    world = World()
    await world.create("a1")
    (item,) = world.store.items(Table.TENANTS)
    other = Requests(world.store, world.clock, b"o" * 32)
    assert other.remember(SCOPE, "r1", REQUEST, "a1") != world.requests.remember(
        SCOPE, "r1", REQUEST, "a1"
    )
    assert "hush" not in repr(item)
    assert item["expires_at"] == world.clock.now() // 1_000_000 + REMEMBERED_SECONDS


async def test_the_last_place_is_taken_once() -> None:
    store = MemoryStore()
    positions: list[int] = []

    async def create(number: int) -> bool:
        try:
            await store.write(
                take(SCOPE, Taking("accounts", 3)), Put(SCOPE.account(f"a{number}"), {})
            )
        except ConditionFailed as failed:
            positions.append(failed.position)
            return False
        return True

    assert (await asyncio.gather(*map(create, range(8)))).count(True) == 3
    await store.write(give_back(SCOPE, accounts=1))
    assert await create(9)
    assert not await create(10)
    assert positions == [0] * 6


async def test_all_counters_move_or_none() -> None:
    store = MemoryStore()
    takings = Taking("accounts", 5, 2), Taking("schedules", 2, 2)
    await store.write(take(SCOPE, *takings))
    with pytest.raises(ConditionFailed) as failed:
        await store.write(take(SCOPE, *takings))
    assert used_up(failed.value.item, *takings) == takings[1]
    await store.write(give_back(SCOPE, schedules=2))
    await store.write(take(SCOPE, *takings))
    item = await store.get(SCOPE.quota())
    assert item is not None
    assert (item["accounts"], item["schedules"]) == (4, 2)


@pytest.mark.parametrize("limit", [0, 1])
async def test_more_than_there_can_ever_be(limit: int) -> None:
    store = MemoryStore()
    with pytest.raises(ConditionFailed) as failed:
        await store.write(take(SCOPE, Taking("accounts", limit, 2)))
    assert failed.value.item is None
    assert used_up(None, Taking("accounts", limit, 2)).limit == limit


async def test_a_value_has_one_owner() -> None:
    store = MemoryStore()
    key = SCOPE.provider_guard("aws", "Main")
    await store.write(claim(key, "p1"))
    with pytest.raises(ConditionFailed) as taken:
        await store.write(claim(SCOPE.provider_guard("aws", " MAIN "), "p2"))
    assert owner_of(taken.value.item) == "p1"
    with pytest.raises(ConditionFailed):
        await store.write(release(key, "p2"))
    await store.write(claim(SCOPE.provider_guard("gcp", "Main"), "p2"))
    await store.write(release(key, "p1"))
    await store.write(claim(key, "p2"))
    assert owner_of(await store.get(key)) == "p2"
    assert owner_of(None) == ""


async def test_a_rename_exchanges_values() -> None:
    store = MemoryStore()
    old, new = SCOPE.provider_guard("aws", "old"), SCOPE.provider_guard("aws", "new")
    await store.write(claim(old, "p1"))
    await store.write(*exchange(old, new, "p1"))
    assert [owner_of(each) for each in await store.get_many([old, new])] == ["", "p1"]
    assert exchange(new, SCOPE.provider_guard("aws", "NEW"), "p1") == ()
