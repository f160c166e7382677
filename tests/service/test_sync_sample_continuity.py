"""What a sync shows of the sample's backups, file systems and links: good and bad of each."""

from services.inventory.collect.versions import moment
from tests.service.collect_world import World, body_of, by
from tests.service.test_sync_sample import having


async def test_vaults_and_recovery_points_of_the_sample(collecting: World) -> None:
    await collecting.sync("backup", "recovery_points")
    vaults = by(await collecting.rows("backup"), "vault_name")
    assert having(vaults, "locked") == {"locked"}
    assert having(vaults, "policy_denies_deletion") == {"guarded"}
    assert not having(vaults, "policy_public")
    locked = body_of(vaults["locked"])
    assert (locked.min_retention_days, locked.max_retention_days) == (30, 365)
    assert locked.HasField("lock_date")
    assert locked.tags == {"owner": "operations"}
    assert not body_of(vaults["Default"]).HasField("policy")
    points = by(await collecting.rows("recovery_points"), "resource_type")
    assert having(points, "encrypted") == {"DynamoDB", "S3"}
    assert body_of(points["EBS"]).HasField("encrypted")
    orders = body_of(points["DynamoDB"])
    assert (orders.vault_name, orders.plan_id) == ("locked", "0b6e9f6a-daily")
    assert moment(orders.deletion_date) > moment(orders.completion_date)
    assert points["EBS"].arn == "arn:aws:ec2:us-east-1::snapshot/snap-0aaaabbbbccccdddd"


async def test_plans_of_the_sample_and_what_they_cover(collecting: World) -> None:
    await collecting.sync("backup_plans", "backup_coverage")
    plans = by(await collecting.rows("backup_plans"), "plan_name")
    assert having(plans, "copies_elsewhere") == {"daily"}
    daily, weekly = body_of(plans["daily"]), body_of(plans["weekly"])
    (rule,) = daily.rules
    assert (rule.vault_name, rule.retention_days, rule.continuous) == ("locked", 35, True)
    assert daily.selections[0].excluded == ["arn:aws:dynamodb:*:*:table/sessions"]
    (condition,) = weekly.selections[0].all_tags
    assert (condition.operator, condition.key, condition.value) == (
        "StringEquals",
        "backup",
        "weekly",
    )
    assert (daily.tags, weekly.tags) == ({"team": "data"}, {})
    covered = by(await collecting.rows("backup_coverage"), "resource_arn")
    assert having(covered, "last_vault_arn") == {
        "arn:aws:dynamodb:us-east-1:123456789012:table/orders",
        "arn:aws:s3:::acme-data",
    }
    # A volume that is gone is kept no more; a bucket elsewhere belongs to its own region.
    assert not [arn for arn in covered if "vol-0aaaabbbbccccdddd" in arn or "archive" in arn]
    types = {body_of(each).resource_type for each in covered.values()}
    assert {"Aurora", "DynamoDB", "EFS", "RDS", "S3"} <= types


async def test_file_systems_of_the_sample(collecting: World) -> None:
    await collecting.sync("efs_file_systems", "backup_plans")
    listed = await collecting.rows("efs_file_systems")
    systems = {body_of(each).file_system_name or "scratch": each for each in listed.values()}
    assert having(systems, "encrypted") == {"shared", "homes"}
    assert having(systems, "automatic_backups") == {"shared"}
    assert having(systems, "in_backup_plan") == {"homes"}
    assert having(systems, "policy_public") == {"scratch"}
    assert having(systems, "tls_required") == {"shared"}
    shared = body_of(systems["shared"])
    (target,) = shared.mount_targets
    assert (target.availability_zone, list(target.security_groups)) == (
        "us-east-1a",
        ["sg-0a1b2c3d"],
    )
    (point,) = shared.access_points
    assert (point.root_directory, point.uid, point.gid) == ("/reports", 1000, 1000)
    assert shared.replica_regions == ["us-west-2"]
    assert shared.lifecycle == [
        "TransitionToIA AFTER_30_DAYS",
        "TransitionToPrimaryStorageClass AFTER_1_ACCESS",
    ]
    assert body_of(systems["scratch"]).availability_zone == "us-east-1a"
    assert not body_of(systems["homes"]).HasField("policy")
