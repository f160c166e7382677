"""What a sync shows of the sample's backups, file systems and links: good and bad of each."""

import pytest

from mesh.embedded.aws import AwsEndpoint
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


async def test_zones_of_the_sample(collecting: World) -> None:
    await collecting.sync("route53")
    zones = by(await collecting.rows("route53"), "zone_name")
    assert having(zones, "private") == {"internal.acme.example."}
    assert having(zones, "query_log_group") == {"acme.example."}
    acme, campaign, internal = (
        body_of(zones[name])
        for name in ("acme.example.", "campaign.example.", "internal.acme.example.")
    )
    assert (acme.dnssec_status, campaign.dnssec_status) == ("SIGNING", "NOT_SIGNING")
    assert not internal.HasField("dnssec_status")
    assert acme.signing_keys[0].startswith("arn:aws:kms:")
    assert acme.name_servers == ["ns-1.awsdns-01.org", "ns-2.awsdns-02.com"]
    assert (list(internal.vpcs), list(internal.name_servers)) == (["us-east-1/vpc-0a1b2c3d"], [])
    assert (acme.tags, campaign.tags) == ({"owner": "web"}, {})
    assert zones["acme.example."].region == "global"
    assert zones["acme.example."].arn == "arn:aws:route53:::hostedzone/Z0000000000ACMECOM"


async def test_records_of_the_sample_that_lead_nowhere(collecting: World) -> None:
    await collecting.sync("route53_records", "s3_buckets")
    records = by(await collecting.rows("route53_records"), "record_name")
    assert having(records, "dangling") == {"shop.acme.example.", "campaign.example."}
    assert having(records, "alias") == {"shop.acme.example.", "campaign.example."}
    assert body_of(records["docs.acme.example."]).bucket_name == "acme-website"
    assert body_of(records["campaign.example."]).bucket_name == "campaign.example"
    lost = body_of(records["shop.acme.example."]).load_balancer
    assert lost == "shop-1234567890.us-east-1.elb.amazonaws.com"
    mail = body_of(records["mail.acme.example."])
    assert list(mail.targets) == ["203.0.113.25"]
    assert not mail.HasField("dangling")


async def test_machines_of_the_sample(collecting: World) -> None:
    await collecting.sync("ssm_patch")
    rows = by(await collecting.rows("ssm_patch"), "instance_id")
    nodes = {name[-1]: body_of(row) for name, row in rows.items() if name.startswith("mi-")}
    assert {key: node.ping_status for key, node in nodes.items()} == {
        "1": "Online",
        "2": "Online",
        "3": "ConnectionLost",
    }
    assert {key for key, node in nodes.items() if node.security_noncompliant_count} == {"2"}
    assert (nodes["1"].missing_count, nodes["1"].critical_noncompliant_count) == (2, 0)
    assert nodes["1"].patch_group == "web"
    assert not nodes["2"].HasField("patch_group")
    assert not nodes["3"].HasField("missing_count")
    assert nodes["3"].managed
    arn = rows["mi-0a1b2c3d4e5f60001"].arn
    assert arn == "arn:aws:ssm:us-east-1:123456789012:managed-instance/mi-0a1b2c3d4e5f60001"


async def test_links_of_the_sample_and_no_key_of_them(collecting: World) -> None:
    await collecting.sync("vpn", "direct_connect")
    vpns = by(await collecting.rows("vpn"), "vpn_connection_id")
    good, bad = (body_of(vpns[f"vpn-0a1b2c3d4e5f6000{number}"]) for number in (1, 2))
    assert len(vpns) == 2
    assert (good.tunnels_up, bad.tunnels_up) == (2, 1)
    assert (list(good.weak_options), list(bad.weak_options)) == (
        [],
        ["DH2", "DH5", "SHA1", "ikev1"],
    )
    assert (good.customer_address, bad.customer_address) == ("10.50.0.1", "203.0.113.7")
    assert good.tunnels[0].logged
    assert list(good.tunnels[1].phase2_groups) == [20, 21]
    assert (bad.static_routes_only, list(bad.routes)) == (True, ["192.168.0.0/16"])
    assert good.tags == {"site": "head-office"}
    lines = by(await collecting.rows("direct_connect"), "connection_name")
    assert having(lines, "macsec_key_count") == {"encrypted"}
    assert having(lines, "vpn_overlay") == {"overlaid"}
    assert body_of(lines["encrypted"]).port_encryption_status == "Encryption Up"
    (transit,) = body_of(lines["overlaid"]).virtual_interfaces
    assert (transit.type, transit.bgp_authenticated) == ("transit", True)
    assert not body_of(lines["plain"]).virtual_interfaces[0].bgp_authenticated
    assert "not-a-real-key" not in f"{vpns} {lines}"
    assert lines["plain"].arn.endswith(":123456789012:dxcon/dxcon-fg000003")


KINDS = (
    *("backup", "backup_coverage", "backup_plans", "recovery_points", "efs_file_systems"),
    *("ssm_patch", "vpn", "direct_connect"),
)


async def test_small_pages_tell_the_same(
    collecting: World, aws: AwsEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = await collecting.sync(*KINDS)
    monkeypatch.setattr(aws.canned, "page", 1)
    paged = await collecting.sync(*KINDS)
    assert paged.progress.calls > whole.progress.calls
    assert paged.progress.rows_written == paged.progress.rows_closed == 0
    assert paged.progress.rows_unchanged == whole.progress.resources
