"""What a sync shows of the sample account's edge, and of what looks for weak points."""

from datetime import timedelta
from typing import Any

from mesh.embedded.aws import AwsEndpoint
from mesh.embedded.aws_faults import Fault, Faults
from secmesh.inventory.v1.record_pb2 import Record
from secmesh.inventory.v1.sync_pb2 import Sync
from services.inventory.collect.versions import moment
from tests.service.collect_world import World, body_of, by, gaps

EDGE = (
    "access_analyzer",
    "api_gateway",
    "api_stages",
    "cloudfront",
    "inspector2",
    "inspector2_findings",
    "macie_jobs",
    "macie_sessions",
    "waf",
)


def having(rows: dict[str, Record], field: str) -> set[str]:
    """Give the keys of the records whose field is true or filled."""
    return {name for name, record in rows.items() if getattr(body_of(record), field)}


async def test_distributions_of_the_sample(collecting: World) -> None:
    await collecting.sync("cloudfront")
    rows = by(await collecting.rows("cloudfront"), "distribution_id")
    assert having(rows, "standard_logging") == {"E1SHOP"}
    assert having(rows, "logs_delivered") == {"E3SITE"}
    assert having(rows, "access_logged") == {"E1SHOP", "E3SITE"}
    assert having(rows, "custom_certificate") == {"E1SHOP", "E3SITE"}
    assert having(rows, "web_acl") == {"E1SHOP"}
    shop, old, site = (body_of(rows[each]) for each in ("E1SHOP", "E2OLD", "E3SITE"))
    assert [(each.path_pattern, each.viewer_protocol_policy) for each in shop.behaviors] == [
        ("/pictures/*", "redirect-to-https"),
        ("*", "https-only"),
    ]
    assert (shop.min_tls_version, old.min_tls_version) == ("TLSv1.2_2021", "TLSv1")
    assert (shop.weak_tls_origins, old.weak_tls_origins) == ([], ["downloads"])
    assert (shop.unsigned_origins, site.unsigned_origins) == ([], ["site"])
    assert old.unsigned_origins == ["open-bucket"]
    assert (shop.default_root_object, shop.logging_bucket) == (
        "index.html",
        "acme-access-logs.s3.amazonaws.com",
    )
    assert (shop.geo_restriction, list(shop.geo_countries)) == ("whitelist", ["DE", "US"])
    assert shop.tags == {"team": "shop"}
    assert rows["E1SHOP"].region == "global"


async def test_apis_of_the_sample(collecting: World) -> None:
    await collecting.sync("api_gateway")
    rows = by(await collecting.rows("api_gateway"), "api_name")
    bodies = {name: body_of(each) for name, each in rows.items()}
    assert {name: list(each.open_routes) for name, each in bodies.items()} == {
        "orders": [],
        # A key tells who is billed, not who calls.
        "legacy": ["GET /"],
        "inside": [],
        "webhooks": ["POST /hook"],
        "chat": [],
    }
    assert having(rows, "policy_public") == {"legacy"}
    assert bodies["legacy"].policy.startswith('{"Version":"2012-10-17"')
    assert {name: each.route_count for name, each in bodies.items()} == {
        "orders": 3,
        "legacy": 1,
        "inside": 1,
        "webhooks": 2,
        "chat": 2,
    }
    assert bodies["orders"].key_route_count == 1
    assert [each.sort for each in bodies["orders"].authorizers] == ["COGNITO_USER_POOLS"]
    assert [each.authorizer_name for each in bodies["webhooks"].authorizers] == ["staff"]
    assert bodies["inside"].endpoint_type == "PRIVATE"
    assert list(bodies["inside"].vpc_endpoints) == ["vpce-0123456789abcdef0"]
    assert having(rows, "cors_any_origin") == {"webhooks"}
    assert having(rows, "default_endpoint_disabled") == {"orders"}
    assert (bodies["orders"].security_policy, bodies["legacy"].security_policy) == (
        "TLS_1_2",
        "TLS_1_0",
    )
    assert rows["orders"].arn == "arn:aws:apigateway:us-east-1::/restapis/orders0001"
    assert rows["chat"].arn == "arn:aws:apigateway:us-east-1::/apis/chat000005"


async def test_stages_of_the_sample(collecting: World) -> None:
    await collecting.sync("api_stages")
    rows = by(await collecting.rows("api_stages"), "api_id")
    bodies = {name: body_of(each) for name, each in rows.items()}
    assert {name: (each.execution_log_level, each.logged) for name, each in bodies.items()} == {
        "orders0001": ("INFO", True),
        # One method alone logs.
        "legacy0002": ("OFF", False),
        # HTTP APIs log no executions, whatever is set.
        "webhook004": ("OFF", False),
        "chat000005": ("ERROR", True),
    }
    assert having(rows, "data_trace") == {"legacy0002"}
    assert having(rows, "web_acl") == {"orders0001"}
    orders, chat = bodies["orders0001"], bodies["chat000005"]
    assert orders.cache_encrypted
    assert not bodies["legacy0002"].HasField("cache_encrypted")
    assert (orders.throttling_rate, orders.throttling_burst) == (50.0, 100)
    assert orders.variable_names == chat.variable_names == ["backend"]
    assert all("not-a-real-secret" not in str(each) for each in rows.values())
    assert rows["orders0001"].arn.endswith("/restapis/orders0001/stages/prod")


async def test_web_acls_of_the_sample(collecting: World) -> None:
    await collecting.sync("waf", "cloudfront")
    rows = by(await collecting.rows("waf"), "acl_name")
    shop, apis, empty = (body_of(rows[each]) for each in ("shop", "apis", "empty"))
    assert (shop.scope, apis.scope) == ("CLOUDFRONT", "REGIONAL")
    assert {each.region for each in rows.values()} == {"us-east-1"}
    assert [(each.rule_name, each.statement, each.action) for each in shop.rules] == [
        ("common", "ManagedRuleGroupStatement", "NONE"),
        ("rate", "RateBasedStatement", "BLOCK"),
    ]
    assert shop.managed_rule_groups == ["AWS/AWSManagedRulesCommonRuleSet"]
    assert (shop.default_action, apis.default_action) == ("ALLOW", "BLOCK")
    assert (shop.rule_count, apis.rule_count, empty.rule_count) == (2, 1, 0)
    assert shop.associated_resources == ["arn:aws:cloudfront::123456789012:distribution/E1SHOP"]
    assert [each.rpartition("/")[2] for each in apis.associated_resources] == ["prod"]
    assert having(rows, "log_destinations") == {"shop"}
    assert shop.tags == {"team": "shop"}


async def test_what_an_acl_of_cloudfront_guards_is_unknown_before_distributions_are_read(
    collecting: World,
) -> None:
    await collecting.sync("waf")
    rows = by(await collecting.rows("waf"), "acl_name")
    assert gaps(rows["shop"]).keys() == {"associated_resources"}
    assert not gaps(rows["apis"])


async def test_another_region_answers_for_cloudfront_if_its_own_is_not_read(
    collecting: World,
) -> None:
    await collecting.sync("cloudfront", regions=["eu-west-1"])
    await collecting.sync("waf", regions=["eu-west-1", "us-east-1"])
    before = await collecting.rows("waf")
    assert {body_of(each).acl_name for each in before.values()} == {"shop", "apis", "empty"}
    again = await collecting.sync("waf", regions=["eu-west-1"])
    assert (again.progress.rows_written, again.progress.rows_closed) == (0, 0)
    assert again.progress.rows_unchanged == 1


async def test_analyzers_of_the_sample(collecting: World) -> None:
    await collecting.sync("access_analyzer")
    rows = by(await collecting.rows("access_analyzer"), "analyzer_name")
    outside, unused = body_of(rows["outside"]), body_of(rows["unused"])
    assert (outside.status, outside.analyzer_type) == ("ACTIVE", "ACCOUNT")
    assert (outside.active_findings, outside.archived_findings) == (4, 1)
    assert outside.public_resources == ["arn:aws:s3:::acme-uploads", "arn:aws:s3:::acme-website"]
    assert outside.public_resource_count == 2
    assert outside.tags == {"owner": "security"}
    assert (unused.status, unused.status_reason) == (
        "FAILED",
        "SERVICE_LINKED_ROLE_CREATION_FAILED",
    )
    assert unused.unused_access_days == 90
    assert not unused.HasField("public_resource_count")


async def test_inspector_of_the_sample(collecting: World) -> None:
    await collecting.sync("inspector2", "inspector2_findings")
    (row,) = (await collecting.rows("inspector2")).values()
    body = body_of(row)
    assert (body.status, body.ec2_status, body.lambda_code_status) == (
        "ENABLED",
        "ENABLED",
        "DISABLED",
    )
    assert not body.HasField("code_repository_status")
    assert (body.critical_findings, body.high_findings, body.low_findings) == (1, 1, 0)
    assert body.covered_resources == 12
    found = by(await collecting.rows("inspector2_findings"), "severity")
    assert found.keys() == {"CRITICAL", "HIGH", "MEDIUM"}
    worst = found["CRITICAL"]
    assert body_of(worst).packages == ["openssl 3.0.7 -> 0:3.0.8"]
    assert body_of(worst).inspector_score == 9.8
    assert body_of(worst).vulnerability_id == "CVE-2026-10001"
    age = moment(worst.valid_from) - moment(body_of(worst).first_observed)
    assert timedelta(days=44) < age < timedelta(days=46)
    assert body_of(found["MEDIUM"]).packages == ["curl 8.0.1"]
    assert body_of(found["HIGH"]).resource_id == "i-0123456789abcdef0"
    assert not body_of(found["HIGH"]).HasField("vulnerability_id")


async def test_macie_of_the_sample(collecting: World) -> None:
    await collecting.sync("macie_jobs", "macie_sessions")
    jobs = by(await collecting.rows("macie_jobs"), "job_name")
    customers, everything = body_of(jobs["customers"]), body_of(jobs["everything"])
    assert customers.buckets == ["acme-archive", "acme-data"]
    assert (customers.schedule, customers.sampling_percentage) == ("WEEKLY", 50)
    assert customers.identifiers == "RECOMMENDED"
    assert customers.HasField("last_run")
    assert customers.tags == {"team": "privacy"}
    assert (everything.by_criteria, everything.last_run_failed) == (True, True)
    assert not everything.HasField("last_run")
    (row,) = (await collecting.rows("macie_sessions")).values()
    session = body_of(row)
    assert (session.status, session.automated_discovery) == ("ENABLED", "DISABLED")
    assert session.scheduled_jobs == 1
    assert session.administrator_account == "999999999999"
    assert (session.high_findings, session.medium_findings, session.low_findings) == (2, 0, 9)


async def test_pages_are_read_to_the_last(collecting: World, aws: AwsEndpoint) -> None:
    first = await collecting.sync(*EDGE)
    whole, aws.canned.page = aws.canned.page, 1
    try:
        second = await collecting.sync(*EDGE)
    finally:
        aws.canned.page = whole
    assert first.state == second.state == Sync.STATE_SUCCEEDED
    assert second.progress.rows_unchanged == first.progress.rows_written == 24
    assert second.progress.rows_written == second.progress.rows_closed == 0
    pages = {each.operation: each.pages for each in await collecting.manifest(second)}
    assert pages["cloudfront:ListDistributions"] == 3
    assert pages["inspector2:ListFindings"] == 3


async def test_services_that_are_off_are_no_gaps(
    collecting: World, aws: AwsEndpoint, faults: Faults
) -> None:
    off: dict[str, Any] = {
        "macie2:GetMacieSession": Fault(403, "AccessDeniedException", "Macie is not enabled."),
        "macie2:ListClassificationJobs": Fault(
            403, "AccessDeniedException", "Macie is not enabled"
        ),
        "inspector2:BatchGetAccountStatus": {
            "accounts": [{"accountId": "123456789012", "state": {"status": "DISABLED"}}]
        },
    }
    before = {name: aws.canned.answers[name] for name in off}
    for name, answer in off.items():
        aws.canned.put(name, answer)
    try:
        sync = await collecting.sync(
            "inspector2", "inspector2_findings", "macie_jobs", "macie_sessions"
        )
    finally:
        aws.canned.answers.update(before)
    assert sync.state == Sync.STATE_SUCCEEDED
    assert not await collecting.rows("macie_jobs")
    assert not await collecting.rows("inspector2_findings")
    (session,) = (await collecting.rows("macie_sessions")).values()
    assert (body_of(session).status, body_of(session).scheduled_jobs) == ("DISABLED", 0)
    assert not body_of(session).HasField("high_findings")
    (inspector,) = (await collecting.rows("inspector2")).values()
    assert (body_of(inspector).status, body_of(inspector).ec2_status) == ("DISABLED", "DISABLED")
    faults.deny("macie2:GetMacieSession")
    assert (await collecting.sync("macie_sessions")).state == Sync.STATE_PARTIAL
