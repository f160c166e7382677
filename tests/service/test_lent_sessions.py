"""Accounts that are read by sessions of the tenancy service: both services, on one endpoint."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest

from mesh.embedded.aws import AwsEndpoint
from mesh.embedded.aws_faults import Faults
from secmesh.inventory.v1.record_pb2 import READ_OUTCOME_FAILED, READ_OUTCOME_UNSUPPORTED
from secmesh.inventory.v1.sync_pb2 import Sync
from secmesh.inventory.v1.sync_service_pb2 import GetSyncRequest, ResumeSyncRequest
from secmesh.tenancy.v1 import credential_access_pb2 as access_pb
from secmesh.tenancy.v1.account_service_pb2 import SuspendAccountRequest
from secmesh_client import CallRefused
from tests.inventory_store import stored_bytes
from tests.service.collect_world import client
from tests.service.credential_story import Story
from tests.service.lent_world import ROLE, LentWorld, inventory_beside, serving_tenancy

BUCKETS = "s3_buckets"


@pytest.fixture
async def world(aws: AwsEndpoint, faults: Faults, tmp_path: Path) -> AsyncIterator[LentWorld]:
    async with (
        serving_tenancy(aws, tmp_path) as tenancy,
        inventory_beside(tenancy, aws, tmp_path) as made,
    ):
        yield made
        faults.clear()


def bucket_of(world: LentWorld, story: Story) -> str:
    """Make a bucket in the account."""
    name = f"of-{story.account.cloud_account_id}"
    client(world.aws, "s3", story.account.cloud_account_id).create_bucket(Bucket=name)
    return name


async def refusal(world: LentWorld, story: Story, **more: str) -> CallRefused:
    with pytest.raises(CallRefused) as refused:
        await world.start(story, BUCKETS, **more)
    return refused.value


async def vended(story: Story) -> list[access_pb.CredentialAccess]:
    return [
        each for each in await story.accesses() if each.action == access_pb.CREDENTIAL_ACTION_VEND
    ]


@pytest.mark.parametrize("kind", ["role", "key"])
async def test_an_account_is_read_by_a_session_that_is_lent(world: LentWorld, kind: str) -> None:
    story = await (world.role_account() if kind == "role" else world.key_account())
    bucket = bucket_of(world, story)
    started = await world.start(story, BUCKETS, "kms_keys")
    sync = await world.ended(started)
    assert (sync.state, sync.account) == (Sync.STATE_SUCCEEDED, story.account.name)
    (record,) = await world.records(story.tenant, BUCKETS)
    assert record.s3_bucket.bucket_name == bucket
    (entry,) = await vended(story)
    assert (entry.purpose, entry.granted) == (sync.name, True)


async def test_what_a_users_session_cannot_read_says_what_to_do(
    world: LentWorld, faults: Faults
) -> None:
    story = await world.key_account(role=False)
    bucket = bucket_of(world, story)
    before = faults.counted()
    sync = await world.ended(await world.start(story, BUCKETS, "iam_users", "iam_roles"))
    assert sync.state == Sync.STATE_PARTIAL
    (record,) = await world.records(story.tenant, BUCKETS)
    assert record.s3_bucket.bucket_name == bucket
    told = [each for each in await world.manifest(sync) if each.operation.startswith("iam:")]
    assert {each.collection for each in told} == {"iam_users", "iam_roles"}
    for each in told:
        assert (each.outcome, each.code) == (READ_OUTCOME_UNSUPPORTED, "FederatedSession")
        assert "role" in each.advice
    others = [each for each in await world.manifest(sync) if not each.operation.startswith("iam:")]
    assert {each.advice for each in others} == {""}
    # Nothing is asked that is refused whoever asks, and no other session is fetched for it.
    asked = {name for name, number in faults.counted().items() if number > before.get(name, 0)}
    assert not asked & {each.operation.partition(":")[2] for each in told}
    (entry,) = await vended(story)
    assert entry.granted


async def test_accounts_of_two_tenants_are_kept_apart(world: LentWorld) -> None:
    ours, theirs = await world.role_account(), await world.role_account()
    buckets = {story.tenant: bucket_of(world, story) for story in (ours, theirs)}
    syncs = [await world.start(story, BUCKETS) for story in (ours, theirs)]
    for sync in syncs:
        assert (await world.ended(sync)).state == Sync.STATE_SUCCEEDED
    for story in (ours, theirs):
        (record,) = await world.records(story.tenant, BUCKETS)
        assert record.s3_bucket.bucket_name == buckets[story.tenant]
        assert record.cloud_account_id == story.account.cloud_account_id


async def test_an_account_of_another_tenant_does_not_exist(world: LentWorld) -> None:
    ours, theirs = await world.role_account(), await world.role_account()
    foreign = await refusal(world, ours, account=theirs.account.name)
    unknown = await refusal(world, ours, account=f"tenants/{ours.tenant}/accounts/none")
    assert foreign.code is unknown.code is grpc.StatusCode.NOT_FOUND
    assert foreign.reason == unknown.reason == "RESOURCE_NOT_FOUND"
    assert await vended(theirs) == []


async def test_the_account_must_be_the_one_that_is_named(world: LentWorld) -> None:
    story = await world.role_account()
    refused = await refusal(world, story, cloud_account_id="999999999999")
    assert (refused.code, refused.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "ACCOUNT_MISMATCH",
    )
    assert refused.metadata["account"] == story.account.name


async def test_without_an_account_of_tenancy_the_grants_decide(world: LentWorld) -> None:
    story = await world.role_account()
    assert (await refusal(world, story, account="")).reason == "ACCOUNT_NOT_GRANTED"


async def test_what_tenancy_refuses_is_refused_in_its_words(world: LentWorld) -> None:
    story = await world.role_account(verified=False)
    refused = await refusal(world, story)
    assert (refused.reason, refused.metadata["status"]) == ("ACCOUNT_STATUS_UNFIT", "pending")
    await story.verify()
    await world.tenancy.accounts(story.tenant).SuspendAccount(
        SuspendAccountRequest(name=story.account.name)
    )
    assert (await refusal(world, story)).metadata["status"] == "suspended"


async def test_a_role_that_asks_for_another_external_id_is_told(world: LentWorld) -> None:
    story = await world.role_account()
    role, iam = ROLE, client(world.aws, "iam", story.account.cloud_account_id)
    policy = iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
    changed = str(policy).replace(story.account.external_id, "another").replace("'", '"')
    iam.update_assume_role_policy(RoleName=role, PolicyDocument=changed)
    refused = await refusal(world, story)
    assert (refused.reason, refused.metadata["problem"]) == (
        "ACCOUNT_ENTRY_DENIED",
        "assumption_denied",
    )


async def test_a_token_that_is_not_good_is_no_fault_of_the_caller(world: LentWorld) -> None:
    story = await world.role_account()
    world.let_in(permissions=["tenancy.accounts.get"])
    refused = await refusal(world, story)
    assert (refused.code, refused.reason) == (
        grpc.StatusCode.UNAVAILABLE,
        "DEPENDENCY_UNAVAILABLE",
    )
    assert refused.metadata["dependency"] == "tenancy"
    world.token_file.unlink()
    refused = await refusal(world, story)
    assert refused.reason == "DEPENDENCY_UNAVAILABLE"
    assert str(world.token_file) not in refused.message
    world.let_in()
    sync = await world.ended(await world.start(story, BUCKETS))
    assert sync.state == Sync.STATE_SUCCEEDED


async def reached(faults: Faults, operation: str) -> None:
    """Wait until a call of an operation came in."""
    async with asyncio.timeout(60):
        while not faults.counted().get(operation):
            await asyncio.sleep(0.02)


async def test_a_session_that_ends_in_the_middle_is_renewed_and_nothing_is_lost(
    world: LentWorld, faults: Faults
) -> None:
    story = await world.role_account()
    bucket = bucket_of(world, story)
    gate = faults.hold("s3:GetBucketEncryption")
    started = await world.start(story, BUCKETS, "kms_keys", "iam_roles", "lambda")
    await reached(faults, "s3:GetBucketEncryption")
    faults.end_sessions()
    gate.set()
    sync = await world.ended(started)
    assert sync.state == Sync.STATE_SUCCEEDED
    (record,) = await world.records(story.tenant, BUCKETS)
    assert record.s3_bucket.bucket_name == bucket
    assert {each.code for each in record.unread} <= {"NotCollected"}
    # What was in flight is refused together, and one session is fetched for all of it.
    assert len(await vended(story)) == 2


async def test_an_account_that_is_suspended_in_the_middle_is_read_no_further(
    world: LentWorld, faults: Faults
) -> None:
    story = await world.role_account()
    bucket_of(world, story)
    gate = faults.hold("s3:GetBucketEncryption")
    started = await world.start(story, BUCKETS)
    await reached(faults, "s3:GetBucketEncryption")
    await world.tenancy.accounts(story.tenant).SuspendAccount(
        SuspendAccountRequest(name=story.account.name)
    )
    faults.end_sessions()
    gate.set()
    sync = await world.ended(started)
    assert sync.state == Sync.STATE_PARTIAL
    failed = [each for each in await world.manifest(sync) if each.outcome == READ_OUTCOME_FAILED]
    assert failed
    (record,) = await world.records(story.tenant, BUCKETS)
    assert "encryption" in {each.field for each in record.unread}


async def test_a_tenancy_service_that_is_away_is_waited_for_and_then_the_rest_is_unread(
    aws: AwsEndpoint, faults: Faults, tmp_path: Path
) -> None:
    async with AsyncExitStack() as serving:
        tenancy = await serving.enter_async_context(serving_tenancy(aws, tmp_path))
        async with inventory_beside(tenancy, aws, tmp_path, tenancy_wait_seconds=1) as world:
            story = await world.role_account()
            bucket_of(world, story)
            gate = faults.hold("s3:GetBucketEncryption")
            started = await world.start(story, BUCKETS)
            await reached(faults, "s3:GetBucketEncryption")
            await serving.aclose()
            faults.end_sessions()
            gate.set()
            sync = await world.ended(started)
            assert sync.state == Sync.STATE_PARTIAL
            (record,) = await world.records(story.tenant, BUCKETS)
            assert "encryption" in {each.field for each in record.unread}
            refused = await refusal(world, story)
            assert refused.reason == "DEPENDENCY_UNAVAILABLE"


async def test_a_run_of_a_process_that_ended_goes_on_by_sessions_of_its_own(
    aws: AwsEndpoint, faults: Faults, tmp_path: Path
) -> None:
    async with serving_tenancy(aws, tmp_path) as tenancy:
        async with inventory_beside(tenancy, aws, tmp_path) as first:
            story = await first.role_account()
            bucket_of(first, story)
            gate = faults.hold("s3:GetBucketEncryption")
            started = await first.start(story, BUCKETS, "kms_keys")
            await reached(faults, "s3:GetBucketEncryption")
        gate.set()
        faults.end_sessions()
        async with inventory_beside(tenancy, aws, tmp_path, [story.tenant]) as second:
            stub = second.syncs(story.tenant)
            kept = await stub.GetSync(GetSyncRequest(name=started.name))
            assert kept.account == story.account.name
            if kept.state != Sync.STATE_SUCCEEDED:
                await stub.ResumeSync(ResumeSyncRequest(name=started.name))
            assert (await second.ended(started)).state == Sync.STATE_SUCCEEDED


async def test_no_part_of_a_session_is_stored(world: LentWorld) -> None:
    story = await world.role_account()
    bucket_of(world, story)
    await world.ended(await world.start(story, BUCKETS))
    content = stored_bytes(world.folder)
    assert story.account.name.encode() in content
    assert b"ASIA" not in content
