"""What is made of IAM's answers about roles, policies and access keys."""

from datetime import UTC, datetime
from typing import Any

import pytest

from mesh.aws.outcomes import Outcome
from mesh.aws.reader import Unread
from services.inventory.collect.access_keys import key_draft
from services.inventory.collect.credential_report import ROOT, KeyLine, UserLine
from services.inventory.collect.iam_policies import policy_draft
from services.inventory.collect.iam_roles import ROLES, role_draft

T = datetime(2026, 1, 1, tzinfo=UTC)
OWN, OTHER = "111111111111", "222222222222"
ARN = f"arn:aws:iam::{OWN}:role/a"
DENIED = Unread.of(ROLES, Outcome.DENIED, "AccessDenied")


def role(**changes: Any) -> dict[str, Any]:
    trust = {"Statement": [{"Effect": "Allow", "Principal": {"AWS": OTHER}}]}
    whole = {
        "RoleName": "a",
        "RoleId": "AROA1",
        "Path": "/",
        "Arn": ARN,
        "CreateDate": T,
        "AssumeRolePolicyDocument": trust,
    }
    return whole | changes


def test_a_role_is_mapped() -> None:
    body = role_draft(
        role(
            Path="/aws-service-role/x/",
            RoleLastUsed={"LastUsedDate": T, "Region": "us-east-1"},
            PermissionsBoundary={"PermissionsBoundaryArn": "arn:b"},
            AttachedManagedPolicies=[{"PolicyArn": "arn:2"}, {"PolicyArn": "arn:1"}],
        ),
        {ARN: 3600},
        OWN,
    ).body
    assert body.is_service_linked
    assert body.last_used.ToDatetime(UTC) == T
    assert body.permissions_boundary == "arn:b"
    assert body.attached_policies == ["arn:1", "arn:2"]
    assert body.max_session_seconds == 3600
    assert body.trusted_aws == [OTHER]
    assert (body.trusts_other_accounts, body.external_id_required) == (True, False)


def test_a_role_that_was_not_listed_lacks_only_its_longest_session() -> None:
    assert role_draft(role(), DENIED, OWN).unread == {"max_session_seconds": DENIED}
    later = role_draft(role(), {}, OWN)
    assert not later.unread
    assert not later.body.HasField("max_session_seconds")
    assert not later.body.HasField("last_used")


def test_a_role_of_its_own_account_asks_for_no_external_id() -> None:
    trust = {"Statement": [{"Effect": "Allow", "Principal": {"AWS": OWN}}]}
    body = role_draft(role(AssumeRolePolicyDocument=trust), {}, OWN).body
    assert not body.HasField("external_id_required")


@pytest.mark.parametrize("default", [0, 1])
def test_the_default_version_of_a_policy_counts(default: int) -> None:
    everything = {"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}
    versions = [
        {"Document": document, "IsDefaultVersion": place == default}
        for place, document in enumerate((everything, {"Statement": []}))
    ]
    body = policy_draft(
        {
            "PolicyName": "p",
            "PolicyId": "ANPA1",
            "Path": "/",
            "Arn": "arn:p",
            "CreateDate": T,
            "UpdateDate": T,
            "DefaultVersionId": "v1",
            "AttachmentCount": 2,
            "PolicyVersionList": versions,
        }
    ).body
    assert body.permits_everything is (default == 0)
    assert body.attachment_count == 2


def line(key: KeyLine, user: str = "bob") -> UserLine:
    return UserLine(user, f"arn:{user}", T, None, None, None, mfa_active=False, keys=(key,))


def test_a_key_that_was_never_rotated_is_as_old_as_its_user() -> None:
    key = KeyLine(2, active=True, last_rotated=None, last_used=None, last_used_service="")
    body = key_draft(line(key), key).body
    assert body.last_rotated.ToDatetime(UTC) == T
    assert (body.slot, body.active, body.is_root) == (2, True, False)
    assert not body.HasField("last_used")
    assert not body.HasField("last_used_service")


def test_keys_of_the_root_user_are_told_apart() -> None:
    first = KeyLine(1, active=True, last_rotated=T, last_used=T, last_used_service="s3")
    second = KeyLine(2, active=False, last_rotated=T, last_used=None, last_used_service="")
    one, two = (key_draft(line(first, ROOT), each) for each in (first, second))
    assert one.body.is_root
    assert one.body.last_used_service == "s3"
    assert one.native_id != two.native_id
