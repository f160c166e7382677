"""What a second sync writes: nothing for what stayed, one version for what changed."""

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from mesh.embedded.aws import AwsEndpoint
from mesh.embedded.aws_faults import Faults
from mesh.errors import ResourceNotFound
from secmesh.inventory.v1.record_pb2 import (
    READ_OUTCOME_FAILED,
    READ_OUTCOME_THROTTLED,
)
from secmesh.inventory.v1.sync_pb2 import Sync
from services.inventory.collect.versions import moment
from tests.service.collect_world import World, by, client, gaps, world

OWN = "222222222222"
"""An account that these tests change."""
SAMPLE = {
    "access_analyzer": 2,
    "access_keys": 3,
    "account_metadata": 1,
    "api_gateway": 5,
    "api_stages": 4,
    "backup": 3,
    "backup_coverage": 18,
    "backup_plans": 2,
    "cloudfront": 3,
    "cloudtrail_trails": 2,
    "cloudwatch": 1,
    "cloudwatch_alarms": 5,
    "codebuild": 3,
    "codepipeline": 3,
    "config_conformance_packs": 2,
    "config_recorders": 1,
    "config_rules": 4,
    "detective": 2,
    "direct_connect": 3,
    "dynamodb_tables": 2,
    "ebs_settings": 1,
    "ebs_snapshots": 3,
    "ebs_volumes": 4,
    "ec2_instances": 3,
    "ecr_repositories": 3,
    "ecs_clusters": 2,
    "ecs_services": 3,
    "ecs_task_definitions": 2,
    "efs_file_systems": 3,
    "eks_clusters": 2,
    "event_buses": 3,
    "eventbridge_rules": 4,
    "guardduty": 1,
    "iam_password_policy": 1,
    "iam_policies": 2,
    "iam_roles": 5,
    "iam_users": 7,
    "inspector2": 1,
    "inspector2_findings": 3,
    "kms_keys": 5,
    "lambda": 4,
    "log_groups": 3,
    "macie_jobs": 2,
    "macie_sessions": 1,
    "permission_sets": 4,
    "rds_instances": 4,
    "rds_snapshots": 8,
    "recovery_points": 3,
    "route53": 3,
    "route53_records": 4,
    "s3_account_settings": 1,
    "s3_buckets": 7,
    "security_groups": 12,
    "security_hub": 1,
    "sns_sqs": 5,
    "ssm_patch": 6,
    "sso": 1,
    "subnets": 8,
    "vpc": 3,
    "vpn": 2,
    "waf": 3,
}
"""Resources of the sample account, by collection."""
LISTINGS = {
    "s3_buckets": "s3:ListBuckets",
    "security_groups": "ec2:DescribeSecurityGroups",
    "cloudtrail_trails": "cloudtrail:DescribeTrails",
    "iam_users": "iam:GetAccountAuthorizationDetails",
    "kms_keys": "kms:ListKeys",
}
"""What tells which resources of a collection there are."""


@pytest.fixture
async def collecting(
    aws: AwsEndpoint, faults: Faults, tmp_path: Path, database: str
) -> AsyncIterator[World]:
    """What collects into a database of each kind."""
    async with world(aws, tmp_path, database_url=database) as made:
        yield made


@pytest.fixture
def buckets(aws: AwsEndpoint) -> Iterator[list[str]]:
    """Two buckets of the account that is reached by assuming a role."""
    s3 = client(aws, "s3", OWN)
    names = ["history-one", "history-two"]
    for name in names:
        s3.create_bucket(Bucket=name)
    yield names
    for bucket in s3.list_buckets()["Buckets"]:
        s3.delete_bucket(Bucket=bucket["Name"])


async def test_a_second_sync_of_an_unchanged_account_writes_no_row(collecting: World) -> None:
    first = await collecting.sync()
    before = await collecting.content()
    second = await collecting.sync()
    assert first.state == second.state == Sync.STATE_SUCCEEDED
    assert first.progress.rows_written == first.progress.resources == sum(SAMPLE.values())
    assert second.progress.rows_written == second.progress.rows_closed == 0
    assert second.progress.rows_unchanged == second.progress.resources == sum(SAMPLE.values())
    assert await collecting.content() == before
    assert {name: len(rows) for name, rows in before.items()} == SAMPLE


async def test_a_changed_bucket_gets_one_version(
    collecting: World, aws: AwsEndpoint, buckets: list[str]
) -> None:
    first = await collecting.sync("s3_buckets", account=OWN)
    client(aws, "s3", OWN).put_bucket_versioning(
        Bucket=buckets[0], VersioningConfiguration={"Status": "Enabled"}
    )
    second = await collecting.sync("s3_buckets", account=OWN)
    assert (second.progress.rows_written, second.progress.rows_unchanged) == (1, 1)
    assert second.progress.rows_closed == 0
    versions = await collecting.versions("s3_buckets")
    assert len(versions) == 3
    old, new = (each for each in versions if each.s3_bucket.bucket_name == buckets[0])
    assert old.name == new.name
    assert old.valid_to == new.valid_from
    assert not new.HasField("valid_to")
    assert (old.sync, new.sync) == (first.name, second.name)
    assert (old.s3_bucket.versioning, new.s3_bucket.versioning) == ("Disabled", "Enabled")
    assert new.create_time == old.create_time
    assert moment(new.update_time) > moment(old.update_time)
    assert old.etag != new.etag


async def test_a_deleted_bucket_is_closed_and_comes_back_under_its_name(
    collecting: World, aws: AwsEndpoint, buckets: list[str]
) -> None:
    await collecting.sync("s3_buckets", account=OWN)
    born = by(await collecting.rows("s3_buckets"), "bucket_name")[buckets[0]]
    s3 = client(aws, "s3", OWN)
    s3.delete_bucket(Bucket=buckets[0])
    gone = await collecting.sync("s3_buckets", account=OWN)
    assert (gone.progress.rows_closed, gone.progress.rows_written) == (1, 0)
    assert by(await collecting.rows("s3_buckets"), "bucket_name").keys() == {buckets[1]}
    with pytest.raises(ResourceNotFound):
        await collecting.store.get("s3_buckets", born.name)
    s3.create_bucket(Bucket=buckets[0])
    back = await collecting.sync("s3_buckets", account=OWN)
    assert back.progress.rows_written == 1
    again = by(await collecting.rows("s3_buckets"), "bucket_name")[buckets[0]]
    assert again.name == born.name
    assert again.create_time == born.create_time
    closed, opened = (
        each for each in await collecting.versions("s3_buckets") if each.name == born.name
    )
    assert moment(closed.valid_to) < moment(opened.valid_from)


async def test_throttled_listings_close_nothing(
    aws: AwsEndpoint, tmp_path: Path, faults: Faults
) -> None:
    async with world(aws, tmp_path) as first:
        await first.sync(*LISTINGS)
        before = {each: (await first.rows(each)).keys() for each in LISTINGS}
    faults.clear()
    faults.throttle(*LISTINGS.values())
    # They are asked again and again until their units' time is over.
    async with world(aws, tmp_path, unit_seconds=3) as made:
        sync = await made.sync(*LISTINGS)
        after = {each: (await made.rows(each)).keys() for each in LISTINGS}
        entries = {each.operation: each for each in await made.manifest(sync)}
    assert sync.state == Sync.STATE_PARTIAL
    assert sync.progress.rows_closed == 0
    assert after == before
    calls = [faults.calls[listing] for listing in LISTINGS.values()]
    assert min(calls) > 1
    assert sync.progress.throttles == sum(calls)
    for listing in LISTINGS.values():
        entry = entries[listing]
        assert (entry.outcome, entry.listing) == (READ_OUTCOME_THROTTLED, True)


async def test_a_failing_unit_leaves_the_others_alone(
    collecting: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def divide(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("services.inventory.collect.security_groups.group_draft", divide)
    sync = await collecting.sync()
    assert sync.state == Sync.STATE_PARTIAL
    assert sync.progress.units_done == sync.progress.units == len(SAMPLE)
    assert len(await collecting.rows("s3_buckets")) == 7
    assert not await collecting.rows("security_groups")
    entries = [
        each for each in await collecting.manifest(sync) if each.collection == "security_groups"
    ]
    # What it read before it broke stands there too.
    assert {each.operation for each in entries} >= {"ec2:DescribeNetworkInterfaces"}
    (broken,) = [each for each in entries if each.code]
    assert (broken.operation, broken.outcome, broken.code, broken.listing) == (
        "ec2:DescribeSecurityGroups",
        READ_OUTCOME_FAILED,
        "ZeroDivisionError",
        True,
    )


async def test_regions_are_units_of_their_own(collecting: World) -> None:
    sync = await collecting.sync(
        "cloudtrail_trails", "security_groups", regions=["eu-west-1", "us-east-1"]
    )
    assert sync.progress.units == 4
    groups = (await collecting.rows("security_groups")).values()
    assert {group.region for group in groups} == {"eu-west-1", "us-east-1"}
    trails = (await collecting.rows("cloudtrail_trails")).values()
    # The multi-region trail shadows in Ireland and is kept once, at home.
    assert sorted(trail.cloudtrail_trail.trail_name for trail in trails) == [
        "acme-forgotten",
        "acme-main",
    ]
    assert {trail.region for trail in trails} == {"us-east-1"}


async def test_a_trail_is_found_by_its_shadow(collecting: World) -> None:
    """Its home is not read, yet it records what happens in the region that is."""
    away = await collecting.sync("cloudtrail_trails", regions=["eu-west-1"])
    (trail,) = (await collecting.rows("cloudtrail_trails")).values()
    assert (trail.region, trail.cloudtrail_trail.trail_name) == ("us-east-1", "acme-main")
    assert trail.cloudtrail_trail.is_logging
    # At home it is the same record; nothing is closed when only Ireland is read again.
    home = await collecting.sync("cloudtrail_trails")
    assert (home.progress.rows_written, home.progress.rows_unchanged) == (1, 1)
    again = await collecting.sync("cloudtrail_trails", regions=["eu-west-1"])
    assert away.state == again.state == Sync.STATE_SUCCEEDED
    assert again.progress.rows_closed == 0
    assert len(await collecting.rows("cloudtrail_trails")) == 2


async def test_facts_of_two_collections_use_what_earlier_runs_read(collecting: World) -> None:
    await collecting.sync("s3_buckets")
    bucket = by(await collecting.rows("s3_buckets"), "bucket_name")["acme-data"]
    gap = gaps(bucket)["data_events_logged"]
    assert (gap.action, gap.code) == ("cloudtrail:DescribeTrails", "NotCollected")
    await collecting.sync("cloudtrail_trails")
    trails = by(await collecting.rows("cloudtrail_trails"), "trail_name")
    assert trails["acme-forgotten"].cloudtrail_trail.log_bucket_public
    assert trails["acme-main"].cloudtrail_trail.log_bucket_logged
    await collecting.sync("s3_buckets")
    buckets = by(await collecting.rows("s3_buckets"), "bucket_name")
    assert buckets["acme-data"].s3_bucket.data_events_logged
    assert not buckets["acme-website"].s3_bucket.data_events_logged
    assert "data_events_logged" not in gaps(buckets["acme-website"])
    # Ireland's trails were never listed, so nobody knows of the bucket there.
    assert gaps(buckets["acme-archive"])["data_events_logged"].code == "NotCollected"


async def test_a_log_bucket_of_another_account_is_unread(
    collecting: World, aws: AwsEndpoint, buckets: list[str]
) -> None:
    cloudtrail = client(aws, "cloudtrail", OWN)
    arn = cloudtrail.create_trail(Name="history", S3BucketName=buckets[0])["TrailARN"]
    client(aws, "s3", OWN).delete_bucket(Bucket=buckets[0])
    try:
        await collecting.sync(account=OWN)
    finally:
        cloudtrail.delete_trail(Name=arn)
    (trail,) = (await collecting.rows("cloudtrail_trails")).values()
    marked = gaps(trail)
    assert marked["log_bucket_public"].code == "NotInAccount"
    assert marked["log_bucket_logged"].action == "s3:ListAllMyBuckets"
    assert not trail.cloudtrail_trail.HasField("log_bucket_public")


async def test_accounts_do_not_close_each_others_rows(
    collecting: World, buckets: list[str]
) -> None:
    await collecting.sync("s3_buckets")
    sync = await collecting.sync("s3_buckets", account=OWN)
    assert sync.progress.rows_closed == 0
    rows = (await collecting.rows("s3_buckets")).values()
    assert len(rows) == 7 + len(buckets)
    assert {row.cloud_account_id for row in rows} == {"123456789012", OWN}


async def test_the_sample_shows_good_and_bad(collecting: World) -> None:
    await collecting.sync()
    buckets = by(await collecting.rows("s3_buckets"), "bucket_name")
    public = {name for name, each in buckets.items() if each.s3_bucket.public}
    assert public == {"acme-website", "acme-uploads"}
    assert buckets["acme-shielded"].s3_bucket.policy_is_public
    tls = {name for name, each in buckets.items() if each.s3_bucket.https_only}
    assert tls == {"acme-data", "acme-cloudtrail", "acme-access-logs", "acme-archive"}
    assert buckets["acme-archive"].region == "eu-west-1"
    users = by(await collecting.rows("iam_users"), "username")
    naked = {
        name
        for name, each in users.items()
        if each.iam_user.password_enabled and not each.iam_user.mfa_enabled
    }
    assert naked == {"bob"}
    assert users["carol"].iam_user.mfa_types == ["hardware"]
    key = users["ci-deploy"].iam_user
    age = moment(users["ci-deploy"].valid_from) - moment(key.oldest_active_key_rotated)
    assert timedelta(days=399) < age < timedelta(days=401)
    groups = by(await collecting.rows("security_groups"), "group_name")
    opened = {name for name, each in groups.items() if each.security_group.open_to_world}
    assert opened == {
        "database-open",
        "everything",
        "remote-desktop",
        "ssh-anyone",
        "ssh-open",
        "ssh-open-ipv6",
        "web",
    }
    assert groups["everything"].security_group.open_to_world_all
    assert groups["ssh-open"].security_group.attached_enis == 1
