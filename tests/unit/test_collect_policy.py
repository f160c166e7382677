"""What a bucket policy must say to demand TLS."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inventory.collect.bucket_policy import demands_tls

BUCKET = "vault"
ARN = f"arn:aws:s3:::{BUCKET}"
BOTH = [ARN, f"{ARN}/*"]
PLAIN = {"Bool": {"aws:SecureTransport": "false"}}


def statement(**changes: Any) -> dict[str, Any]:
    whole = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": BOTH,
        "Condition": PLAIN,
    } | changes
    return {key: value for key, value in whole.items() if value is not None}


def demanded(*statements: dict[str, Any]) -> bool:
    return demands_tls(json.dumps({"Version": "2012-10-17", "Statement": statements}), BUCKET)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"Principal": {"AWS": "*"}},
        {"Principal": {"AWS": ["*"]}},
        {"Action": "*"},
        {"Action": ["s3:*"]},
        {"Action": "S3:*"},
        {"Resource": "*"},
        {"Resource": ["*"]},
        {"Resource": f"{ARN}*"},
        {"Resource": "arn:aws:s3:::*"},
        {"Resource": [*BOTH, "arn:aws:s3:::other"]},
        {"Condition": {"Bool": {"aws:SecureTransport": ["false"]}}},
        {"Condition": {"Bool": {"aws:SecureTransport": False}}},
        {"Condition": {"Bool": {"AWS:securetransport": "false"}}},
        {"Condition": {"BoolIfExists": {"aws:SecureTransport": "false"}}},
    ],
)
def test_ways_to_demand_tls(changes: dict[str, Any]) -> None:
    assert demanded(statement(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"Effect": "Allow"},
        {"Principal": {"AWS": "arn:aws:iam::123456789012:root"}},
        {"Principal": {"Service": "*"}},
        {"Principal": None},
        {"Principal": None, "NotPrincipal": {"AWS": "arn:aws:iam::123456789012:root"}},
        {"Action": "s3:GetObject"},
        {"Action": ["s3:GetObject", "s3:PutObject"]},
        {"Action": None, "NotAction": "s3:GetObject"},
        {"Resource": ARN},
        {"Resource": f"{ARN}/*"},
        {"Resource": [ARN, f"{ARN}/public/*"]},
        {"Resource": ["arn:aws:s3:::other", "arn:aws:s3:::other/*"]},
        {"Resource": None, "NotResource": "arn:aws:s3:::other"},
        {"Condition": None},
        {"Condition": {}},
        {"Condition": {"Bool": {"aws:SecureTransport": "true"}}},
        {"Condition": {"Bool": {"aws:MultiFactorAuthPresent": "false"}}},
        {"Condition": {"StringEquals": {"aws:SecureTransport": "false"}}},
        {"Condition": PLAIN | {"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}},
        {"Condition": {"Bool": {"aws:SecureTransport": "false", "aws:ViaAWSService": "false"}}},
    ],
)
def test_what_leaves_a_way_without_tls(changes: dict[str, Any]) -> None:
    assert not demanded(statement(**changes))


def test_two_statements_may_share_the_work() -> None:
    assert demanded(statement(Resource=ARN), statement(Resource=f"{ARN}/*"))
    assert not demanded(statement(Resource=ARN), statement(Resource=f"{ARN}/*", Effect="Allow"))


def test_a_single_statement_needs_no_list() -> None:
    assert demands_tls(json.dumps({"Statement": statement()}), BUCKET)


def test_other_partitions_have_their_own_arns() -> None:
    mine = [each.replace("arn:aws:", "arn:aws-us-gov:") for each in BOTH]
    text = json.dumps({"Statement": [statement(Resource=mine)]})
    assert demands_tls(text, BUCKET, "aws-us-gov")
    assert not demands_tls(text, BUCKET)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["Statement", "Effect", "Condition", "Bool", "Principal", "x"]), inner
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_no_json_breaks_the_reading(value: Any) -> None:
    assert demands_tls(json.dumps(value), BUCKET) is False


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"Statement": 7}', "[" * 20_000])
def test_a_text_that_is_no_policy_demands_nothing(text: str) -> None:
    assert not demands_tls(text, BUCKET)
