"""The embedded endpoint holds to the external id of a trust policy."""

from typing import Any

import pytest

from mesh.embedded.aws_trust import is_trusted

ASSUME = {"Effect": "Allow", "Action": "sts:AssumeRole"}


def wanting(*ids: str, operator: str = "StringEquals") -> dict[str, Any]:
    return ASSUME | {"Condition": {operator: {"sts:ExternalId": list(ids)}}}


@pytest.mark.parametrize(
    ("statement", "external_id", "trusted"),
    [
        (ASSUME, None, True),
        (ASSUME, "any", True),
        (wanting("right"), "right", True),
        (wanting("other", "right"), "right", True),
        (wanting("right"), "wrong", False),
        (wanting("right"), None, False),
        ({**ASSUME, "Effect": "Deny"}, None, False),
        ({**ASSUME, "Action": ["sts:TagSession"]}, None, False),
        ([wanting("right"), ASSUME], "wrong", True),
        # What is not understood is not granted.
        (wanting("right", operator="StringLike"), "right", False),
        (ASSUME | {"Condition": {"Bool": {"aws:SecureTransport": "true"}}}, None, True),
    ],
)
def test_who_may_assume_a_role(statement: Any, external_id: str | None, trusted: bool) -> None:
    assert is_trusted({"Statement": statement}, external_id) is trusted
