"""Logs and alarms of the sample account."""

import json
from typing import Any

from cli.sample.clients import ACCOUNT

TRAIL_GROUP = "acme/cloudtrail"
"""Log group that the account's trail writes to."""
_TOPIC = f"arn:aws:sns:us-east-1:{ACCOUNT}:{{}}"
_HEARD, _UNHEARD = _TOPIC.format("security-alerts"), _TOPIC.format("unheard")
_ROOT = (
    '{ $.userIdentity.type = "Root" && $.userIdentity.invokedBy NOT EXISTS && '
    '$.eventType != "AwsServiceEvent" }'
)
_IAM = """DeleteGroupPolicy DeleteRolePolicy DeleteUserPolicy PutGroupPolicy PutRolePolicy
    PutUserPolicy CreatePolicy DeletePolicy CreatePolicyVersion DeletePolicyVersion AttachRolePolicy
    DetachRolePolicy AttachUserPolicy DetachUserPolicy AttachGroupPolicy DetachGroupPolicy"""


def make_monitoring(logs: Any, cloudwatch: Any, key: str) -> None:
    """Make log groups, and alarms of which only those of root and of IAM reach somebody."""
    _group(logs, TRAIL_GROUP, 400, kmsKeyId=f"arn:aws:kms:us-east-1:{ACCOUNT}:key/{key}")
    _group(logs, "/aws/lambda/etl", 30)
    _group(logs, "acme/shop", 0)
    logs.put_resource_policy(policyName="route53-queries", policyDocument=_route53_writes())
    _filter(logs, "root-use", _ROOT)
    _filter(logs, "iam-changes", _any_of(_IAM))
    _filter(logs, "vpc-changes", '{ $.eventName = "*Vpc*" && $.eventSource = ec2.amazonaws.com }')
    _filter(logs, "route-changes", '{ $.eventName = "*Route*" }')
    _filter(logs, "errors", "ERROR")
    _alarm(cloudwatch, "root-use", AlarmActions=[_HEARD])
    _alarm(cloudwatch, "iam-changes", AlarmActions=[_HEARD])
    # Nobody has confirmed that he wants to hear of it.
    _alarm(cloudwatch, "vpc-changes", AlarmActions=[_UNHEARD])
    _alarm(cloudwatch, "route-changes", AlarmActions=[_HEARD], ActionsEnabled=False)
    _alarm(cloudwatch, "errors")


def _group(logs: Any, name: str, days: int, **more: str) -> None:
    logs.create_log_group(logGroupName=name, **more)
    if days:
        logs.put_retention_policy(logGroupName=name, retentionInDays=days)


def _any_of(names: str) -> str:
    return "{ " + " || ".join(f"($.eventName={name})" for name in names.split()) + " }"


def _filter(logs: Any, name: str, pattern: str) -> None:
    transformation = {"metricName": name, "metricNamespace": "Trail", "metricValue": "1"}
    logs.put_metric_filter(
        logGroupName=TRAIL_GROUP,
        filterName=name,
        filterPattern=pattern,
        metricTransformations=[transformation],
    )


def _alarm(cloudwatch: Any, metric: str, **more: Any) -> None:
    cloudwatch.put_metric_alarm(
        AlarmName=metric,
        Namespace="Trail",
        MetricName=metric,
        Statistic="Sum",
        Period=300,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
        TreatMissingData="notBreaching",
        **({"ActionsEnabled": True} | more),
    )


def _route53_writes() -> str:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "route53.amazonaws.com"},
        "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
        "Resource": f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:/aws/route53/*",
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
