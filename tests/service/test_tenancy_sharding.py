"""The number of shards: agreed by all processes, changed without losing what waits."""

import asyncio
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from mesh.embedded.aws import AwsEndpoint
from mesh.identity.keys import create_signing_key
from mesh.server.program import CommandFailed
from secmesh.tenancy.v1.schedule_pb2 import Schedule
from services.tenancy import replica_commands
from services.tenancy.__main__ import TENANCY
from services.tenancy.replica_commands import run_scheduler
from services.tenancy.schedules import item_of, settle
from services.tenancy.scheduling.scheduler import Scheduler, SchedulerPace
from services.tenancy.scheduling.sharding import MAX_SHARDS, Resharding, Sharding, ShardsDiffer
from services.tenancy.settings import TenancySettings
from services.tenancy.store.items import text
from services.tenancy.store.keys import PlatformScope, TenantScope, key_of, shard_of
from services.tenancy.store.memory import MemoryStore
from services.tenancy.store.port import Action, Item, Put, Store, StoreUnavailable
from services.tenancy.store.tables import Table
from tests.service.tenancy_stores import REGION, embedded_store, made_tables, new_tenant
from tests.unit.tenancy_clock import TurnedClock

EIGHT = 1_800_000_000
HOUR = 3600
SCHEDULES = [f"s{number}" for number in range(24)]
LATER = 4_000_000_000


@pytest.fixture
def embedded(aws: AwsEndpoint) -> Iterator[Store]:
    with embedded_store(aws.url, made_tables(aws.url)) as made:
        yield made


@pytest.fixture(params=["memory", "embedded"])
def store(request: pytest.FixtureRequest) -> Store:
    made: Store = (
        MemoryStore() if request.param == "memory" else request.getfixturevalue(request.param)
    )
    return made


class Breaking:
    """A store that does no more writes after so many."""

    def __init__(self, store: Store, writes: int) -> None:
        self._store = store
        self._left = writes
        self.get, self.query = store.get, store.query

    async def write(self, *actions: Action, token: str = "") -> None:
        if not self._left:
            raise StoreUnavailable("killed")
        self._left -= 1
        await self._store.write(*actions, token=token)


async def fill(store: Store, tenant: str, clock: TurnedClock, shards: int) -> None:
    """Half of the schedules have fired: their executions wait, they wait for the next hour."""
    for number, schedule_id in enumerate(SCHEDULES):
        schedule = Schedule(
            name=f"tenants/{tenant}/schedules/{schedule_id}",
            account_id="a1",
            expression="@hourly" if number % 2 else "@daily",
            time_zone="UTC",
        )
        schedule.create_time.seconds = EIGHT - HOUR
        settle(schedule, clock.now())
        key = TenantScope(tenant).schedule(schedule_id)
        await store.write(Put(key, item_of(schedule, 1, shards)))
    clock.turn(HOUR)
    claimed = 0
    scheduler = Scheduler(store, clock, Random(1), pace=SchedulerPace(shards=shards))
    while claimed < len(SCHEDULES) // 2:
        claimed += await scheduler.tick()


async def found(store: Store, table: Table, shards: int) -> list[Item]:
    """What waits, shard by shard; all of it is where that number of shards has it."""
    hits: list[Item] = []
    for shard in range(MAX_SHARDS):
        scope = PlatformScope()
        query = scope.due(shard, LATER) if table is Table.SCHEDULES else scope.visible(shard, LATER)
        page = await store.query(replace(query, limit=1000))
        assert not page.items or shard < shards
        for hit in page.items:
            item = await store.get(key_of(table, hit))
            assert item is not None
            name = "schedule_id" if table is Table.SCHEDULES else "execution_id"
            assert shard_of(text(item, name), shards) == shard
            hits.append(item)
    return hits


@pytest.mark.parametrize(("before", "after"), [(2, 7), (16, 3)])
async def test_all_that_waits_is_moved_however_often_it_breaks_off(
    store: Store, before: int, after: int
) -> None:
    tenant, clock = new_tenant(), TurnedClock(EIGHT)
    await Sharding(store, before).agree()
    await fill(store, tenant, clock, before)
    places = {text(each, "schedule_id"): text(each, "due_sk") for each in
              await found(store, Table.SCHEDULES, before)}  # fmt: skip
    for writes in (0, 1, 5, 11):
        broken = Resharding(Breaking(store, writes), after)  # type: ignore[arg-type]  # no more is used
        with pytest.raises(StoreUnavailable):
            await broken.run(await broken.announce())
        if writes:
            with pytest.raises(ShardsDiffer, match="is being moved"):
                await Sharding(store, after).agree()
    resharding = Resharding(store, after)
    moved = await resharding.run(await resharding.announce())
    assert moved.before == before
    assert moved.schedules + moved.executions > 5
    waiting = await found(store, Table.SCHEDULES, after)
    assert {text(each, "schedule_id"): text(each, "due_sk") for each in waiting} == places
    runs = Counter(
        text(each, "schedule_id") for each in await found(store, Table.EXECUTIONS, after)
    )
    assert runs == dict.fromkeys(SCHEDULES[1::2], 1)
    await Sharding(store, after).agree()
    with pytest.raises(ShardsDiffer, match=f"in {after}: set SECMESH_TENANCY_INDEX_SHARDS"):
        await Sharding(store, before).agree()
    again = Resharding(store, after)
    assert (await again.run(await again.announce())).schedules == 0


async def test_what_was_moved_fires_once(store: Store) -> None:
    tenant, clock = new_tenant(), TurnedClock(EIGHT)
    await fill(store, tenant, clock, 8)
    resharding = Resharding(store, 3)
    await resharding.run(await resharding.announce())
    clock.turn(HOUR)
    scheduler = Scheduler(store, clock, Random(1), pace=SchedulerPace(shards=3))
    assert await scheduler.tick() == len(SCHEDULES) // 2
    assert await scheduler.tick() == 0


async def test_a_claim_by_the_old_number_is_lost_to_the_move() -> None:
    """Whoever read a schedule before it was moved would put it where nobody looks."""
    store, tenant, clock = MemoryStore(), new_tenant(), TurnedClock(EIGHT)
    await fill(store, tenant, clock, 16)
    clock.turn(HOUR)
    stale = Scheduler(Stale(store), clock, Random(1), pace=SchedulerPace(shards=16))  # type: ignore[arg-type]  # serves as a store
    await stale.tick()
    assert stale.counts.lost > stale.counts.claimed
    assert len(await found(store, Table.SCHEDULES, 3)) == len(SCHEDULES)


class Stale:
    """A store that is moved to three shards between a read of a schedule and the next write."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._once = asyncio.Lock()
        self.get, self.query = store.get, store.query

    async def write(self, *actions: Action, token: str = "") -> None:
        async with self._once:
            resharding = Resharding(self._store, 3)
            await resharding.run(await resharding.announce())
        await self._store.write(*actions, token=token)


async def test_of_two_first_processes_one_says_the_number() -> None:
    store = MemoryStore()
    ends = await asyncio.gather(
        *(Sharding(store, shards).agree() for shards in (4, 8, 4, 8)), return_exceptions=True
    )
    assert Counter(type(each) for each in ends) == {type(None): 2, ShardsDiffer: 2}


async def test_two_runs_to_different_numbers_do_not_both_end() -> None:
    store = MemoryStore()
    one, other = Resharding(store, 4), Resharding(store, 8)
    await one.announce()
    before = await other.announce()
    with pytest.raises(ShardsDiffer, match="another run"):
        await one.run(0)
    await other.run(before)
    await Sharding(store, 8).agree()


@pytest.fixture
def deployment(
    aws: AwsEndpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> pytest.MonkeyPatch:
    """An environment with tables of its own."""
    create_signing_key(tmp_path / "keys")
    given = {
        "SECMESH_HOME": str(tmp_path),
        "AWS_ENDPOINT_URL": aws.url,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "SECMESH_TENANCY_ADMIN": "",
        "SECMESH_TENANCY_INDEX_SHARDS": "4",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    for table, name in made_tables(aws.url).items():
        monkeypatch.setenv(table.variable, name)
    return monkeypatch


def test_processes_of_another_number_do_not_start(
    deployment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reshard = ["reshard", "--all-are-stopped"]
    assert TENANCY.main(reshard) == 0
    assert "4 shards, nobody said how many before: 0 schedules" in capsys.readouterr().out
    deployment.setenv("SECMESH_TENANCY_INDEX_SHARDS", "8")
    for command in ("scheduler", "serve"):
        assert TENANCY.main([command]) == 1
        assert "this process has 8 shards, but what waits is in 4" in capsys.readouterr().err
    assert TENANCY.main(reshard) == 0
    assert "8 shards, 4 before: 0 schedules and 0 executions" in capsys.readouterr().out
    deployment.setenv("SECMESH_TENANCY_INDEX_SHARDS", "4")
    assert TENANCY.main(["scheduler"]) == 1


@pytest.mark.usefixtures("deployment")
async def test_a_process_that_runs_ends_when_the_number_changes(
    monkeypatch: pytest.MonkeyPatch, aws: AwsEndpoint
) -> None:
    monkeypatch.setattr(replica_commands, "WATCH_SECONDS", 0.05)
    settings = TenancySettings()
    with embedded_store(aws.url, dict(settings.table_names)) as store:
        running = asyncio.create_task(run_scheduler(settings, Namespace()))
        key = PlatformScope().sharding()
        async with asyncio.timeout(60):
            while await store.get(key) is None:
                await asyncio.sleep(0.05)
        await Resharding(store, 9).announce()
        with pytest.raises(CommandFailed, match="is being moved to 9 shards"):
            async with asyncio.timeout(60):
                await running
