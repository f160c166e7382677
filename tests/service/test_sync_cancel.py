"""A run that is cancelled ends soon, keeps what is complete, and tells so."""

import asyncio

import pytest

from mesh.embedded.aws_faults import Faults
from mesh.errors import ResourceNotFound
from secmesh.inventory.v1.sync_pb2 import Sync
from services.inventory.errors import SyncEnded
from tests.service.collect_world import SAMPLE_ACCOUNT, TENANT, World

HELD = "iam:GetAccountSummary"
"""Asked by the unit of iam_password_policy alone."""


async def start(collecting: World, *collections: str) -> Sync:
    wanted = Sync(cloud_account_id=SAMPLE_ACCOUNT, collections=collections)
    return await collecting.runner.start(TENANT, wanted, "")


async def until_done(collecting: World, sync: Sync, units: int) -> None:
    async with asyncio.timeout(60):
        while (await collecting.runner.get(sync.name)).progress.units_done < units:
            await asyncio.sleep(0.01)


async def test_a_cancelled_run_keeps_what_is_complete(collecting: World, faults: Faults) -> None:
    gate = faults.hold(HELD)
    sync = await start(collecting, "iam_password_policy", "s3_account_settings", "security_groups")
    await until_done(collecting, sync, 2)
    stopping = await collecting.runner.cancel(sync.name)
    assert stopping.HasField("cancel_time")
    gate.set()
    ended = await collecting.ended(stopping)
    assert ended.state == Sync.STATE_CANCELLED
    assert ended.progress.units_done == 2
    assert ended.HasField("end_time")
    assert not ended.HasField("error")
    assert ended == await collecting.runner.get(sync.name)
    assert await collecting.rows("security_groups")
    assert await collecting.rows("s3_account_settings")
    # The unit that was in flight wrote nothing, neither rows nor manifest.
    assert not await collecting.rows("iam_password_policy")
    written = {entry.collection for entry in await collecting.manifest(ended)}
    assert written == {"security_groups", "s3_account_settings"}


async def test_no_unit_waits_for_what_will_not_be_read(collecting: World, faults: Faults) -> None:
    # The buckets are read, and need the trails that are not.
    gate = faults.hold("cloudtrail:DescribeTrails")
    sync = await start(collecting, "s3_buckets", "cloudtrail_trails")
    async with asyncio.timeout(60):
        while not faults.calls["cloudtrail:DescribeTrails"]:
            await asyncio.sleep(0.01)
    await collecting.runner.cancel(sync.name)
    gate.set()
    ended = await collecting.ended(sync)
    assert ended.state == Sync.STATE_CANCELLED
    assert not await collecting.rows("s3_buckets")


async def test_a_cancelled_run_frees_the_account_and_calls_no_more(
    collecting: World, faults: Faults
) -> None:
    gate = faults.hold(HELD)
    sync = await start(collecting)
    await collecting.runner.cancel(sync.name)
    gate.set()
    await collecting.ended(sync)
    faults.clear()
    await asyncio.sleep(0.3)
    assert not faults.calls
    assert (await collecting.sync()).state == Sync.STATE_SUCCEEDED


async def test_cancelling_again_gives_the_same(collecting: World, faults: Faults) -> None:
    gate = faults.hold(HELD)
    sync = await start(collecting, "iam_password_policy")
    first = await collecting.runner.cancel(sync.name)
    again = await collecting.runner.cancel(sync.name)
    assert again.cancel_time == first.cancel_time
    gate.set()
    ended = await collecting.ended(sync)
    assert await collecting.runner.cancel(sync.name) == ended


async def test_an_ended_run_is_not_cancelled(collecting: World) -> None:
    sync = await collecting.sync("s3_account_settings")
    with pytest.raises(SyncEnded) as refused:
        await collecting.runner.cancel(sync.name)
    assert refused.value.metadata == {"sync": sync.name, "state": "STATE_SUCCEEDED"}
    assert await collecting.runner.get(sync.name) == sync


async def test_an_unknown_run_is_not_cancelled(collecting: World) -> None:
    with pytest.raises(ResourceNotFound):
        await collecting.runner.cancel(f"{TENANT}/syncs/none")
