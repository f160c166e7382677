"""What is made of KMS's answers about one key."""

from datetime import UTC, datetime
from typing import Any

import pytest

from mesh.aws.outcomes import Outcome
from mesh.aws.reader import Absent, Unread
from secmesh.inventory.v1.kms_pb2 import KmsKey
from services.inventory.collect.draft import Draft
from services.inventory.collect.kms_keys import (
    DESCRIBE,
    DESCRIBED_FIELDS,
    fill_policy,
    fill_rotation,
    key_draft,
)

T = datetime(2026, 1, 1, tzinfo=UTC)
OWN = "111111111111"
LISTED = {"KeyId": "k1", "KeyArn": f"arn:aws:kms:us-east-1:{OWN}:key/k1"}
METADATA = {
    "KeyManager": "CUSTOMER",
    "KeyState": "Enabled",
    "KeyUsage": "ENCRYPT_DECRYPT",
    "KeySpec": "SYMMETRIC_DEFAULT",
    "Origin": "AWS_KMS",
    "CreationDate": T,
}
DENIED = Unread.of(DESCRIBE, Outcome.DENIED, "AccessDeniedException")


def draft(**changes: Any) -> Draft[KmsKey]:
    return key_draft(LISTED, {"KeyMetadata": METADATA | changes}, {"k1": ["alias/b", "alias/a"]})


@pytest.mark.parametrize(
    ("changes", "rotatable"),
    [
        ({}, True),
        ({"KeySpec": None, "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT"}, True),
        ({"KeySpec": "RSA_2048"}, False),
        ({"Origin": "EXTERNAL"}, False),
        ({"KeyState": "Disabled"}, False),
        ({"KeyManager": "AWS"}, False),
    ],
)
def test_keys_that_kms_can_rotate(changes: dict[str, Any], rotatable: bool) -> None:
    assert draft(**changes).body.rotatable is rotatable


def test_a_key_is_mapped() -> None:
    body = draft(DeletionDate=T, KeyState="PendingDeletion", MultiRegion=True).body
    assert body.aliases == ["alias/a", "alias/b"]
    assert body.deletion_date.ToDatetime(UTC) == T
    assert body.multi_region
    assert not draft().body.HasField("deletion_date")


def test_a_key_that_is_not_described_keeps_its_gaps() -> None:
    found = key_draft(LISTED, DENIED, DENIED)
    assert found.unread.keys() == {*DESCRIBED_FIELDS, "aliases"}
    assert found.body == KmsKey(key_id="k1")


@pytest.mark.parametrize(
    ("answer", "enabled", "days"),
    [
        ({"KeyRotationEnabled": True, "RotationPeriodInDays": 90}, True, 90),
        ({"KeyRotationEnabled": True}, True, 365),
        ({"KeyRotationEnabled": False, "RotationPeriodInDays": 90}, False, None),
        (Absent("NotFoundException"), False, None),
    ],
)
def test_the_period_of_rotation(answer: Any, enabled: bool, days: int | None) -> None:
    found = draft()
    fill_rotation(found, answer)
    assert found.body.rotation_enabled is enabled
    assert (found.body.rotation_period_days or None) == days


def test_a_policy_tells_whom_it_lets_in() -> None:
    found = draft()
    other = '{"Statement": {"Effect": "Allow", "Principal": {"AWS": "222222222222"}}}'
    fill_policy(found, {"Policy": other}, OWN)
    assert found.body.policy == other
    assert found.body.policy_cross_account
    assert not found.body.policy_public
    fill_policy(found, DENIED, OWN)
    assert not found.body.HasField("policy_public")
    assert found.unread["policy"] is DENIED
