"""What is made of the answers about logs, alarms and those who hear of them."""

from typing import Any

import pytest

from mesh.aws.outcomes import Outcome
from mesh.aws.reader import Unread
from secmesh.inventory.v1.cloudtrail_pb2 import CloudtrailTrail
from secmesh.inventory.v1.cloudwatch_pb2 import CloudwatchMonitoring
from services.inventory.collect.alarmed_events import FIELDS, fill_alarmed_events
from services.inventory.collect.cloudtrail_trails import DESCRIBE, STATUS
from services.inventory.collect.cloudwatch import Watch, fill_alarms, filter_watch
from services.inventory.collect.cloudwatch_alarms import alarm_draft, metrics_of
from services.inventory.collect.derive import TRAILS
from services.inventory.collect.draft import Draft
from services.inventory.collect.log_groups import group_draft
from services.inventory.collect.source import Source
from services.inventory.collect.watched_events import CLASSES

REGION = "us-east-1"
TOPIC = "arn:aws:sns:us-east-1:1:alerts"
FUNCTION = "arn:aws:lambda:us-east-1:1:function:tell"
STOP = "arn:aws:automate:us-east-1:ec2:stop"
ROOT = "{ $.userIdentity.type = Root }"
DENIED = Unread.of("sns:ListSubscriptionsByTopic", Outcome.DENIED, "AuthorizationError")
UNKNOWN = Unread.of(STATUS, Outcome.DENIED, "AccessDeniedException")


def alarm(*actions: str, **more: Any) -> dict[str, Any]:
    given = {"AlarmName": "a", "Namespace": "Trail", "MetricName": "root", "AlarmArn": "arn:a"}
    return {**given, "AlarmActions": list(actions), "ActionsEnabled": True} | more


@pytest.mark.parametrize(
    ("alarms", "topics", "told"),
    [
        ([], {}, False),
        ([alarm()], {}, False),
        ([alarm(TOPIC)], {TOPIC: True}, True),
        ([alarm(TOPIC)], {TOPIC: False}, False),
        ([alarm(TOPIC)], {TOPIC: DENIED}, DENIED),
        ([alarm(TOPIC, FUNCTION)], {TOPIC: DENIED}, True),
        ([alarm(TOPIC, ActionsEnabled=False)], {}, False),
        ([alarm(STOP)], {}, False),
        ([alarm("?")], {}, False),
        ([alarm(TOPIC, MetricName="other")], {}, False),
    ],
)
def test_who_is_told_of_what_a_filter_counts(
    alarms: list[Any], topics: dict[str, Any], told: bool | Unread
) -> None:
    watch = Watch(metrics=["Trail/root"])
    gap = fill_alarms(watch, alarms, topics)
    if isinstance(told, Unread):
        assert gap == told
    else:
        assert gap is None
        assert watch.notifies is told


def test_a_filter_of_something_else_is_no_watch() -> None:
    assert filter_watch({"filterName": "f", "filterPattern": "ERROR"}) is None
    watch = filter_watch({"filterName": "f", "filterPattern": ROOT, "logGroupName": "g"})
    assert watch is not None
    assert (list(watch.events), list(watch.metrics)) == (["root-use"], [])


def test_an_alarm_of_a_formula_looks_at_its_metrics() -> None:
    stat = {"MetricStat": {"Metric": {"Namespace": "Trail", "MetricName": "root"}}}
    queries = [stat, {"Id": "e", "Expression": "m1 * 2"}]
    assert metrics_of({"Metrics": queries}) == ["Trail/root"]
    assert metrics_of({"AlarmRule": "ALARM(x)"}) == []


def test_an_alarm_of_other_alarms_is_mapped() -> None:
    given = {"AlarmName": "c", "AlarmArn": "arn:c", "AlarmRule": "ALARM(x)"}
    draft = alarm_draft(given, "COMPOSITE")
    assert (draft.native_id, draft.arn, draft.body.rule) == ("c", "arn:c", "ALARM(x)")
    assert draft.body.actions_enabled
    assert not draft.body.HasField("threshold")


def test_a_log_group_that_keeps_events_for_ever_has_no_period() -> None:
    named = {"logGroupName": "g", "arn": "arn:aws:logs:us-east-1:1:log-group:g:*"}
    draft = group_draft(named)
    assert draft.arn == "arn:aws:logs:us-east-1:1:log-group:g"
    assert not draft.body.HasField("retention")
    assert not draft.body.HasField("creation_date")
    kept = group_draft(named | {"retentionInDays": 7, "creationTime": 1_000}).body
    assert kept.retention.seconds == 7 * 86_400
    assert kept.creation_date.seconds == 1


def trail(**changes: Any) -> Draft[CloudtrailTrail]:
    given: dict[str, Any] = {
        "cloudwatch_log_group": f"arn:aws:logs:{REGION}:1:log-group:trail:*",
        "is_multi_region": True,
        "is_logging": True,
        "management_events": "All",
    }
    return Draft("t", CloudtrailTrail(**(given | changes)), region=REGION)


def alarmed(*trails: Draft[CloudtrailTrail], **source: Any) -> Draft[CloudwatchMonitoring]:
    patterns = {"root": ROOT, "trails": "{ $.eventSource = cloudtrail.amazonaws.com }"}
    watches = [
        Watch(filter_name=name, log_group="trail", pattern=pattern, notifies=True)
        for name, pattern in patterns.items()
    ]
    watches.append(Watch(log_group="trail", pattern="{ $.eventName = *Vpc* }"))
    watches.append(Watch(log_group="trail", pattern="{ $.eventName = CreateRoute }", notifies=True))
    draft = Draft("cloudwatch", CloudwatchMonitoring(watches=watches), region=REGION)
    fill_alarmed_events([draft], {TRAILS: Source(list(trails), **({"listed": {REGION}} | source))})
    return draft


def test_classes_of_which_somebody_hears_every_event() -> None:
    body = alarmed(trail()).body
    assert body.alarmed_events == ["root-use", "cloudtrail-changes"]
    assert {*body.alarmed_events, *body.unalarmed_events} == CLASSES.keys()


@pytest.mark.parametrize(
    "changes",
    [
        {"is_multi_region": False},
        {"is_logging": False},
        {"management_events": "WriteOnly"},
        {"cloudwatch_log_group": None},
        {"cloudwatch_log_group": f"arn:aws:logs:{REGION}:1:log-group:other:*"},
        {"cloudwatch_log_group": "arn:aws:logs:eu-west-1:1:log-group:trail:*"},
    ],
)
def test_a_log_that_no_trail_of_all_regions_writes_tells_nothing(changes: dict[str, Any]) -> None:
    body = alarmed(trail(**changes)).body
    assert not body.alarmed_events
    assert len(body.unalarmed_events) == len(CLASSES)


def test_what_is_not_known_of_the_trails_stays_open() -> None:
    unknown = trail()
    unknown.miss(UNKNOWN, "is_logging")
    assert alarmed(unknown).unread == dict.fromkeys(FIELDS, UNKNOWN)
    assert alarmed(unknown, trail()).body.alarmed_events
    gap = Unread.of(DESCRIBE, Outcome.DENIED, "AccessDeniedException")
    assert alarmed(listed=set(), gaps={REGION: gap}).unread == dict.fromkeys(FIELDS, gap)


def test_watches_that_are_not_known_stay_open() -> None:
    draft = Draft("cloudwatch", CloudwatchMonitoring(), region=REGION)
    draft.miss(DENIED, "watches", *FIELDS)
    fill_alarmed_events([draft], {TRAILS: Source([trail()], {REGION})})
    assert draft.unread.keys() == {"watches", *FIELDS}
