"""Runs beyond the places of a process wait truthfully, in turns, and are lost by nobody."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mesh.embedded.aws import AwsEndpoint
from mesh.embedded.aws_faults import Faults
from mesh.errors import DependencyUnavailable
from secmesh.inventory.v1.sync_pb2 import Sync
from services.inventory.collect.runner import new_sync_id
from services.inventory.collect.source import GLOBAL
from tests.service.collect_world import SAMPLE_ACCOUNT, TENANT, World, world

HELD = "cloudtrail:DescribeTrails"
"""Asked by the unit of cloudtrail_trails alone."""
OTHER = "tenants/other"
ACCOUNTS = "acme=*,other=*"
SHORT = "s3_account_settings"


def account(number: int) -> str:
    return f"{310_000_000_000 + number}"


async def held(made: World, faults: Faults) -> Sync:
    """Start a run that goes on until the gate opens, and wait for its call."""
    wanted = Sync(cloud_account_id=SAMPLE_ACCOUNT, collections=["cloudtrail_trails"])
    sync = await made.runner.start(TENANT, wanted, "")
    async with asyncio.timeout(60):
        while not faults.calls[HELD]:
            await asyncio.sleep(0.01)
    return sync


async def begin(made: World, number: int, tenant: str = TENANT) -> Sync:
    wanted = Sync(cloud_account_id=account(number), collections=[SHORT])
    return await made.runner.start(tenant, wanted, "")


async def owners(made: World, sync: Sync) -> set[str]:
    return {unit.owner for unit in await made.runner.units(sync.name)}


@pytest.fixture
async def one_place(aws: AwsEndpoint, faults: Faults, tmp_path: Path) -> AsyncIterator[World]:
    """A process that executes one run at a time."""
    async with world(aws, tmp_path, runs=1, accounts=ACCOUNTS, lease_seconds=3600) as made:
        yield made


async def test_tenants_take_turns_and_who_waits_says_so(one_place: World, faults: Faults) -> None:
    gate = faults.hold(HELD)
    first = await held(one_place, faults)
    waiting = [await begin(one_place, number) for number in range(3)]
    other = await begin(one_place, 9, OTHER)
    for each in (*waiting, other):
        stands = await one_place.runner.get(each.name)
        assert stands.state == Sync.STATE_RUNNING
        assert (stands.progress.units, stands.progress.units_done) == (1, 0)
        assert await owners(one_place, each) == {""}
    assert await owners(one_place, first) != {""}
    gate.set()
    ended = [await one_place.ended(each) for each in (first, *waiting, other)]
    assert {each.state for each in ended} == {Sync.STATE_SUCCEEDED}
    order = sorted(ended, key=lambda each: each.end_time.ToMicroseconds())
    names = [each.name for each in order]
    # One run of another tenant waits for one of each at most.
    assert names == [each.name for each in (first, waiting[0], other, *waiting[1:])]


async def test_one_tenant_leaves_a_place_to_another(
    aws: AwsEndpoint, faults: Faults, tmp_path: Path
) -> None:
    async with world(aws, tmp_path, runs=2, accounts=ACCOUNTS) as made:
        gate = faults.hold(HELD)
        first = await held(made, faults)
        second = await begin(made, 1)
        other = await made.ended(await begin(made, 9, OTHER))
        assert other.state == Sync.STATE_SUCCEEDED
        assert await owners(made, second) == {""}
        gate.set()
        assert (await made.ended(second)).state == Sync.STATE_SUCCEEDED
        assert (await made.ended(first)).state == Sync.STATE_SUCCEEDED


async def test_a_run_that_waits_is_cancelled_at_once_and_resumed(
    one_place: World, faults: Faults
) -> None:
    gate = faults.hold(HELD)
    first = await held(one_place, faults)
    second, third = await begin(one_place, 1), await begin(one_place, 2)
    before = faults.calls.total()
    await one_place.runner.cancel(second.name)
    cancelled = await one_place.ended(second)
    assert cancelled.state == Sync.STATE_CANCELLED
    assert cancelled.progress.units_done == 0
    assert faults.calls.total() == before
    resumed = await one_place.runner.resume(second.name)
    assert resumed.state == Sync.STATE_RUNNING
    assert not resumed.HasField("cancel_time")
    assert await owners(one_place, second) == {""}
    # Whoever waits may be resumed, too: it goes on waiting.
    assert (await one_place.runner.resume(third.name)).state == Sync.STATE_RUNNING
    gate.set()
    ended = [await one_place.ended(each) for each in (first, third, second)]
    assert {each.state for each in ended} == {Sync.STATE_SUCCEEDED}
    ends = [each.end_time.ToMicroseconds() for each in ended]
    assert ends == sorted(ends)


async def test_what_waits_is_begun_by_whoever_has_a_place(
    one_place: World, aws: AwsEndpoint, faults: Faults, tmp_path: Path
) -> None:
    gate = faults.hold(HELD)
    first = await held(one_place, faults)
    second = await begin(one_place, 1)
    async with world(aws, tmp_path, accounts=ACCOUNTS, lease_seconds=3600) as two:
        await two.runner.recover()
        assert (await two.ended(second)).state == Sync.STATE_SUCCEEDED
        assert (await one_place.runner.get(first.name)).state == Sync.STATE_RUNNING
    # Its turn comes here as well, when nothing is left of it.
    third = await begin(one_place, 2)
    gate.set()
    assert (await one_place.ended(third)).state == Sync.STATE_SUCCEEDED
    assert (await one_place.ended(first)).state == Sync.STATE_SUCCEEDED
    assert (await one_place.runner.get(second.name)).progress.units_done == 1


async def test_a_reading_that_an_event_asked_for_needs_no_place(
    one_place: World, faults: Faults
) -> None:
    gate = faults.hold(HELD)
    first = await held(one_place, faults)
    wanted = Sync(
        name=f"{TENANT}/syncs/{new_sync_id()}",
        cloud_account_id=account(1),
        source=Sync.SOURCE_EVENTS,
        collections=[SHORT],
        regions=["us-east-1"],
    )
    run = await one_place.runner.start_focused(wanted, {(SHORT, GLOBAL): None}, lambda *_: None)
    async with asyncio.timeout(60):
        await run.ended.wait()
    assert run.sync.state == Sync.STATE_SUCCEEDED
    assert (await one_place.runner.get(first.name)).state == Sync.STATE_RUNNING
    gate.set()
    await one_place.ended(first)


async def test_a_store_that_fails_for_a_moment_fails_no_run(
    aws: AwsEndpoint, faults: Faults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(aws, tmp_path, lease_seconds=0.5) as made:
        writes = made.runner.stores.records.write_unit
        failed = asyncio.Event()

        async def write(*arguments: object) -> None:
            if not failed.is_set():
                failed.set()
                raise DependencyUnavailable("store")
            await writes(*arguments)  # type: ignore[arg-type]  # those of the method

        monkeypatch.setattr(made.runner.stores.records, "write_unit", write)
        await made.runner.recover()
        wanted = Sync(cloud_account_id=SAMPLE_ACCOUNT, collections=[SHORT])
        ended = await made.ended(await made.runner.start(TENANT, wanted, ""))
        assert failed.is_set()
        assert ended.state == Sync.STATE_SUCCEEDED
        assert not ended.HasField("error")
        assert await made.rows(SHORT)
