"""Readings of events that are hindered: an account that is busy, AWS that throttles, a kill -9."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest

from mesh.client import CallRefused, open_channel
from mesh.embedded.aws import AwsEndpoint
from mesh.embedded.aws_faults import Faults
from mesh.identity.keys import create_signing_key, sign_token
from secmesh.inventory.v1 import check_pb2
from secmesh.inventory.v1 import event_service_pb2 as api
from secmesh.inventory.v1.check_turn_pb2 import CheckTurn
from secmesh.inventory.v1.event_service_pb2 import EventResult
from secmesh.inventory.v1.event_service_pb2_grpc import EventServiceStub
from secmesh.inventory.v1.sync_pb2 import Sync
from secmesh.inventory.v1.sync_service_pb2 import (
    GetSyncRequest,
    ListSyncsRequest,
    StartSyncRequest,
    WatchSyncRequest,
)
from secmesh.inventory.v1.sync_service_pb2_grpc import SyncServiceStub
from tests.service.collect_world import CATALOGUE, ROLE, TENANT, client
from tests.service.event_world import Live, new_account, on_bucket, posting, recorded, serving
from tests.service.sync_process import service

VERSIONING, OPEN_SSH = "s3.versioning", "sg.no_open_ssh_rdp"
PASS, FAIL = check_pb2.EVIDENCE_OUTCOME_PASS, check_pb2.EVIDENCE_OUTCOME_FAIL
HELD = "ec2:DescribeSecurityGroups"
SECONDS = 60


@pytest.fixture
async def live(
    aws: AwsEndpoint, faults: Faults, tmp_path: Path, database: str
) -> AsyncIterator[Live]:
    async with serving(aws, tmp_path, database_url=database) as made:
        yield made
        faults.clear()


def change(s3: Any, account: str, bucket: str) -> dict[str, Any]:
    """Turn on the versioning of a bucket and give the event."""
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return on_bucket(account, "PutBucketVersioning", bucket)


async def met(faults: Faults, operation: str, times: int = 1) -> None:
    """Wait until an operation was called so often."""
    async with asyncio.timeout(SECONDS):
        while faults.calls[operation] < times:
            await asyncio.sleep(0.05)


async def test_events_of_a_busy_account_are_refused_until_it_is_free(
    live: Live, faults: Faults
) -> None:
    bucket = f"busy-{live.account}"
    live.s3.create_bucket(Bucket=bucket)
    await live.collect("s3_buckets", "security_groups")
    event = change(live.s3, live.account, bucket)
    faults.clear()
    gate = faults.hold(HELD)
    wanted = Sync(cloud_account_id=live.account, collections=["security_groups"])
    whole = await live.syncs.StartSync(StartSyncRequest(parent=TENANT, sync=wanted))
    await met(faults, HELD)
    with pytest.raises(CallRefused) as refused:
        await live.events.PostEvents(posting(event, seconds=0))
    assert refused.value.reason == "EVENTS_WAITING"
    assert refused.value.metadata["cloud_account_id"] == live.account
    gate.set()
    # What was refused was asked for nevertheless: nothing is lost if nobody posts it again.
    answer = await live.post(event)
    assert answer.results[0].state == EventResult.STATE_READ
    assert (await live.rows("s3_buckets"))[bucket].s3_bucket.versioning == "Enabled"
    (turn,) = await turned(live.events, live.account)
    assert (turn.old_outcome, turn.new_outcome) == (FAIL, PASS)
    assert turn.sync != whole.name


async def test_a_throttled_reading_takes_its_time_and_ends_right(
    live: Live, faults: Faults
) -> None:
    bucket = f"throttled-{live.account}"
    live.s3.create_bucket(Bucket=bucket)
    await live.collect("s3_buckets")
    event = change(live.s3, live.account, bucket)
    faults.clear()
    faults.throttle("s3:GetBucketVersioning")
    waiting = asyncio.create_task(live.post(event))
    await met(faults, "s3:GetBucketVersioning", 2)
    assert await turned(live.events, live.account) == []
    faults.clear()
    await waiting
    async with asyncio.timeout(SECONDS):
        while not (found := await turned(live.events, live.account)):
            await asyncio.sleep(0.1)
    (turn,) = found
    assert (turn.old_outcome, turn.new_outcome) == (FAIL, PASS)
    seen = live.syncs.WatchSync(WatchSyncRequest(name=turn.sync))
    sync = [each async for each in seen][-2].sync
    assert sync.state == Sync.STATE_SUCCEEDED
    assert sync.progress.throttles > 0


async def turned(stub: Any, account: str, checks: Iterable[str] = (VERSIONING,)) -> list[CheckTurn]:
    """Give what turned of some checks in an account, the oldest first."""
    request = api.ListCheckTurnsRequest(
        parent=TENANT, filter=f"cloud_account_id == '{account}'", page_size=1000
    )
    found = (await stub.ListCheckTurns(request)).check_turns
    return [each for each in reversed(found) if each.check_id in checks]


async def test_what_a_killed_process_began_to_read_is_told_once_by_the_next(
    aws: AwsEndpoint, faults: Faults, tmp_path: Path, database: str
) -> None:
    create_signing_key(tmp_path / "keys")
    token = sign_token(tmp_path / "keys", subject="ann", tenant="acme", roles=["operator"])
    account = new_account()
    bucket, s3, ec2 = f"killed-{account}", client(aws, "s3", account), client(aws, "ec2", account)
    s3.create_bucket(Bucket=bucket)
    group = ec2.create_security_group(GroupName="killed", Description="killed")["GroupId"]
    more = {
        "DATABASE_URL": database,
        "SECMESH_INVENTORY_ACCOUNTS": "acme=*",
        "SECMESH_INVENTORY_ROLE": ROLE,
    }
    with service(tmp_path, aws, **more) as (process, address):
        async with open_channel(address, package=CATALOGUE.package, token=token) as channel:
            events, syncs = EventServiceStub(channel), SyncServiceStub(channel)
            await collected(syncs, account)
            everyone = [{"CidrIp": "0.0.0.0/0"}]
            rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": everyone}
            ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
            opened = recorded(
                account,
                "ec2",
                "AuthorizeSecurityGroupIngress",
                requestParameters={"groupId": group},
            )
            changed = change(s3, account, bucket)
            faults.clear()
            gate = faults.hold(HELD)
            begun = asyncio.create_task(posted(events, changed, opened))
            # The bucket is stored with what it turned, the group is being read.
            async with asyncio.timeout(SECONDS):
                while not (before := await turned(events, account)) or not faults.calls[HELD]:
                    await asyncio.sleep(0.1)
            name = before[0].sync
            running = await syncs.GetSync(GetSyncRequest(name=name))
            assert running.state == Sync.STATE_RUNNING
            process.send_signal(signal.SIGKILL)
            process.wait(20)
            with pytest.raises(CallRefused):
                await begun
    gate.set()
    with service(tmp_path, aws, **more) as (process, address):
        async with open_channel(address, package=CATALOGUE.package, token=token) as channel:
            events, syncs = EventServiceStub(channel), SyncServiceStub(channel)
            # Its lease expires, and the new process goes on by itself.
            seen = [each async for each in syncs.WatchSync(WatchSyncRequest(name=name))]
            assert seen[-2].sync.state == Sync.STATE_SUCCEEDED
            after = await turned(events, account, (VERSIONING, OPEN_SSH))
            assert [(each.check_id, each.sync) for each in after] == [
                (VERSIONING, name),
                (OPEN_SSH, name),
            ]
            assert after[0] == before[0]
            assert (after[1].old_outcome, after[1].new_outcome) == (PASS, FAIL)
            listed = await syncs.ListSyncs(
                ListSyncsRequest(parent=TENANT, filter="source == SOURCE_EVENTS")
            )
            assert [each.name for each in listed.syncs] == [name]
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0


async def collected(syncs: Any, account: str) -> None:
    wanted = Sync(cloud_account_id=account, collections=["s3_buckets", "security_groups"])
    started = await syncs.StartSync(StartSyncRequest(parent=TENANT, sync=wanted))
    seen = [each async for each in syncs.WatchSync(WatchSyncRequest(name=started.name))]
    assert seen[-2].sync.state == Sync.STATE_SUCCEEDED


async def posted(events: Any, *told: dict[str, Any]) -> None:
    """Post events for as long as the service lives."""
    while True:
        await events.PostEvents(posting(*told, seconds=25))
