"""Event buses, rules, topics and queues of the sample account."""

import json
from typing import Any

from cli.sample.clients import ACCOUNT

_PARTNER = "210987654321"
_TOPIC = f"arn:aws:sns:us-east-1:{ACCOUNT}:security-alerts"
_QUEUE = f"arn:aws:sqs:us-east-1:{ACCOUNT}:"


def make_events(events: Any) -> None:
    """Make a bus that one partner may write to and one that anyone may, and rules on the default.

    One rule sends what GuardDuty finds to a topic; another that would do so is switched off.
    """
    partners = events.create_event_bus(
        Name="partners",
        DeadLetterConfig={"Arn": f"{_QUEUE}undelivered"},
        Tags=[{"Key": "owner", "Value": "integration"}],
    )["EventBusArn"]
    _admit(events, "partners", partners, {"AWS": f"arn:aws:iam::{_PARTNER}:root"})
    events.create_archive(ArchiveName="partners", EventSourceArn=partners, RetentionDays=90)
    anyone = events.create_event_bus(Name="anyone")["EventBusArn"]
    _admit(events, "anyone", anyone, "*")
    _rule(events, "findings", _pattern("aws.guardduty", "aws.securityhub"))
    target = {"Id": "tell", "Arn": _TOPIC, "DeadLetterConfig": {"Arn": f"{_QUEUE}undelivered"}}
    events.put_targets(Rule="findings", Targets=[target])
    _rule(events, "changes", _pattern("aws.config"), State="DISABLED")
    nightly = {"ScheduleExpression": "cron(0 3 * * ? *)"}
    events.put_rule(Name="nightly", State="ENABLED", **nightly)
    secret = json.dumps({"token": "not-a-real-token"})
    role = f"arn:aws:iam::{ACCOUNT}:role/etl"
    job = {"Id": "etl", "Arn": f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:etl"}
    events.put_targets(Rule="nightly", Targets=[{**job, "RoleArn": role, "Input": secret}])


def _admit(events: Any, bus: str, arn: str, principal: object) -> None:
    statement = {
        "Sid": "writers",
        "Effect": "Allow",
        "Principal": principal,
        "Action": "events:PutEvents",
        "Resource": arn,
    }
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    events.put_permission(EventBusName=bus, Policy=json.dumps(policy))


def _pattern(*sources: str) -> str:
    return json.dumps({"source": list(sources)})


def _rule(events: Any, name: str, pattern: str, **more: str) -> None:
    events.put_rule(Name=name, EventPattern=pattern, **({"State": "ENABLED"} | more))


def make_channels(sns: Any, sqs: Any, key: str) -> None:
    """Make a topic and a queue that are well kept, and one of each that are open to anyone."""
    alerts = sns.create_topic(Name="security-alerts", Attributes={"KmsMasterKeyId": key})
    sns.subscribe(TopicArn=alerts["TopicArn"], Protocol="email", Endpoint="security@example.com")
    prices = sns.create_topic(Name="prices")["TopicArn"]
    sns.subscribe(TopicArn=prices, Protocol="http", Endpoint="http://shop.example.com/prices")
    everyone = {
        "Effect": "Allow",
        "Principal": {"AWS": "*"},
        "Action": "sns:Subscribe",
        "Resource": prices,
    }
    policy = {"Version": "2012-10-17", "Statement": [everyone]}
    sns.set_topic_attributes(
        TopicArn=prices, AttributeName="Policy", AttributeValue=json.dumps(policy)
    )
    sqs.create_queue(QueueName="undelivered", Attributes={"SqsManagedSseEnabled": "true"})
    redrive = {"deadLetterTargetArn": f"{_QUEUE}undelivered", "maxReceiveCount": 5}
    sqs.create_queue(
        QueueName="orders.fifo",
        Attributes={
            "FifoQueue": "true",
            "KmsMasterKeyId": key,
            "MessageRetentionPeriod": "1209600",
        },
    )
    sender = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "sqs:SendMessage",
        "Resource": f"{_QUEUE}inbox",
    }
    sqs.create_queue(
        QueueName="inbox",
        Attributes={
            "Policy": json.dumps({"Version": "2012-10-17", "Statement": [sender]}),
            "RedrivePolicy": json.dumps(redrive),
            "SqsManagedSseEnabled": "false",
        },
    )
