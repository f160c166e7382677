"""What is made of the answers of Identity Center, Config, GuardDuty and Security Hub."""

from typing import Any

import pytest

from mesh.aws.outcomes import Outcome
from mesh.aws.reader import Absent, Unread
from secmesh.inventory.v1.account_pb2 import AccountMetadata
from secmesh.inventory.v1.config_pb2 import ConfigRecorder, ConformancePack
from secmesh.inventory.v1.iam_pb2 import IamUser
from services.inventory.collect import (
    config_recorders,
    config_rules,
    conformance_packs,
    guardduty,
    permission_sets,
    security_hub,
    sso_instances,
)
from services.inventory.collect.draft import Draft
from services.inventory.collect.source import GLOBAL, NOT_COLLECTED, Source

HOME, AWAY = "us-east-1", "eu-west-1"
DENIED = Unread.of("config:DescribeConfigurationRecorders", Outcome.DENIED, "AccessDenied")
REPORT = Unread.of("iam:GetCredentialReport", Outcome.DENIED, "AccessDenied")


def user(name: str, password: bool | None, *, is_root: bool = False) -> Draft[IamUser]:
    draft = Draft(native_id=name, body=IamUser(username=name, is_root=is_root))
    if password is None:
        draft.miss(REPORT, "password_enabled")
    else:
        draft.body.password_enabled = password
    return draft


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (Source([], {GLOBAL}), 0),
        (Source([user("a", True), user("b", False), user("r", True, is_root=True)], {GLOBAL}), 1),
        (Source([user("a", None), user("b", True)], {GLOBAL}), REPORT),
        (Source([user("r", None, is_root=True)], {GLOBAL}), 0),
        (Source([user("a", True)], set(), {GLOBAL: REPORT}), REPORT),
    ],
)
def test_console_users_are_counted_if_all_are_known(source: Source, expected: object) -> None:
    assert sso_instances.console_users(source) == expected


def test_without_the_users_nobody_is_counted() -> None:
    found = sso_instances.console_users(Source())
    assert isinstance(found, Unread)
    assert found.code == NOT_COLLECTED


def test_an_instance_with_few_members() -> None:
    draft = sso_instances.instance_draft({"InstanceArn": "arn:i"}, HOME, owned=True)
    assert (draft.body.status, draft.region) == ("ACTIVE", HOME)
    assert draft.body.regions == [HOME]
    assert not draft.body.HasField("instance_name")
    sso_instances.fill_attributes(draft, Absent("ResourceNotFoundException"))
    assert not draft.body.access_control_attributes
    assert not draft.unread


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        ("PT8H", 480),
        ("PT1H30M", 90),
        ("PT45M", 45),
        ("P1D", 1440),
        ("PT12H0M0S", 720),
        ("", 60),
        ("P", 60),
        ("eight hours", 60),
    ],
)
def test_durations(duration: str, expected: int) -> None:
    assert permission_sets.minutes(duration) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("BreakGlass", True),
        ("emergency_break-glass", True),
        ("break glass admin", True),
        ("Administrators", False),
        ("GlassBreakers", False),
    ],
)
def test_sets_for_emergencies_by_their_name(name: str, expected: bool) -> None:
    assert permission_sets.is_break_glass(name) is expected


MANAGED = Unread.of(permission_sets.MANAGED, Outcome.DENIED, "AccessDeniedException")
INLINE = Unread.of(permission_sets.INLINE, Outcome.DENIED, "AccessDeniedException")
ADMINISTRATOR = "arn:aws-us-gov:iam::aws:policy/AdministratorAccess"
ALL = '{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}'


@pytest.mark.parametrize(
    ("policies", "inline", "expected"),
    [
        ([], "", False),
        ([ADMINISTRATOR], "", True),
        (["arn:aws:iam::aws:policy/job-function/ViewOnlyAccess"], "", False),
        ([], ALL, True),
        (MANAGED, ALL, True),
        ([ADMINISTRATOR], INLINE, True),
        (MANAGED, "", MANAGED),
        ([], INLINE, INLINE),
    ],
)
def test_what_permits_everything(policies: Any, inline: Any, expected: bool | Unread) -> None:
    told = {"PermissionSet": {"Name": "one"}}
    draft = permission_sets.set_draft("arn:i", "arn:s", HOME, told)
    permission_sets.fill_list(draft, "managed_policies", policies)
    if isinstance(inline, Unread):
        draft.miss(inline, "inline_policy")
    else:
        draft.body.inline_policy = inline
    permission_sets.decide_power(draft)
    assert draft.truth("permits_everything") == expected


def test_a_set_that_is_not_described_keeps_its_gaps() -> None:
    unread = Unread.of(permission_sets.DESCRIBE, Outcome.DENIED, "AccessDeniedException")
    draft = permission_sets.set_draft("arn:i", "arn:s", HOME, unread)
    assert draft.unread.keys() == set(permission_sets.DESCRIBED_FIELDS)
    permission_sets.fill_list(draft, "provisioned_accounts", MANAGED)
    permission_sets.fill_assignments(draft, [])
    assert draft.unread["assignments"] is MANAGED


def test_one_account_that_is_not_read_leaves_the_assignments_open() -> None:
    draft = permission_sets.set_draft("arn:i", "arn:s", HOME, {"PermissionSet": {"Name": "one"}})
    permission_sets.fill_assignments(draft, [[], MANAGED])
    assert draft.unread["assignments"] is MANAGED


def recorder(*, includes: bool, recording: bool = True) -> Draft[ConfigRecorder]:
    body = ConfigRecorder(recording=recording, includes_global_types=includes)
    return Draft(native_id="default", body=body)


def account(*regions: str) -> Source:
    body = AccountMetadata(regions_enabled=regions)
    return Source([Draft(native_id="one", body=body)], {GLOBAL})


@pytest.mark.parametrize(
    ("recorders", "regions", "expected"),
    [
        (Source([recorder(includes=True)], {HOME}), account(HOME, AWAY), True),
        (Source([recorder(includes=True)], set(), {AWAY: DENIED}), account(HOME, AWAY), True),
        (Source([recorder(includes=False)], {HOME, AWAY}), account(HOME, AWAY), False),
        (
            Source([recorder(includes=True, recording=False)], {HOME, AWAY}),
            account(HOME, AWAY),
            False,
        ),
        (Source([recorder(includes=False)], {HOME}, {AWAY: DENIED}), account(HOME), DENIED.code),
        (Source([recorder(includes=False)], {HOME}), account(HOME, AWAY), NOT_COLLECTED),
        (Source([recorder(includes=False)], {HOME}), Source(), NOT_COLLECTED),
    ],
)
def test_who_records_the_types_of_iam(
    recorders: Source, regions: Source, expected: bool | str
) -> None:
    found = config_recorders.global_types_recorded(recorders, regions)
    assert (found.code if isinstance(found, Unread) else found) == expected


def test_a_recorder_that_never_recorded() -> None:
    draft = config_recorders.recorder_draft({"name": "default"})
    for fill in (config_recorders.fill_status, config_recorders.fill_channel):
        fill(draft, [])
    config_recorders.fill_delivery(draft, [{"name": "default"}])
    config_recorders.fill_retention(draft, [])
    body = draft.body
    assert (body.recording, body.last_status, body.all_supported) == (False, "", False)
    assert body.retention_days == 2557
    assert not body.HasField("delivery_bucket")
    assert not body.HasField("delivery_status")


def test_a_rule_that_was_never_evaluated() -> None:
    draft = config_rules.rule_draft({"ConfigRuleName": "one"}, {})
    assert not draft.body.HasField("compliance_type")
    assert not draft.body.HasField("noncompliant_count")
    assert not draft.unread
    unread = config_rules.rule_draft({"ConfigRuleName": "one"}, DENIED).unread
    assert unread.keys() == set(config_rules.COMPLIANCE_FIELDS)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Operational-Best-Practices-for-NIST-800-53-rev-5", "NIST 800-53"),
        ("AWSConformancePacks-OperationalBestPracticesforNIST800-53rev5", "NIST 800-53"),
        ("FedRAMP_Moderate", "FedRAMP"),
        ("nist-csf", None),
        ("our-own", None),
    ],
)
def test_frameworks_of_packs(name: str, expected: str | None) -> None:
    assert conformance_packs.framework_of(("plain", name)) == expected


@pytest.mark.parametrize(
    ("told", "expected"),
    [({"Score": "71.25"}, 71.25), ({"Score": "INSUFFICIENT_DATA"}, None), ({}, None)],
)
def test_scores_of_packs(told: dict[str, str], expected: float | None) -> None:
    body = ConformancePack()
    conformance_packs.fill_score(body, told)
    assert (body.compliance_score if body.HasField("compliance_score") else None) == expected


def test_a_detector_with_few_members() -> None:
    draft = guardduty.detector_draft("d", "arn:d", {"Status": "DISABLED"})
    assert draft.body.status == "DISABLED"
    assert not draft.body.HasField("creation_date")
    denied = Unread.of(guardduty.GET, Outcome.DENIED, "AccessDeniedException")
    assert guardduty.detector_draft("d", "arn:d", denied).unread.keys() == set(
        guardduty.DETAIL_FIELDS
    )


@pytest.mark.parametrize(
    ("arn", "expected"),
    [
        ("arn:aws:securityhub:us-east-1:1:product-subscription/aws/macie", "aws/macie"),
        ("odd", "odd"),
    ],
)
def test_products(arn: str, expected: str) -> None:
    assert security_hub.product_of(arn) == expected
