"""A run survives its process: leases expire, ended units are not read again."""

import asyncio
import signal
from collections import Counter
from pathlib import Path

import pytest

from mesh.embedded.aws import AwsEndpoint
from mesh.embedded.aws_faults import Faults
from mesh.identity.keys import create_signing_key
from mesh.sealing.keyring import create_keys
from secmesh.inventory.v1.sync_pb2 import Sync
from secmesh.inventory.v1.sync_service_pb2 import GetSyncRequest, StartSyncRequest, WatchSyncRequest
from services.inventory.collect.registry import REGISTRY
from services.inventory.collect.run import RENEWALS
from services.inventory.errors import AccountNotGranted, SyncEnded, SyncRunning
from tests.service.collect_world import SAMPLE_ACCOUNT, TENANT, World, world
from tests.service.sync_process import content, service, stub_of

LEASE = 9.0
"""Seconds; renewed several times in each, also on a machine with other work."""
HELD = "cloudtrail:DescribeTrails"
"""Asked by the unit of cloudtrail_trails alone, which the buckets wait for."""


async def test_a_killed_process_loses_only_the_units_in_flight(
    aws: AwsEndpoint, faults: Faults, tmp_path: Path
) -> None:
    apart, undisturbed, folder = (tmp_path / each for each in ("apart", "undisturbed", "killed"))
    for each in (apart, undisturbed, folder):
        each.mkdir()
    create_signing_key(folder / "keys")
    # Credentials that are found are told by hashes of the same keys.
    keys = str(tmp_path / "sealing.keys")
    create_keys(Path(keys))
    async with world(aws, apart) as made:
        # The first report takes a call more than those after it.
        await made.sync("iam_users")
    async with world(aws, undisturbed, sealing_keys=keys) as made:
        whole = await made.sync()
        expected = await content(made)
        entries = await made.manifest(whole)
    once: Counter[str] = Counter()
    for entry in entries:
        once[entry.operation] += entry.calls

    faults.clear()
    # Units are read in the order of their names; some end before this one.
    order = sorted(REGISTRY.collectors)
    gate = faults.hold("s3:GetBucketAcl")
    with (
        service(folder, aws, SECMESH_INVENTORY_SEALING_KEYS=keys) as (process, address),
        stub_of(address, folder) as stub,
    ):
        wanted = Sync(cloud_account_id=SAMPLE_ACCOUNT)
        request = StartSyncRequest(parent=TENANT, sync=wanted, sync_id="cut")
        name = stub.StartSync(request).name
        # What is read before the held unit is written while that waits.
        before = stub.GetSync(GetSyncRequest(name=name))
        while not faults.calls["s3:GetBucketAcl"] or before.progress.units_done < 3:
            await asyncio.sleep(0.1)
            before = stub.GetSync(GetSyncRequest(name=name))
        process.send_signal(signal.SIGKILL)
        process.wait(20)
    gate.set()
    assert before.state == Sync.STATE_RUNNING
    assert before.progress.units_done < before.progress.units
    async with world(aws, folder) as made:
        units = await made.runner.units(name)
        ended = {unit.collection for unit in units if unit.HasField("end_time")}
        assert before.progress.units_done <= len(ended) < before.progress.units
    first = Counter(faults.calls)

    faults.clear()
    with (
        service(folder, aws, SECMESH_INVENTORY_SEALING_KEYS=keys) as (process, address),
        stub_of(address, folder) as stub,
    ):
        # Its lease expires, and the new process goes on by itself.
        events = list(stub.WatchSync(WatchSyncRequest(name=name)))
        after = events[-2].sync
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert after.state == whole.state == Sync.STATE_SUCCEEDED
    of_ended = {each.operation for each in entries if each.collection in ended} - {
        each.operation for each in entries if each.collection not in ended
    }
    assert of_ended
    for operation in of_ended:
        assert faults.calls[operation] == 0, operation
        assert first[operation] == once[operation], operation
    for collection in set(order) - ended:
        for entry in entries:
            if entry.collection == collection:
                assert faults.calls[entry.operation] >= entry.calls
    for field in ("units_done", "resources", "rows_written", "rows_closed", "calls", "denied"):
        assert getattr(after.progress, field) == getattr(whole.progress, field), field
    async with world(aws, folder) as made:
        assert await content(made) == expected
        again = {(e.name.rpartition("/")[2], e.calls) for e in await made.manifest(after)}
        assert again == {(e.name.rpartition("/")[2], e.calls) for e in entries}


async def renewed(made: World, sync: str, times: int) -> None:
    """Wait until the process that executes a run of one unit has renewed its lease so often."""
    seen = set[int]()
    async with asyncio.timeout(150):
        while len(seen) <= times:
            (unit,) = await made.runner.units(sync)
            seen.add(unit.lease_expire_time.ToMicroseconds())
            await asyncio.sleep(0.05)


async def test_a_live_lease_keeps_others_away_and_an_expired_one_does_not(
    aws: AwsEndpoint, faults: Faults, tmp_path: Path
) -> None:
    gate = faults.hold(HELD)
    async with (
        world(aws, tmp_path, lease_seconds=LEASE) as one,
        world(aws, tmp_path, lease_seconds=LEASE) as two,
    ):
        wanted = Sync(cloud_account_id=SAMPLE_ACCOUNT, collections=["cloudtrail_trails"])
        sync = await one.runner.start(TENANT, wanted, "shared")
        await renewed(two, sync.name, RENEWALS)
        # Its lease is renewed, so a resume changes nothing and a second run is refused.
        assert (await two.runner.resume(sync.name)).state == Sync.STATE_RUNNING
        (unit,) = await two.runner.units(sync.name)
        with pytest.raises(SyncRunning):
            await two.runner.start(TENANT, wanted, "second")
        assert faults.calls[HELD] == 1
        # A cancel reaches the process that executes the run.
        await two.runner.cancel(sync.name)
        await renewed(two, sync.name, 2)
        gate.set()
        ended = await two.ended(sync)
        assert ended.state == Sync.STATE_CANCELLED
        assert unit.owner
        (unit,) = await two.runner.units(sync.name)
        assert not unit.owner
        assert not unit.HasField("lease_expire_time")


async def test_a_process_that_lost_its_lease_writes_nothing_more(
    aws: AwsEndpoint, faults: Faults, tmp_path: Path
) -> None:
    gate = faults.hold(HELD)
    async with (
        world(aws, tmp_path, lease_seconds=3600) as slow,
        world(aws, tmp_path, lease_seconds=3600) as other,
    ):
        wanted = Sync(cloud_account_id=SAMPLE_ACCOUNT, collections=["cloudtrail_trails"])
        sync = await slow.runner.start(TENANT, wanted, "taken")
        async with asyncio.timeout(60):
            while not faults.calls[HELD]:
                await asyncio.sleep(0.01)
        await slow.runner.leases.release(sync.name)
        gate.set()
        # Whoever comes first ends the unit; the other's rows are refused.
        resumed = await other.runner.resume(sync.name)
        ended = await other.ended(resumed)
        assert ended.state == Sync.STATE_SUCCEEDED
        versions = await other.versions("cloudtrail_trails")
        assert len({version.name for version in versions}) == len(versions)


async def test_a_cancelled_run_is_resumed_where_it_stopped(
    collecting: World, faults: Faults
) -> None:
    gate = faults.hold("iam:GetAccountSummary")
    wanted = Sync(
        cloud_account_id=SAMPLE_ACCOUNT, collections=["iam_password_policy", "security_groups"]
    )
    sync = await collecting.runner.start(TENANT, wanted, "")
    async with asyncio.timeout(60):
        while not (await collecting.runner.get(sync.name)).progress.units_done:
            await asyncio.sleep(0.01)
    await collecting.runner.cancel(sync.name)
    gate.set()
    assert (await collecting.ended(sync)).state == Sync.STATE_CANCELLED
    faults.clear()
    resumed = await collecting.runner.resume(sync.name)
    assert resumed.state == Sync.STATE_RUNNING
    assert not resumed.HasField("cancel_time")
    assert not resumed.HasField("end_time")
    ended = await collecting.ended(resumed)
    assert (ended.state, ended.progress.units_done) == (Sync.STATE_SUCCEEDED, 2)
    assert not [each for each in faults.calls if each.startswith("ec2:")]
    with pytest.raises(SyncEnded):
        await collecting.runner.resume(sync.name)


async def test_a_failed_run_is_resumed_when_its_cause_is_gone(
    aws: AwsEndpoint, faults: Faults, tmp_path: Path
) -> None:
    faults.deny("sts:GetCallerIdentity")
    async with world(aws, tmp_path) as made:
        failed = await made.sync("s3_account_settings")
        assert failed.state == Sync.STATE_FAILED
        faults.clear()
        ended = await made.ended(await made.runner.resume(failed.name))
        assert ended.state == Sync.STATE_SUCCEEDED
        assert not ended.HasField("error")


async def test_a_resume_needs_the_account_and_finds_it_idle(
    aws: AwsEndpoint, faults: Faults, tmp_path: Path
) -> None:
    faults.deny("sts:GetCallerIdentity")
    async with world(aws, tmp_path) as made:
        failed = await made.sync("s3_account_settings")
        async with world(aws, tmp_path, accounts="other=*") as rival:
            with pytest.raises(AccountNotGranted):
                await rival.runner.resume(failed.name)
        faults.clear()
        gate = faults.hold(HELD)
        wanted = Sync(cloud_account_id=SAMPLE_ACCOUNT, collections=["cloudtrail_trails"])
        busy = await made.runner.start(TENANT, wanted, "busy")
        with pytest.raises(SyncRunning):
            await made.runner.resume(failed.name)
        gate.set()
        await made.ended(busy)
        assert (await made.runner.get(failed.name)) == failed
