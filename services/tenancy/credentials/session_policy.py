"""What a vended session may do at most: it reads how things are set up, and no data.

A session may do what its role allows and its session policies allow as well, taken together.
"""

import json
from collections.abc import Sequence

READERS = ("SecurityAudit", "job-function/ViewOnlyAccess")
"""Policies of AWS that read settings."""
DATA = (
    "dynamodb:BatchGetItem",
    "dynamodb:GetItem",
    "ec2:GetPasswordData",
    "kinesis:GetRecords",
    "kms:GenerateDataKey*",
    "kms:GenerateMac",
    "kms:GenerateRandom",
    "lambda:GetFunction",
    "logs:GetLogEvents",
    "logs:GetLogRecord",
    "logs:GetQueryResults",
    "rds:GenerateDbAuthToken",
    "s3:GetObject*",
    "secretsmanager:BatchGetSecretValue",
    "secretsmanager:GetRandomPassword",
    "secretsmanager:GetSecretValue",
    "ssm:GetParameter*",
    "sts:GetFederationToken",
    "sts:GetSessionToken",
)
"""Reads that the form of their name would let through, and that give data or keys."""


def policy_of(actions: Sequence[str]) -> str:
    """Give a session policy of these actions, less all that reads data; "" for no actions."""
    if not actions:
        return ""
    allowed: dict[str, object] = {"Effect": "Allow", "Action": sorted(actions), "Resource": "*"}
    services = {action.partition(":")[0] for action in actions}
    # Room is short: 2,048 characters, so services that are not asked for are left out.
    refused = [each for each in DATA if each.partition(":")[0] in services]
    statements = [allowed]
    if refused:
        statements.append({"Effect": "Deny", "Action": refused, "Resource": "*"})
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":"))


def policy_arns_of(actions: Sequence[str], partition: str) -> list[str]:
    """Give the managed policies of a session for which no actions were named."""
    if actions:
        return []
    return [f"arn:{partition}:iam::aws:policy/{each}" for each in READERS]
