"""What is made of AWS Backup's and EFS's answers."""

import json
from typing import Any

import pytest

from mesh.aws.outcomes import Outcome
from mesh.aws.reader import Unread
from secmesh.inventory.v1.aws_backup_pb2 import BackupPlan
from secmesh.inventory.v1.efs_pb2 import EfsFileSystem
from services.inventory.collect import backup_coverage, efs_file_systems
from services.inventory.collect.access_policy import admits_everyone
from services.inventory.collect.backup_plans import fill_rules, plan_draft, selection_of
from services.inventory.collect.backup_selection import COLLECTION, covers, fill_planned
from services.inventory.collect.backup_vaults import denies_deletion, vault_draft
from services.inventory.collect.draft import Draft
from services.inventory.collect.recovery_points import point_draft
from services.inventory.collect.source import NOT_COLLECTED, Source
from services.inventory.collect.wildcards import matches

REGION = "eu-west-1"
TABLE = f"arn:aws:dynamodb:{REGION}:111111111111:table/orders"
FILES = f"arn:aws:elasticfilesystem:{REGION}:111111111111:file-system/fs-1"
DENIED = Unread.of("backup:ListBackupSelections", Outcome.DENIED, "AccessDeniedException")
DELETION = [
    "backup:DeleteRecoveryPoint",
    "backup:UpdateRecoveryPointLifecycle",
    "backup:PutBackupVaultAccessPolicy",
]
PLAIN = {"Bool": {"aws:SecureTransport": "false"}}
MOUNTED = {"Bool": {"elasticfilesystem:AccessedViaMountTarget": "true"}}


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def deny(**changes: Any) -> dict[str, Any]:
    return {"Effect": "Deny", "Principal": "*", "Action": DELETION, "Resource": "*"} | changes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (policy(deny()), True),
        (policy(deny(Principal={"AWS": "*"}, Action="backup:*")), True),
        (policy(deny(Action="BACKUP:d*"), deny(Action=DELETION[1:])), True),
        (policy(deny(Action=DELETION[:2])), False),
        (policy(deny(Condition={"StringNotLike": {"aws:userId": ["A:*"]}})), False),
        (policy(deny(Resource="arn:aws:ec2:*::snapshot/*")), False),
        (policy(deny(Principal={"AWS": "arn:aws:iam::111111111111:root"})), False),
        (policy(deny(Effect="Allow")), False),
        ("no policy", False),
        (None, False),
    ],
)
def test_what_keeps_recovery_points(text: str | None, expected: bool) -> None:
    assert denies_deletion(text) is expected


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("arn:aws:*:table/*", TABLE, True),
        ("*", "", True),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("a[b]c", "abc", False),
        ("a.c", "abc", False),
        ("A*", "abc", False),
        ("*" * 60 + "x", "a" * 200, False),
    ],
)
def test_patterns_are_those_of_aws(pattern: str, text: str, expected: bool) -> None:
    assert matches(pattern, text) is expected


def selected(**told: Any) -> BackupPlan.Selection:
    return selection_of({"SelectionName": "one", **told})


def condition(key: str, value: str) -> dict[str, str]:
    return {"ConditionKey": key, "ConditionValue": value}


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"Resources": [TABLE]}, True),
        ({"Resources": ["arn:aws:dynamodb:*"]}, True),
        ({"Resources": ["arn:aws:rds:*"]}, False),
        ({"Resources": ["*"], "NotResources": ["arn:aws:dynamodb:*"]}, False),
        ({"ListOfTags": [condition("team", "web"), condition("team", "data")]}, True),
        ({"ListOfTags": [condition("team", "web")]}, False),
        ({"Resources": ["arn:aws:rds:*"], "ListOfTags": [condition("team", "data")]}, True),
        ({"Conditions": {"StringEquals": [condition("aws:ResourceTag/team", "data")]}}, True),
        ({"Conditions": {"StringLike": [condition("aws:ResourceTag/team", "d*")]}}, True),
        (
            {
                "Resources": ["*"],
                "Conditions": {
                    "StringEquals": [condition("aws:ResourceTag/team", "data")],
                    "StringNotEquals": [condition("aws:ResourceTag/team", "data")],
                },
            },
            False,
        ),
        ({"Conditions": {"StringNotLike": [condition("aws:ResourceTag/stage", "*")]}}, True),
        ({"Conditions": {"StringEquals": [condition("aws:ResourceTag/stage", "x")]}}, False),
        ({}, True),
    ],
)
def test_what_a_selection_holds(told: dict[str, Any], expected: bool) -> None:
    assert covers(selected(**told), TABLE, {"team": "data"}) is expected


def plan(*selections: BackupPlan.Selection, unread: Unread | None = None) -> Draft[BackupPlan]:
    made = Draft(
        native_id="p",
        arn=f"arn:aws:backup:{REGION}:111111111111:backup-plan:p",
        body=BackupPlan(selections=selections),
    )
    if unread is not None:
        made.miss(unread, "selections")
    return made


@pytest.mark.parametrize(
    ("plans", "expected"),
    [
        (Source([plan(selected(Resources=["*"]))], {REGION}), True),
        (Source([plan(unread=DENIED), plan(selected())], {REGION}), True),
        (Source([plan(selected(Resources=[TABLE]))], {REGION}), False),
        (Source([], {REGION}), False),
        (Source([plan(unread=DENIED)], {REGION}), DENIED.code),
        (Source(), NOT_COLLECTED),
    ],
)
def test_whether_a_plan_selects(plans: Source, expected: bool | str) -> None:
    draft = Draft(native_id="fs-1", arn=FILES, body=EfsFileSystem())
    fill_planned([draft], {COLLECTION: plans})
    if isinstance(expected, bool):
        assert draft.body.HasField("in_backup_plan")
        assert draft.body.in_backup_plan is expected
    else:
        assert draft.unread["in_backup_plan"].code == expected


VAULT = "arn:aws:backup:{}:{}:backup-vault:v"


@pytest.mark.parametrize(
    ("copies", "expected"),
    [
        ([], False),
        ([VAULT.format(REGION, "111111111111")], False),
        ([VAULT.format("eu-central-1", "111111111111")], True),
        ([VAULT.format(REGION, "222222222222")], True),
    ],
)
def test_copies_go_to_another_region_or_account(copies: list[str], expected: bool) -> None:
    rule = {
        "RuleName": "r",
        "CopyActions": [{"DestinationBackupVaultArn": each} for each in copies],
    }
    body = BackupPlan()
    fill_rules(body, {"BackupPlan": {"Rules": [rule]}}, f"{REGION}:111111111111")
    assert body.copies_elsewhere is expected
    assert not body.rules[0].HasField("schedule")
    assert not body.rules[0].HasField("retention_days")


def test_little_is_told() -> None:
    vault = vault_draft({"BackupVaultName": "v", "BackupVaultArn": VAULT}).body
    assert (vault.locked, vault.vault_type) == (False, "BACKUP_VAULT")
    assert not vault.HasField("min_retention_days")
    made = plan_draft({"BackupPlanId": "p", "BackupPlanArn": "arn"}).body
    assert not made.HasField("creation_date")
    point = point_draft({"RecoveryPointArn": "arn"}).body
    assert not point.HasField("encrypted")
    assert not point.HasField("completion_date")


def test_backups_that_are_not_told_are_marked() -> None:
    draft = backup_coverage.coverage_draft((TABLE, "DynamoDB"))
    backup_coverage.fill_backups([draft], DENIED)
    assert draft.unread.keys() == {"last_backup_time", "last_vault_arn"}


def mount(**changes: Any) -> dict[str, Any]:
    whole = {"Effect": "Deny", "Principal": {"AWS": "*"}, "Action": "*", "Condition": PLAIN}
    return whole | changes


@pytest.mark.parametrize(
    ("text", "tls", "public"),
    [
        (policy(mount()), True, False),
        (policy(mount(Action="elasticfilesystem:Client*", Resource=FILES)), True, False),
        (policy(mount(Resource=f"{FILES}2")), False, False),
        (policy(mount(Action="elasticfilesystem:ClientWrite")), False, False),
        (policy(mount(Condition=PLAIN | {"StringEquals": {"a": "b"}})), False, False),
        (policy(mount(Effect="Allow", Condition={})), False, True),
        (policy(mount(Effect="Allow", Condition=MOUNTED)), False, False),
        (
            policy(
                mount(
                    Effect="Allow",
                    Condition={"Bool": {"elasticfilesystem:AccessedViaMountTarget": "false"}},
                )
            ),
            False,
            True,
        ),
        ("", False, False),
    ],
)
def test_who_mounts_a_file_system_and_how(text: str, tls: bool, public: bool) -> None:
    assert efs_file_systems.demands_tls(text, FILES) is tls
    assert admits_everyone(text) is public
