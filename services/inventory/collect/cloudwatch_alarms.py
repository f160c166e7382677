"""Alarms of CloudWatch: what sets them off and whether they do anything then."""

from typing import Any

from mesh.aws.reader import Reader, Response, Unread
from secmesh.inventory.v1.cloudwatch_pb2 import CloudwatchAlarm
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, timestamp

ALARMS = "cloudwatch:DescribeAlarms"
LISTINGS = (ALARMS,)
OPERATIONS = frozenset(LISTINGS)
PAGE = 100
FIELDS = frozenset(CloudwatchAlarm.DESCRIPTOR.fields_by_name)
# A region that does not know a kind yet refuses its name: the newest comes last.
KINDS = {"MetricAlarm": "METRIC", "CompositeAlarm": "COMPOSITE", "LogAlarm": "LOG"}


def collect(reader: Reader) -> Collected:
    """Read the alarms of one region."""
    drafts: list[Draft[CloudwatchAlarm]] = []
    for asked, kind in KINDS.items():
        alarms = alarms_of(reader, asked, listing=True)
        if isinstance(alarms, Unread):
            return Collected(drafts, alarms)
        drafts.extend(alarm_draft(alarm, kind) for alarm in alarms)
    return Collected(drafts)


def alarms_of(reader: Reader, kind: str, *, listing: bool = False) -> list[Response] | Unread:
    """Read the alarms of one kind; CloudWatch lists one kind after the other."""
    return reader.items(ALARMS, f"{kind}s", page_size=PAGE, listing=listing, AlarmTypes=[kind])


def alarm_draft(alarm: Response, kind: str) -> Draft[CloudwatchAlarm]:
    """Map one alarm."""
    body = CloudwatchAlarm(
        alarm_name=alarm["AlarmName"],
        alarm_type=kind,
        description=alarm.get("AlarmDescription") or None,
        actions_enabled=alarm.get("ActionsEnabled", True),
        alarm_actions=sorted(alarm.get("AlarmActions", ())),
        ok_actions=sorted(alarm.get("OKActions", ())),
        insufficient_data_actions=sorted(alarm.get("InsufficientDataActions", ())),
        metrics=metrics_of(alarm),
        rule=alarm.get("AlarmRule") or None,
        comparison=alarm.get("ComparisonOperator") or None,
        threshold=alarm.get("Threshold"),
        missing_data=alarm.get("TreatMissingData") or None,
    )
    if changed := alarm.get("AlarmConfigurationUpdatedTimestamp"):
        body.configuration_date.CopyFrom(timestamp(changed))
    return Draft(native_id=body.alarm_name, arn=str(alarm["AlarmArn"]), body=body)


def metrics_of(alarm: Response) -> list[str]:
    """Give the metrics that an alarm looks at: its one, or those of its formula."""
    queries: Any = alarm.get("Metrics") or ()
    found = [query["MetricStat"]["Metric"] for query in queries if query.get("MetricStat")]
    if alarm.get("MetricName"):
        found.append(alarm)
    return sorted({f"{each.get('Namespace', '')}/{each['MetricName']}" for each in found})


COLLECTOR = Collector(
    "cloudwatch_alarms",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
