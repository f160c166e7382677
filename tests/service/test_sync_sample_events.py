"""What a sync shows of the sample account's monitoring, events and delivery."""

import pytest

from tests.service.collect_world import World, body_of, by, gaps
from tests.service.test_sync_sample import having


async def test_monitoring_of_the_sample(collecting: World) -> None:
    await collecting.sync("cloudtrail_trails", "cloudwatch")
    (record,) = (await collecting.rows("cloudwatch")).values()
    body = body_of(record)
    assert not gaps(record)
    assert body.alarmed_events == ["root-use", "iam-changes"]
    assert "vpc-changes" in body.unalarmed_events
    watches = {watch.filter_name: watch for watch in body.watches}
    # Words in a log are no events of a trail.
    assert watches.keys() == {"root-use", "iam-changes", "route-changes", "vpc-changes"}
    assert {name for name, watch in watches.items() if watch.notifies} == {
        "root-use",
        "iam-changes",
    }
    assert watches["vpc-changes"].alarms == ["vpc-changes"]
    assert watches["route-changes"].metrics == ["Trail/route-changes"]
    assert body.log_policies == ["route53-queries"]
    assert not body.log_policy_public
    assert record.region == "us-east-1"


async def test_nobody_knows_who_hears_while_the_trails_are_not_collected(
    collecting: World,
) -> None:
    await collecting.sync("cloudwatch")
    (record,) = (await collecting.rows("cloudwatch")).values()
    assert gaps(record).keys() == {"alarmed_events", "unalarmed_events"}
    assert gaps(record)["alarmed_events"].code == "NotCollected"


async def test_alarms_and_log_groups_of_the_sample(collecting: World) -> None:
    await collecting.sync("cloudwatch_alarms", "log_groups")
    alarms = by(await collecting.rows("cloudwatch_alarms"), "alarm_name")
    assert alarms.keys() - having(alarms, "actions_enabled") == {"route-changes"}
    assert alarms.keys() - having(alarms, "alarm_actions") == {"errors"}
    root = body_of(alarms["root-use"])
    assert (root.alarm_type, root.metrics, root.threshold) == ("METRIC", ["Trail/root-use"], 1)
    assert root.missing_data == "notBreaching"
    assert alarms["root-use"].arn == "arn:aws:cloudwatch:us-east-1:123456789012:alarm:root-use"
    groups = by(await collecting.rows("log_groups"), "log_group_name")
    assert {name: body_of(each).retention.ToTimedelta().days for name, each in groups.items()} == {
        "acme/cloudtrail": 400,
        "/aws/lambda/etl": 30,
        "acme/shop": 0,
    }
    assert not body_of(groups["acme/shop"]).HasField("retention")
    assert having(groups, "kms_key_id") == {"acme/cloudtrail"}
    assert groups["acme/shop"].arn == "arn:aws:logs:us-east-1:123456789012:log-group:acme/shop"


async def test_event_buses_and_rules_of_the_sample(collecting: World) -> None:
    await collecting.sync("event_buses", "eventbridge_rules")
    buses = by(await collecting.rows("event_buses"), "bus_name")
    assert buses.keys() == {"default", "partners", "anyone"}
    assert having(buses, "policy_public") == {"anyone"}
    assert having(buses, "policy_cross_account") == {"partners"}
    assert having(buses, "dead_letter_target") == {"partners"}
    partners = body_of(buses["partners"])
    assert [(each.archive_name, each.retention_days) for each in partners.archives] == [
        ("partners", 90)
    ]
    assert partners.tags == {"owner": "integration"}
    assert partners.log_level == "OFF"
    rules = by(await collecting.rows("eventbridge_rules"), "rule_name")
    findings, nightly = body_of(rules["findings"]), body_of(rules["nightly"])
    assert findings.event_sources == ["aws.guardduty", "aws.securityhub"]
    assert findings.targets[0].dead_letter_target.endswith(":undelivered")
    assert body_of(rules["changes"]).state == "DISABLED"
    assert having(rules, "managed_by") == {"Events-Archive-partners"}
    assert nightly.schedule == "cron(0 3 * * ? *)"
    assert nightly.targets[0].role.endswith(":role/etl")
    assert "not-a-real-token" not in str(rules)


async def test_build_projects_of_the_sample(collecting: World) -> None:
    await collecting.sync("codebuild")
    projects = by(await collecting.rows("codebuild"), "project_name")
    assert having(projects, "privileged") == {"shop-images", "legacy-build"}
    assert having(projects, "builds_images") == {"shop-images"}
    assert having(projects, "source_has_credentials") == {"legacy-build"}
    assert having(projects, "plaintext_credentials") == {"legacy-build"}
    assert having(projects, "cloudwatch_logs") == {"shop"}
    assert having(projects, "s3_logs_encrypted") == {"shop-images"}
    shop, legacy = body_of(projects["shop"]), body_of(projects["legacy-build"])
    assert legacy.sources[0].location == "https://bitbucket.org/acme/old"
    assert legacy.plaintext_credentials == ["AWS_ACCESS_KEY_ID"]
    assert [(each.variable_name, each.variable_type) for each in shop.variables] == [
        ("NPM_TOKEN", "PARAMETER_STORE"),
        ("STAGE", "PLAINTEXT"),
    ]
    assert shop.source_credentials == ["BITBUCKET BASIC_AUTH", "GITHUB CODECONNECTIONS"]
    assert shop.tags == {"owner": "shop"}
    assert "not-a-real-password" not in str(projects)
    assert "AKIAIOSFODNN7EXAMPLE" not in str(projects)


async def test_pipelines_of_the_sample(collecting: World, monkeypatch: pytest.MonkeyPatch) -> None:
    # Each webhook on a page of its own.
    monkeypatch.setattr(collecting.endpoint.canned, "page", 1)
    await collecting.sync("codepipeline")
    pipelines = by(await collecting.rows("codepipeline"), "pipeline_name")
    assert pipelines.keys() == {"shop-production", "legacy", "shop-test"}
    assert having(pipelines, "deploys") == pipelines.keys()
    assert having(pipelines, "production") == {"shop-production", "legacy"}
    assert having(pipelines, "approved_before_deployment") == {"shop-production"}
    assert having(pipelines, "customer_key") == {"shop-production"}
    assert having(pipelines, "oauth_source") == {"legacy"}
    assert having(pipelines, "open_webhook") == {"legacy"}
    body = body_of(pipelines["shop-production"])
    assert body.source_providers == ["CodeStarSourceConnection"]
    assert [step.category for step in body.stages[1].actions] == ["Approval", "Deploy"]
    assert body_of(pipelines["legacy"]).tags == {"Environment": "prod"}
    assert "not-a-real-token" not in str(pipelines)


async def test_topics_and_queues_of_the_sample(collecting: World) -> None:
    await collecting.sync("sns_sqs")
    channels = by(await collecting.rows("sns_sqs"), "channel_name")
    assert channels.keys() == {"security-alerts", "prices", "undelivered", "orders.fifo", "inbox"}
    assert having(channels, "policy_public") == {"prices", "inbox"}
    assert having(channels, "encrypted") == {"security-alerts", "undelivered", "orders.fifo"}
    assert having(channels, "kms_key_id") == {"security-alerts", "orders.fifo"}
    assert having(channels, "fifo") == {"orders.fifo"}
    assert having(channels, "dead_letter_target") == {"inbox"}
    assert body_of(channels["prices"]).subscription_protocols == ["http"]
    assert body_of(channels["orders.fifo"]).retention.ToTimedelta().days == 14
    assert {body_of(each).service for each in channels.values()} == {"SNS", "SQS"}
