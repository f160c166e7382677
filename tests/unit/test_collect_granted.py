"""What policies grant: whole services, keys, buckets, and who is an administrator by them."""

import json
from typing import Any

import pytest

from services.inventory.collect.access_policy import demands_organization
from services.inventory.collect.administrators import grants_of, is_administrator
from services.inventory.collect.granted_actions import (
    decrypts_with_all_keys,
    lets_others_write,
    whole_services,
)
from services.inventory.collect.service_control import limits_regions_or_root

OWN = "111111111111"
OF_OWN = {"StringEquals": {"aws:SourceAccount": OWN}}
OTHER = {"AWS": "arn:aws:iam::222222222222:root"}
ANYTHING = {"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}


def allow(action: object = None, resource: object = "*", **more: Any) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Resource": resource, **more}
    if action is not None:
        statement["Action"] = action
    return {"Version": "2012-10-17", "Statement": [statement]}


@pytest.mark.parametrize(
    ("policy", "services"),
    [
        (allow("*"), ["*"]),
        (allow("*:*"), ["*"]),
        (allow(["s3:*", "EC2:**", "sqs:Send*"]), ["ec2", "s3"]),
        (allow("s3:Get*"), []),
        (allow("s3:*", Condition={"Bool": {"aws:MultiFactorAuthPresent": "true"}}), []),
        (allow(NotAction="iam:*"), ["*"]),
        ({"Statement": {"Effect": "Deny", "Action": "s3:*", "Resource": "*"}}, []),
        ("no policy", []),
        ({}, []),
    ],
)
def test_services_of_which_everything_is_allowed(policy: object, services: list[str]) -> None:
    assert whole_services(policy) == services


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (allow("kms:Decrypt"), True),
        (allow("KMS:de*"), True),
        (allow("kms:ReEncrypt*", "arn:aws:kms:*:111111111111:key/*"), True),
        (allow("kms:Decrypt", "arn:aws:kms:us-east-1:111111111111:key/abc"), False),
        (allow("kms:Decrypt", "arn:aws:kms:*:*:alias/data"), False),
        (allow("kms:Encrypt"), False),
        (allow("kms:*", Condition={"StringLike": {"kms:ResourceAliases": "alias/a"}}), False),
        (allow(NotAction="iam:*"), True),
        (allow(NotAction=["kms:*"]), False),
    ],
)
def test_who_decrypts_with_every_key(policy: object, expected: bool) -> None:
    assert decrypts_with_all_keys(policy) is expected


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (allow("s3:PutObject", Principal=OTHER), True),
        (allow("s3:*", Principal="*"), True),
        (
            allow("s3:*", Principal="*", Condition={"StringEquals": {"aws:SourceAccount": OWN}}),
            False,
        ),
        (allow("s3:GetObject", Principal=OTHER), False),
        (allow("s3:PutObject", Principal={"AWS": OWN}), False),
        (allow("s3:PutObject", Principal={"Service": "logging.s3.amazonaws.com"}), False),
        ("", False),
    ],
)
def test_other_accounts_that_write_into_a_bucket(policy: object, expected: bool) -> None:
    assert lets_others_write(policy, OWN) is expected
    assert lets_others_write(json.dumps(policy), OWN) is expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"StringEquals": {"aws:PrincipalOrgID": "o-1"}}, True),
        ({"StringLike": {"aws:PrincipalOrgID": "*"}}, False),
        ({"StringEquals": {"sts:ExternalId": "x"}}, False),
    ],
)
def test_roles_for_accounts_of_an_organization(condition: object, expected: bool) -> None:
    policy = allow("sts:AssumeRole", Principal=OTHER, Condition=condition)
    assert demands_organization(policy, OWN) is expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"StringNotEquals": {"aws:RequestedRegion": ["us-east-1"]}}, True),
        ({"StringLike": {"aws:PrincipalArn": ["arn:aws:iam::*:root"]}}, True),
        ({"StringNotLike": {"aws:PrincipalArn": "arn:aws:iam::*:root"}}, False),
        ({"StringLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/x"}}, False),
        ({"Bool": "odd"}, False),
        (None, False),
    ],
)
def test_service_control_policies_that_limit(condition: object, expected: bool) -> None:
    statement = {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": condition}
    assert limits_regions_or_root(json.dumps({"Statement": statement})) is expected
    assert not limits_regions_or_root({"Statement": [statement | {"Effect": "Allow"}]})


def policy_of(name: str, document: object) -> dict[str, Any]:
    versions = [
        {"IsDefaultVersion": False, "Document": ANYTHING},
        {"IsDefaultVersion": True, "Document": document},
    ]
    return {"Arn": f"arn:aws:iam::{OWN}:policy/{name}", "PolicyVersionList": versions}


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ({"GroupList": ["inline"]}, True),
        ({"GroupList": ["attached"]}, True),
        ({"GroupList": ["plain"]}, False),
        ({"AttachedManagedPolicies": [{"PolicyArn": f"arn:aws:iam::{OWN}:policy/all"}]}, True),
        ({"AttachedManagedPolicies": [{"PolicyArn": f"arn:aws:iam::{OWN}:policy/some"}]}, False),
        (
            {
                "AttachedManagedPolicies": [
                    {"PolicyArn": "arn:aws:iam::aws:policy/AdministratorAccess"}
                ]
            },
            True,
        ),
        ({"UserPolicyList": [{"PolicyDocument": ANYTHING}]}, True),
        ({}, False),
    ],
)
def test_who_is_an_administrator(user: dict[str, Any], expected: bool) -> None:
    policies = [policy_of("all", ANYTHING), policy_of("some", allow("s3:Get*"))]
    groups: list[dict[str, Any]] = [
        {"GroupName": "inline", "GroupPolicyList": [{"PolicyDocument": ANYTHING}]},
        {
            "GroupName": "attached",
            "AttachedManagedPolicies": [{"PolicyArn": f"arn:aws:iam::{OWN}:policy/all"}],
        },
        {"GroupName": "plain"},
    ]
    assert is_administrator(user, grants_of(groups, policies, "aws")) is expected
