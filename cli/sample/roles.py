"""Roles of the sample account."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from cli.sample.clients import ACCOUNT
from mesh.embedded.aws import ROLE_AGE_TAG

PARTNER = "999999999999"


def make_roles(iam: Any) -> None:
    """Make roles for a service, for people and for partners, and one that anyone may take on.

    The group of administrators must be there.
    """
    _role(
        iam,
        "etl",
        {"Service": "lambda.amazonaws.com"},
        MaxSessionDuration=7200,
        Tags=[{"Key": "team", "Value": "data"}],
    )
    logs = {"Effect": "Allow", "Action": "logs:PutLogEvents", "Resource": "*"}
    iam.put_role_policy(RoleName="etl", PolicyName="write-logs", PolicyDocument=_policy(logs))
    _role(iam, "deploy", {"AWS": f"arn:aws:iam::{ACCOUNT}:root"})
    anything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    made = iam.create_policy(PolicyName="do-anything", PolicyDocument=_policy(anything))
    iam.attach_role_policy(RoleName="deploy", PolicyArn=made["Policy"]["Arn"])
    iam.attach_group_policy(GroupName="administrators", PolicyArn=made["Policy"]["Arn"])
    outside = {"AWS": f"arn:aws:iam::{PARTNER}:root"}
    _role(iam, "auditor", outside, {"StringEquals": {"sts:ExternalId": "acme-2026"}})
    # Made long ago and never used.
    made_long_ago = (datetime.now(UTC) - timedelta(days=300)).isoformat(timespec="seconds")
    _role(iam, "partner", outside, Tags=[{"Key": ROLE_AGE_TAG, "Value": made_long_ago}])
    _role(iam, "anyone", {"AWS": "*"})


def _role(iam: Any, name: str, principal: object, condition: object = None, **more: Any) -> None:
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    if condition is not None:
        statement["Condition"] = condition
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=_policy(statement), **more)


def _policy(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
