"""Whom a policy lets in, and how much it permits."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inventory.collect.access_policy import (
    admits_everyone,
    demands_external_id,
    foreign_accounts,
    permits_everything,
    policy_document,
    policy_text,
    trusted,
)

OWN, OTHER = "111111111111", "222222222222"
ROOT = f"arn:aws:iam::{OTHER}:root"


def policy(**changes: Any) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"} | changes
    kept = {key: value for key, value in statement.items() if value is not None}
    return {"Version": "2012-10-17", "Statement": [kept]}


def only(**keys: Any) -> dict[str, Any]:
    return {"Condition": {"StringEquals": {key.replace("_", ":"): keys[key] for key in keys}}}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"Principal": {"AWS": "*"}},
        {"Principal": {"AWS": [ROOT, "*"]}},
        {"Principal": None, "NotPrincipal": {"AWS": ROOT}},
        {"Condition": {"Bool": {"aws:SecureTransport": "true"}}},
        only(kms_ViaService="s3.us-east-1.amazonaws.com"),
        only(sts_ExternalId="shared"),
        only(aws_SourceAccount="*"),
        {"Condition": {"StringEqualsIfExists": {"aws:PrincipalOrgID": "o-1"}}},
        {"Condition": {"ForAllValues:StringEquals": {"aws:PrincipalOrgPaths": "o-1/"}}},
        {"Condition": {"StringNotEquals": {"aws:PrincipalAccount": OTHER}}},
        {"Condition": {"IpAddress": {"aws:SourceIp": ["203.0.113.0/24", "0.0.0.0/0"]}}},
        {"Condition": {"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/x"}}},
    ],
)
def test_ways_to_let_everyone_in(changes: dict[str, Any]) -> None:
    assert admits_everyone(policy(**changes))
    assert admits_everyone(json.dumps(policy(**changes)))


@pytest.mark.parametrize(
    "changes",
    [
        {"Effect": "Deny"},
        {"Principal": {"AWS": ROOT}},
        {"Principal": {"Service": "lambda.amazonaws.com"}},
        {"Principal": None},
        only(aws_PrincipalOrgID="o-1"),
        only(kms_CallerAccount=OWN),
        only(AWS_sourceaccount=[OWN]),
        {"Condition": {"ForAnyValue:StringLike": {"aws:PrincipalOrgPaths": "o-1/*"}}},
        {"Condition": {"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}},
        {"Condition": {"ArnLike": {"aws:SourceArn": f"arn:aws:sns:*:{OWN}:topic"}}},
        {"Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:s3:::bucket"}}},
    ],
)
def test_ways_to_keep_most_out(changes: dict[str, Any]) -> None:
    assert not admits_everyone(policy(**changes))


@given(st.text() | st.recursive(st.none() | st.booleans() | st.text(), st.lists))
def test_what_is_no_policy_lets_nobody_in(found: object) -> None:
    assert not admits_everyone(found)
    assert not permits_everything({"Statement": found})
    assert foreign_accounts(found, OWN) == frozenset()
    assert trusted(found, "AWS") == []


def test_other_accounts_are_found_in_every_form_of_principal() -> None:
    named = [ROOT, OWN, f"arn:aws-us-gov:sts::{'3' * 12}:assumed-role/a/b", "4" * 12, "*"]
    found = foreign_accounts(policy(Principal={"AWS": named}), OWN)
    assert found == {OTHER, "3" * 12, "4" * 12}
    assert trusted(policy(Principal={"AWS": named}), "AWS") == sorted(named)
    assert trusted(policy(Principal={"Service": "ec2.amazonaws.com"}), "Service") == [
        "ec2.amazonaws.com"
    ]
    assert trusted(policy(Principal={"Service": "ec2.amazonaws.com"}), "AWS") == []


def test_an_external_id_must_be_demanded_of_each_other_account() -> None:
    asked = policy(Principal={"AWS": ROOT}, **only(sts_ExternalId="x"))["Statement"]
    free = policy(Principal={"AWS": ROOT})["Statement"]
    own = policy(Principal={"AWS": OWN})["Statement"]
    assert demands_external_id({"Statement": asked + own}, OWN)
    assert demands_external_id({"Statement": own}, OWN)
    assert not demands_external_id({"Statement": asked + free}, OWN)


@pytest.mark.parametrize(
    ("changes", "everything"),
    [
        ({}, True),
        ({"Action": ["s3:Get*", "*"], "Resource": ["*", "arn:aws:s3:::a"]}, True),
        ({"Action": "*:*"}, True),
        ({"Action": "s3:*"}, False),
        ({"Resource": "arn:aws:s3:::a"}, False),
        ({"Effect": "Deny"}, False),
        ({"Condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}}}, False),
        ({"Action": None, "NotAction": "iam:*"}, False),
    ],
)
def test_everything_is_every_action_on_every_resource(
    changes: dict[str, Any], everything: bool
) -> None:
    assert permits_everything(policy(**changes)) is everything


def test_the_text_of_a_policy_does_not_depend_on_its_order() -> None:
    assert policy_text({"b": 1, "a": [2]}) == policy_text({"a": [2], "b": 1}) == '{"a":[2],"b":1}'
    assert policy_text("{ }") == "{ }"
    assert policy_document('{"a": 1}') == {"a": 1}
    assert policy_document("no policy") == policy_document("[1]") == {}
