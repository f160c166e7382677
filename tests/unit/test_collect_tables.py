"""What is made of DynamoDB's answers about one table."""

from datetime import UTC, datetime
from typing import Any

import pytest

from mesh.aws.outcomes import Outcome
from mesh.aws.reader import Absent, Unread
from secmesh.inventory.v1.dynamodb_pb2 import DynamodbTable
from services.inventory.collect.draft import Draft
from services.inventory.collect.dynamodb_tables import PARTS, TARGETS, fill_table, follows_load

T = datetime(2026, 1, 1, tzinfo=UTC)
DENIED = Unread.of(TARGETS, Outcome.DENIED, "AccessDeniedException")
TABLE = {"TableStatus": "ACTIVE", "CreationDateTime": T}


def table(**changes: Any) -> DynamodbTable:
    body = DynamodbTable(table_name="orders")
    fill_table(body, {"Table": TABLE | changes})
    return body


@pytest.mark.parametrize(
    ("description", "encryption", "key"),
    [
        (None, "DEFAULT", ""),
        ({"Status": "DISABLED"}, "DEFAULT", ""),
        ({"Status": "ENABLED", "SSEType": "KMS", "KMSMasterKeyArn": "arn:k"}, "KMS", "arn:k"),
    ],
)
def test_encryption(description: dict[str, str] | None, encryption: str, key: str) -> None:
    body = table(**({"SSEDescription": description} if description else {}))
    assert (body.encryption, body.kms_key_id) == (encryption, key)


def part(index: int, answer: Any) -> Draft[DynamodbTable]:
    draft = Draft(native_id="orders", body=DynamodbTable())
    draft.take(answer, PARTS[index].fields, PARTS[index].fill)
    return draft


def test_recovery_that_is_off_reaches_back_no_days() -> None:
    off = {"PointInTimeRecoveryStatus": "DISABLED", "RecoveryPeriodInDays": 35}
    answer = {"ContinuousBackupsDescription": {"PointInTimeRecoveryDescription": off}}
    body = part(0, answer).body
    assert not body.pitr_enabled
    assert not body.HasField("retention_days")
    assert part(0, DENIED).unread.keys() == {"pitr_enabled", "retention_days"}


def test_a_table_without_a_policy_is_not_public() -> None:
    body = part(2, Absent("PolicyNotFoundException")).body
    assert body.HasField("policy_public")
    assert not body.policy_public
    anyone = '{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "dynamodb:*"}}'
    assert part(2, {"Policy": anyone}).body.policy_public


@pytest.mark.parametrize(
    ("billing", "scaled", "expected"),
    [
        ("PAY_PER_REQUEST", DENIED, True),
        ("PROVISIONED", DENIED, DENIED),
        ("PROVISIONED", frozenset({"orders"}), True),
        ("PROVISIONED", frozenset({"other"}), False),
    ],
)
def test_capacity_that_follows_the_load(billing: str, scaled: Any, expected: object) -> None:
    draft = Draft(native_id="orders", body=DynamodbTable(table_name="orders", billing_mode=billing))
    assert follows_load(draft, scaled) == expected
