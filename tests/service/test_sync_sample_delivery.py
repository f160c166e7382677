"""What a sync shows of the sample's secrets and certificates, and of what serves with them."""

from datetime import timedelta

from mesh.embedded.aws import AwsEndpoint
from mesh.embedded.aws_canned import PAGE
from secmesh.inventory.v1.record_pb2 import Record
from secmesh.inventory.v1.sync_pb2 import Sync
from services.inventory.collect.versions import moment
from tests.service.collect_world import World, body_of, by


def having(rows: dict[str, Record], field: str) -> set[str]:
    """Give the keys of the records whose field is true or filled."""
    return {name for name, record in rows.items() if getattr(body_of(record), field)}


async def test_secrets_of_the_sample(collecting: World) -> None:
    await collecting.sync("secretsmanager")
    secrets = by(await collecting.rows("secretsmanager"), "secret_name")
    assert secrets.keys() == {"ledger/database", "partner/token", "website/smtp", "old/ftp"}
    assert having(secrets, "rotation_enabled") == {"ledger/database", "partner/token"}
    assert having(secrets, "policy_public") == {"website/smtp"}
    assert having(secrets, "policy_cross_account") == {"partner/token"}
    assert having(secrets, "rotatable") == secrets.keys() - {"old/ftp"}
    kept, gone = body_of(secrets["ledger/database"]), body_of(secrets["old/ftp"])
    assert (kept.rotation_days, kept.kms_key_id) == (30, "alias/data")
    assert kept.tags == {"owner": "finance"}
    assert not kept.HasField("policy")
    assert body_of(secrets["partner/token"]).rotation_schedule == "rate(30 days)"
    assert gone.HasField("deletion_date")
    assert not gone.HasField("policy_public")
    assert not gone.HasField("last_rotated")


async def test_certificates_of_the_sample(collecting: World) -> None:
    await collecting.sync("acm_certificates")
    found = by(await collecting.rows("acm_certificates"), "domain_name")
    assert having(found, "in_use") == {"www.example.com", "shop.example.com"}
    assert having(found, "transparency_logging") == {"www.example.com"}
    kept = body_of(found["www.example.com"])
    assert kept.alternative_names == ["example.com", "www.example.com"]
    assert (kept.renewal_eligibility, kept.renewal_status) == ("ELIGIBLE", "PENDING_AUTO_RENEWAL")
    assert (kept.validation_method, kept.key_algorithm) == ("DNS", "EC_prime256v1")
    assert kept.tags == {"owner": "web"}
    assert having(found, "auto_renews") == {"www.example.com"}
    imported = body_of(found["shop.example.com"])
    assert imported.HasField("creation_date")
    assert not imported.HasField("renewal_status")
    assert not body_of(found["old.example.com"]).HasField("transparency_logging")


async def test_load_balancers_of_the_sample(collecting: World) -> None:
    await collecting.sync("load_balancers")
    found = by(await collecting.rows("load_balancers"), "load_balancer_name")
    assert having(found, "internet_facing") == {"web", "feeds", "shop"}
    assert having(found, "access_logs") == having(found, "deletion_protection") == {"web"}
    assert having(found, "web_acl") == {"web"}
    assert having(found, "cross_zone") == {"web", "reports", "feeds", "shop"}
    assert {name: body_of(each).desync_mode for name, each in found.items()} == {
        "web": "strictest",
        "reports": "defensive",
        "feeds": "",
        "shop": "monitor",
    }
    assert body_of(found["web"]).tags == {"owner": "web"}
    assert body_of(found["web"]).access_log_bucket == "acme-access-logs"
    shop = found["shop"]
    assert body_of(shop).tags == {"owner": "sales"}
    assert not body_of(shop).HasField("deletion_protection")
    assert shop.arn == "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/shop"


async def test_listeners_of_the_sample(collecting: World) -> None:
    await collecting.sync("load_balancer_listeners")
    rows = (await collecting.rows("load_balancer_listeners")).values()
    found = {(body_of(each).load_balancer_name, body_of(each).port): body_of(each) for each in rows}
    assert {key: list(each.tls_protocols) for key, each in found.items()} == {
        ("web", 443): ["TLSv1.2", "TLSv1.3"],
        ("web", 80): [],
        ("reports", 80): [],
        ("feeds", 853): ["TLSv1", "TLSv1.1", "TLSv1.2"],
        ("shop", 443): ["TLSv1.2"],
        ("shop", 80): [],
    }
    assert {key for key, each in found.items() if each.redirects_to_https} == {("web", 80)}
    assert found["shop", 443].ssl_policy == "ELBSecurityPolicy-TLS-1-2-2017-01"
    assert found["shop", 443].certificate.endswith("000000000002")
    assert found["web", 443].mutual_authentication == "off"
    assert found["web", 80].default_actions == ["redirect"]


async def test_what_second_looks_show_of_the_sample(collecting: World) -> None:
    """Facts that the checks of the second tier ask for, of kinds that others are there for."""
    await collecting.sync(
        "iam_users", "iam_roles", "iam_policies", "s3_buckets", "cloudtrail_trails", "lambda"
    )
    users = by(await collecting.rows("iam_users"), "username")
    assert having(users, "administrator") == {"alice", "carol"}
    assert {name for name, each in users.items() if body_of(each).active_access_keys > 1} == {
        "ci-deploy"
    }
    roles = by(await collecting.rows("iam_roles"), "role_name")
    assert not having(roles, "organization_only")
    assert body_of(roles["partner"]).HasField("organization_only")
    old = {
        name
        for name, each in roles.items()
        if moment(each.valid_from) - moment(body_of(each).create_date) > timedelta(days=299)
    }
    assert old == {"partner"}
    policies = by(await collecting.rows("iam_policies"), "policy_name")
    assert body_of(policies["do-anything"]).whole_services == ["*"]
    assert having(policies, "decrypts_with_all_keys") == {"do-anything"}
    buckets = by(await collecting.rows("s3_buckets"), "bucket_name")
    logs = {"acme-cloudtrail", "acme-access-logs", "acme-uploads"}
    assert having(buckets, "keeps_logs") == logs
    assert having(buckets, "policy_cross_account_write") == {"acme-uploads"}
    assert body_of(buckets["acme-uploads"]).expiration_days == 30
    functions = by(await collecting.rows("lambda"), "function_name")
    assert having(functions, "credential_variables") == {"etl"}
    (variable,) = body_of(functions["etl"]).credential_variables
    assert (variable.variable_name, variable.looks_like) == ("API_TOKEN", "named")


async def test_policies_of_the_sample_s_organization(collecting: World) -> None:
    await collecting.sync("account_metadata")
    (record,) = (await collecting.rows("account_metadata")).values()
    assert body_of(record).limiting_scps == ["our-regions-only"]


async def test_maintenance_of_the_sample_s_databases(collecting: World) -> None:
    await collecting.sync("rds_instances")
    found = by(await collecting.rows("rds_instances"), "instance_id")
    assert {name: list(body_of(each).pending_maintenance) for name, each in found.items()} == {
        "ledger": [],
        "reports": ["system-update"],
        "shop-1": ["db-upgrade"],
        "shop-2": ["db-upgrade"],
    }
    assert body_of(found["reports"]).HasField("maintenance_due")
    assert not body_of(found["shop-1"]).HasField("maintenance_due")


async def test_search_domains_of_the_sample(collecting: World) -> None:
    await collecting.sync("opensearch")
    found = by(await collecting.rows("opensearch"), "domain_name")
    assert having(found, "public") == having(found, "policy_public") == {"products"}
    assert having(found, "vpc_id") == having(found, "encrypted_at_rest") == {"audit"}
    assert having(found, "audit_logs") == having(found, "fine_grained_access") == {"audit"}
    assert having(found, "enforce_https") == having(found, "tags") == {"audit"}
    assert having(found, "update_available") == {"products"}
    assert body_of(found["audit"]).log_types == ["AUDIT_LOGS"]
    assert found["audit"].arn == "arn:aws:es:us-east-1:123456789012:domain/audit"


async def test_warehouses_of_the_sample(collecting: World) -> None:
    await collecting.sync("redshift")
    found = by(await collecting.rows("redshift"), "cluster_id")
    assert having(found, "publicly_accessible") == {"trial"}
    for kept in ("encrypted_at_rest", "tls_required", "audit_logs", "auto_upgrade", "multi_az"):
        assert having(found, kept) == {"warehouse"}
    warehouse = body_of(found["warehouse"])
    assert (warehouse.log_destination, warehouse.snapshot_copy_region) == (
        "acme-access-logs",
        "eu-west-1",
    )
    assert (warehouse.retention_days, warehouse.port) == (14, 5439)
    assert warehouse.tags == {"owner": "finance"}


async def test_caches_of_the_sample(collecting: World) -> None:
    await collecting.sync("elasticache")
    found = by(await collecting.rows("elasticache"), "cache_id")
    assert found.keys() == {"sessions", "fragments"}
    for kept in ("encrypted_at_rest", "encrypted_in_transit", "user_groups", "log_types", "tags"):
        assert having(found, kept) == {"sessions"}
    sessions, fragments = body_of(found["sessions"]), body_of(found["fragments"])
    assert (sessions.engine_version, sessions.subnet_group) == ("8.1", "data")
    assert sessions.security_groups == ["sg-0a1b2c3d4e5f60718"]
    assert (sessions.node_count, fragments.node_count) == (2, 2)
    assert (fragments.cache_type, fragments.engine) == ("cluster", "memcached")
    assert not fragments.HasField("transit_mode")


async def test_the_landing_zone_of_the_sample(collecting: World) -> None:
    await collecting.sync("control_tower")
    (record,) = (await collecting.rows("control_tower")).values()
    zone = body_of(record)
    assert (zone.version, zone.latest_version, zone.drift_status) == ("3.2", "3.3", "IN_SYNC")
    assert zone.governed_regions == ["eu-west-1", "us-east-1"]
    assert (zone.log_account, zone.log_retention_days) == ("111122223333", 365)
    assert zone.centralized_logging
    assert zone.access_management
    assert {each.drift_status for each in zone.enabled_controls} == {"IN_SYNC", "DRIFTED"}
    assert zone.broken_controls == 1
    assert [each.baseline_version for each in zone.enabled_baselines] == ["4.0"]


async def test_lists_are_read_to_their_last_page(collecting: World, aws: AwsEndpoint) -> None:
    kinds = {
        "secretsmanager": 4,
        "acm_certificates": 3,
        "load_balancers": 4,
        "load_balancer_listeners": 6,
        "redshift": 2,
        "elasticache": 2,
    }
    aws.canned.page = 1
    try:
        sync = await collecting.sync(*kinds)
    finally:
        aws.canned.page = PAGE
    assert sync.state == Sync.STATE_SUCCEEDED
    assert {kind: len(await collecting.rows(kind)) for kind in kinds} == kinds
    (listing,) = [
        entry
        for entry in await collecting.manifest(sync)
        if entry.operation == "secretsmanager:ListSecrets"
    ]
    assert listing.pages == 4
