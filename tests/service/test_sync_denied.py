"""Each operation denied in turn: what it would have told is marked, all else stays as it was."""

import asyncio
from pathlib import Path

import pytest

from mesh.aws.operations import action
from mesh.embedded.aws import AwsEndpoint
from mesh.embedded.aws_faults import Faults
from secmesh.inventory.v1.record_pb2 import READ_OUTCOME_DENIED, Record
from secmesh.inventory.v1.sync_pb2 import Sync
from services.inventory.collect.registry import REGISTRY
from tests.inventory_store import copy_store
from tests.service.collect_losses import LOST
from tests.service.collect_world import Rows, World, body_of, by, gaps, world


@pytest.fixture(scope="module")
def healthy(aws: AwsEndpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose database holds one healthy sync of the sample account."""
    aws.faults.clear()
    folder = tmp_path_factory.mktemp("healthy")

    async def collect() -> None:
        async with world(aws, folder) as made:
            sync = await made.sync()
            assert sync.state == Sync.STATE_SUCCEEDED
            used = {entry.operation for entry in await made.manifest(sync)}
            assert used == LOST.keys()

    asyncio.run(collect())
    return folder


async def touched(made: World, operation: str) -> list[str]:
    """Give the collections whose unit calls an operation or looks at one that does."""
    (sync,) = [each for each in await made.syncs() if each.state == Sync.STATE_SUCCEEDED]
    direct = {each.collection for each in await made.manifest(sync) if each.operation == operation}
    looking = {
        name for name, each in REGISTRY.collectors.items() if direct.intersection(each.sources)
    }
    return sorted(direct | looking)


def compared(before: Rows, after: Rows, wanted: str) -> set[str]:
    """Check record by record that only marked fields lack this run's reading; give those."""
    lost: set[str] = set()
    assert before.keys() == after.keys()
    for name, old in before.items():
        new = after[name]
        assert (new.region, new.arn, new.labels) == (old.region, old.arn, old.labels)
        assert new.create_time == old.create_time
        marked = gaps(new)
        fresh = marked.keys() - gaps(old).keys()
        # The stored value stays in every field, whether or not it was read again.
        assert _timeless(new) == _timeless(old)
        for field in fresh:
            assert marked[field].action == wanted
            assert marked[field].outcome == READ_OUTCOME_DENIED
            assert marked[field].code
            read = marked[field].last_read_time.ToMicroseconds()
            assert old.valid_from.ToMicroseconds() <= read < new.valid_from.ToMicroseconds()
        lost |= fresh
    return lost


def _timeless(record: Record) -> object:
    """Give a body without the times that move by themselves."""
    copy = type(body_of(record))()
    copy.CopyFrom(body_of(record))
    for field in REGISTRY.collectors[record.name.split("/")[-2]].heartbeats:
        copy.ClearField(field)
    return copy


@pytest.mark.parametrize("operation", sorted(LOST))
async def test_a_denied_operation_takes_only_what_it_tells(
    operation: str, aws: AwsEndpoint, faults: Faults, healthy: Path, tmp_path: Path
) -> None:
    copy_store(healthy, tmp_path)
    async with world(aws, tmp_path) as made:
        collections = await touched(made, operation)
        before = {each: await made.rows(each) for each in collections}
        faults.deny(operation)
        sync = await made.sync(*collections)
        assert sync.state == Sync.STATE_PARTIAL
        assert sync.progress.denied >= 1
        assert sync.progress.rows_closed == 0
        entries = [each for each in await made.manifest(sync) if each.operation == operation]
        assert {each.outcome for each in entries} == {READ_OUTCOME_DENIED}
        assert {each.action for each in entries} == {action(operation)}
        lost = {}
        for each in collections:
            if gone := compared(before[each], await made.rows(each), action(operation)):
                lost[each] = gone
        assert lost == LOST[operation]


async def test_what_was_never_read_has_no_value(collecting: World, faults: Faults) -> None:
    faults.deny(
        "s3:GetBucketEncryption", "iam:GetCredentialReport", "ec2:DescribeNetworkInterfaces"
    )
    await collecting.sync("s3_buckets", "iam_users", "security_groups")
    bucket = by(await collecting.rows("s3_buckets"), "bucket_name")["acme-data"]
    assert not bucket.s3_bucket.HasField("encryption")
    assert gaps(bucket)["encryption"].action == "s3:GetEncryptionConfiguration"
    assert not gaps(bucket)["encryption"].HasField("last_read_time")
    assert bucket.s3_bucket.versioning == "Enabled"
    users = by(await collecting.rows("iam_users"), "username")
    assert "<root_account>" not in users
    assert not users["bob"].iam_user.HasField("password_enabled")
    assert users["bob"].iam_user.groups == ["developers"]
    # The device list says so even without the report.
    assert users["alice"].iam_user.mfa_enabled
    assert gaps(users["bob"])["mfa_enabled"].action == "iam:GetCredentialReport"
    group = by(await collecting.rows("security_groups"), "group_name")["ssh-open"]
    assert not group.security_group.HasField("unused")
    assert group.security_group.open_to_world[0].from_port == 22


async def test_users_come_from_the_report_where_the_details_are_denied(
    collecting: World, faults: Faults
) -> None:
    faults.deny("iam:GetAccountAuthorizationDetails")
    sync = await collecting.sync("iam_users")
    assert sync.state == Sync.STATE_PARTIAL
    users = by(await collecting.rows("iam_users"), "username")
    assert {"<root_account>", "alice", "bob"} <= users.keys()
    assert users["bob"].iam_user.path == "/"
    assert users["bob"].iam_user.password_enabled
    assert not users["bob"].iam_user.HasField("user_id")
    assert gaps(users["bob"])["groups"].action == "iam:GetAccountAuthorizationDetails"
    assert not gaps(users["<root_account>"])


async def test_with_both_listings_denied_no_user_is_touched(
    collecting: World, faults: Faults
) -> None:
    await collecting.sync("iam_users")
    before = await collecting.content()
    faults.deny("iam:GetAccountAuthorizationDetails", "iam:GetCredentialReport")
    sync = await collecting.sync("iam_users")
    assert sync.state == Sync.STATE_PARTIAL
    assert await collecting.content() == before


async def test_a_gap_stays_one_version_and_heals(collecting: World, faults: Faults) -> None:
    await collecting.sync("s3_buckets")
    faults.deny("s3:GetBucketEncryption")
    first = await collecting.sync("s3_buckets")
    assert first.progress.rows_written == 7
    again = await collecting.sync("s3_buckets")
    assert (again.progress.rows_written, again.progress.rows_unchanged) == (0, 7)
    faults.clear()
    healed = await collecting.sync("s3_buckets")
    assert healed.state == Sync.STATE_SUCCEEDED
    assert healed.progress.rows_written == 7
    bucket = by(await collecting.rows("s3_buckets"), "bucket_name")["acme-data"]
    assert "encryption" not in gaps(bucket)
    assert bucket.s3_bucket.encryption == "aws:kms"


async def test_a_kept_value_carries_the_time_of_its_last_reading(
    collecting: World, faults: Faults
) -> None:
    """An unchanged row is not written, but the manifest knows that it was read again."""
    await collecting.sync("s3_buckets")
    second = await collecting.sync("s3_buckets")
    faults.deny("s3:GetBucketEncryption")
    await collecting.sync("s3_buckets")
    bucket = by(await collecting.rows("s3_buckets"), "bucket_name")["acme-data"]
    read = gaps(bucket)["encryption"].last_read_time.ToMicroseconds()
    assert second.start_time.ToMicroseconds() < read < second.end_time.ToMicroseconds()
