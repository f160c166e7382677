"""What a sync shows of the sample account's monitoring, events and delivery."""

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
