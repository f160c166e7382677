"""What CloudWatch watches for in one region: from the log, over filter and alarm, to somebody."""

from collections.abc import Iterable, Mapping

from mesh.aws.reader import Reader, Response, Unread
from secmesh.inventory.v1.cloudwatch_pb2 import CloudwatchMonitoring
from services.inventory.collect.access_policy import admits_everyone
from services.inventory.collect.cloudwatch_alarms import ALARMS, alarms_of, metrics_of
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, Truth, any_of
from services.inventory.collect.watched_events import classes_of, watcher

FILTERS = "logs:DescribeMetricFilters"
POLICIES = "logs:DescribeResourcePolicies"
SUBSCRIBERS = "sns:ListSubscriptionsByTopic"
OPERATIONS = frozenset((FILTERS, POLICIES, SUBSCRIBERS, ALARMS))
PAGE = 50
WATCH_FIELDS = ("watches", "alarmed_events", "unalarmed_events")
POLICY_FIELDS = ("log_policies", "log_policy_public")
FIELDS = frozenset((*WATCH_FIELDS, *POLICY_FIELDS))
METRIC_ALARM = "MetricAlarm"
TOPIC = "sns"
TELLING = frozenset({"lambda", "ssm", "ssm-incidents"})
"""Services other than SNS by which an alarm tells somebody; the rest stop or scale something."""
_UNCONFIRMED = frozenset({"PendingConfirmation", "Deleted"})

Watch = CloudwatchMonitoring.Watch
Topics = Mapping[str, Truth]
"""By ARN: whether a subscriber has confirmed."""


def collect(reader: Reader) -> Collected:
    """Read the one row of a region."""
    draft = Draft("cloudwatch", CloudwatchMonitoring(), region=reader.region)
    _read_policies(reader, draft)
    watches = _watches(reader)
    if isinstance(watches, Unread):
        draft.miss(watches, *WATCH_FIELDS)
    else:
        draft.body.watches.extend(watches)
    return Collected([draft])


def _read_policies(reader: Reader, draft: Draft[CloudwatchMonitoring]) -> None:
    policies = reader.items(POLICIES, "resourcePolicies", page_size=PAGE)
    if isinstance(policies, Unread):
        draft.miss(policies, *POLICY_FIELDS)
        return
    draft.body.log_policies.extend(sorted(str(policy["policyName"]) for policy in policies))
    draft.body.log_policy_public = any(
        admits_everyone(policy.get("policyDocument")) for policy in policies
    )


def _watches(reader: Reader) -> list[Watch] | Unread:
    filters = reader.items(FILTERS, "metricFilters", page_size=PAGE)
    if isinstance(filters, Unread):
        return filters
    watches = [watch for each in filters if (watch := filter_watch(each)) is not None]
    if not watches:
        return []
    alarms = alarms_of(reader, METRIC_ALARM)
    if isinstance(alarms, Unread):
        return alarms
    counted = {metric for watch in watches for metric in watch.metrics}
    used = [alarm for alarm in alarms if not counted.isdisjoint(metrics_of(alarm))]
    topics = _topics(reader, used)
    for watch in watches:
        if gap := fill_alarms(watch, used, topics):
            return gap
    return sorted(watches, key=lambda watch: (watch.log_group, watch.filter_name))


def filter_watch(metric_filter: Response) -> Watch | None:
    """Map a filter that picks out events of which somebody should hear."""
    pattern = str(metric_filter.get("filterPattern", ""))
    picks = watcher(pattern)
    events = classes_of(picks) if picks else []
    if not events:
        return None
    return Watch(
        log_group=metric_filter.get("logGroupName", ""),
        filter_name=metric_filter["filterName"],
        pattern=pattern,
        events=events,
        metrics=sorted(
            f"{each.get('metricNamespace', '')}/{each['metricName']}"
            for each in metric_filter.get("metricTransformations", ())
        ),
    )


def fill_alarms(watch: Watch, alarms: Iterable[Response], topics: Topics) -> Unread | None:
    """Fill who is told of what a filter counts, or give the read that would decide it."""
    own = [alarm for alarm in alarms if not set(watch.metrics).isdisjoint(metrics_of(alarm))]
    watch.alarms.extend(sorted(str(alarm["AlarmName"]) for alarm in own))
    told = any_of(_tells(action, topics) for alarm in own for action in _actions(alarm))
    if isinstance(told, Unread):
        return told
    watch.notifies = told
    return None


def _actions(alarm: Response) -> list[str]:
    return list(alarm.get("AlarmActions", ())) if alarm.get("ActionsEnabled", True) else []


def _service(arn: str) -> str:
    return (arn.split(":", 3) + [""] * 3)[2]


def _tells(action: str, topics: Topics) -> Truth:
    return topics[action] if _service(action) == TOPIC else _service(action) in TELLING


def _topics(reader: Reader, alarms: Iterable[Response]) -> Topics:
    arns = {action for alarm in alarms for action in _actions(alarm) if _service(action) == TOPIC}
    ordered = sorted(arns)
    return dict(zip(ordered, reader.fan_out(lambda arn: _heard(reader, arn), ordered), strict=True))


def _heard(reader: Reader, topic: str) -> Truth:
    subscribers = reader.items(SUBSCRIBERS, "Subscriptions", resource=topic, TopicArn=topic)
    if isinstance(subscribers, Unread):
        return subscribers
    return any(each.get("SubscriptionArn") not in _UNCONFIRMED for each in subscribers)


COLLECTOR = Collector("cloudwatch", Scope.REGIONAL, collect, FIELDS, OPERATIONS)
