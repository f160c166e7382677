"""Buckets mapped from S3's answers, and who can reach them."""

from datetime import UTC, datetime
from itertools import product
from typing import Any

import pytest

from mesh.aws.outcomes import Outcome
from mesh.aws.reader import Absent, Answer, Unread
from secmesh.inventory.v1.cloudtrail_pb2 import CloudtrailTrail
from secmesh.inventory.v1.s3_pb2 import S3AccountSettings, S3Bucket
from services.inventory.collect.derive import data_events_logged
from services.inventory.collect.draft import Draft, Truth, all_of, any_of, negate
from services.inventory.collect.s3_account_settings import account_draft
from services.inventory.collect.s3_buckets import (
    ACLS_OFF,
    NEED_VERSIONING,
    NOT_VERSIONED,
    PARTS,
    VERSIONING,
    bucket_draft,
    implied_answer,
)
from services.inventory.collect.source import Source

LISTED = {"Name": "vault", "CreationDate": datetime(2026, 1, 1, tzinfo=UTC)}
ANYONE = {"URI": "http://acs.amazonaws.com/groups/global/AllUsers", "Type": "Group"}


def gap(operation: str) -> Unread:
    return Unread.of(operation, Outcome.DENIED, "AccessDenied")


def controls(ownership: str) -> dict[str, Any]:
    return {"OwnershipControls": {"Rules": [{"ObjectOwnership": ownership}]}}


def bucket(account: Draft[S3AccountSettings] | None = None, **answers: Answer) -> Draft[S3Bucket]:
    """Map a bucket whose parts are not configured, but for those given by operation name."""
    whole: dict[str, Answer] = {part.operation: Absent("NotConfigured") for part in PARTS}
    whole |= {f"s3:{name}": answer for name, answer in answers.items()}
    free = account_draft("123456789012", Absent("NoSuchPublicAccessBlockConfiguration"))
    return bucket_draft(LISTED, "us-east-1", whole, account or free)


def flags(*, acls: bool, buckets: bool) -> dict[str, Any]:
    return {
        "PublicAccessBlockConfiguration": {
            "IgnorePublicAcls": acls,
            "RestrictPublicBuckets": buckets,
        }
    }


POLICY, ACL, BUCKET_BLOCK, ACCOUNT_BLOCK, OWNERSHIP = range(5)
CHOICES: list[list[Any]] = [
    [False, True, None],
    [False, True, None],
    [(False, False), (True, False), (False, True), (True, True), None],
    [(False, False), (True, False), (False, True), (True, True), None],
    ["ObjectWriter", "BucketOwnerEnforced", None],
]


def published(chosen: tuple[Any, ...]) -> Draft[S3Bucket]:
    """Map a bucket with these facts, None for those that are unread."""
    policy, grants, own, whole, ownership = chosen
    blocks = [
        gap("s3:GetPublicAccessBlock") if each is None else flags(acls=each[0], buckets=each[1])
        for each in (own, whole)
    ]
    return bucket(
        account_draft("123456789012", blocks[1]),
        GetBucketPolicy={"Policy": "{}"},
        GetBucketPolicyStatus=gap("s3:GetBucketPolicyStatus")
        if policy is None
        else {"PolicyStatus": {"IsPublic": policy}},
        GetBucketAcl=gap("s3:GetBucketAcl")
        if grants is None
        else {"Grants": [{"Grantee": ANYONE, "Permission": "READ"}] if grants else []},
        GetPublicAccessBlock=blocks[0],
        GetBucketOwnershipControls=gap("s3:GetBucketOwnershipControls")
        if ownership is None
        else {"OwnershipControls": {"Rules": [{"ObjectOwnership": ownership}]}},
    )


def reached(chosen: tuple[Any, ...]) -> bool:
    """Say who reaches a bucket whose facts are all known, in the words of S3's guide."""
    policy, grants, own, whole, ownership = chosen
    by_policy = policy and not own[1] and not whole[1]
    by_acl = grants and not own[0] and not whole[0] and ownership != "BucketOwnerEnforced"
    return bool(by_policy or by_acl)


def completions(chosen: tuple[Any, ...]) -> set[bool]:
    """Give every answer that the unread facts leave possible."""
    options = [
        [each for each in CHOICES[place] if each is not None] if value is None else [value]
        for place, value in enumerate(chosen)
    ]
    return {reached(whole) for whole in product(*options)}


def test_public_is_unread_only_if_the_unread_leaves_it_open() -> None:
    for chosen in product(*CHOICES):
        draft = published(chosen)
        possible = completions(chosen)
        if len(possible) == 1:
            assert "public" not in draft.unread, chosen
            assert draft.body.public is possible.pop(), chosen
        else:
            assert draft.unread["public"].outcome is Outcome.DENIED, chosen
            assert not draft.body.HasField("public"), chosen


def test_a_bucket_without_configuration_has_its_facts() -> None:
    draft = bucket()
    body = draft.body
    assert not draft.unread
    assert (body.encryption, body.versioning, body.ownership) == (
        "NONE",
        "Disabled",
        "ObjectWriter",
    )
    assert (body.public, body.https_only, body.public_access_block) == (False, False, False)
    for absent in ("kms_key_id", "policy", "logging_target_bucket", "object_lock_mode"):
        assert not body.HasField(absent)
    assert draft.arn == "arn:aws:s3:::vault"


def test_each_denied_part_marks_its_own_fields() -> None:
    for part in PARTS:
        draft = bucket(None, **{part.operation.removeprefix("s3:"): gap(part.operation)})
        assert set(part.fields) <= draft.unread.keys()
        assert {each.operation for each in draft.unread.values()} <= {part.operation}
        filled = {field.name for field, _ in draft.body.ListFields()}
        assert filled.isdisjoint(draft.unread)


def test_parts_are_mapped() -> None:
    body = bucket(
        GetBucketEncryption={
            "ServerSideEncryptionConfiguration": {
                "Rules": [
                    {
                        "ApplyServerSideEncryptionByDefault": {
                            "SSEAlgorithm": "aws:kms:dsse",
                            "KMSMasterKeyID": "key",
                        },
                        "BucketKeyEnabled": True,
                    }
                ]
            }
        },
        GetObjectLockConfiguration={
            "ObjectLockConfiguration": {
                "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Years": 2}}
            }
        },
        GetBucketLifecycleConfiguration={
            "Rules": [
                {"Status": "Enabled", "Expiration": {"Days": 90}},
                {"Status": "Enabled", "Expiration": {"Days": 30}},
                {"Status": "Disabled", "Expiration": {"Days": 1}},
                {"Status": "Enabled", "Transitions": []},
            ]
        },
        GetBucketReplication={
            "ReplicationConfiguration": {
                "Rules": [
                    {"Status": "Enabled", "Destination": {"Bucket": "arn:b"}},
                    {"Status": "Enabled", "Destination": {"Bucket": "arn:a"}},
                    {"Status": "Disabled", "Destination": {"Bucket": "arn:c"}},
                ]
            }
        },
        GetBucketNotificationConfiguration={
            "TopicConfigurations": [{"TopicArn": "t"}],
            "LambdaFunctionConfigurations": [{"LambdaFunctionArn": "l"}],
        },
        GetBucketVersioning={"Status": "Suspended", "MFADelete": "Enabled"},
        GetBucketTagging={"TagSet": [{"Key": "team", "Value": "data"}]},
        GetBucketLogging={"LoggingEnabled": {"TargetBucket": "logs"}},
    ).body
    assert (body.encryption, body.kms_key_id, body.bucket_key_enabled) == (
        "aws:kms:dsse",
        "key",
        True,
    )
    assert (body.object_lock_mode, body.retention_days) == ("GOVERNANCE", 730)
    assert body.expiration_days == 30
    assert list(body.replication_targets) == ["arn:a", "arn:b"]
    assert list(body.event_targets) == ["l", "t"]
    assert (body.versioning, body.mfa_delete) == ("Suspended", True)
    assert dict(body.tags) == {"team": "data"}
    assert body.logging_target_bucket == "logs"


UNKNOWN = gap("s3:GetBucketAcl")
OTHER = gap("s3:GetBucketPolicy")


@pytest.mark.parametrize(
    ("truths", "some", "every"),
    [
        ([], False, True),
        ([True], True, True),
        ([False, UNKNOWN], UNKNOWN, False),
        ([True, UNKNOWN], True, UNKNOWN),
        ([UNKNOWN, OTHER], UNKNOWN, UNKNOWN),
        ([UNKNOWN, True, OTHER], True, UNKNOWN),
    ],
)
def test_logic_of_three_values(truths: list[Truth], some: Truth, every: Truth) -> None:
    assert any_of(truths) == some
    assert all_of(truths) == every
    # De Morgan holds for the unknown too.
    assert negate(all_of([negate(each) for each in truths])) == some


def trail(
    *, prefixes: list[str], logging: bool = True, multi: bool = True, region: str = "us-east-1"
) -> Draft[CloudtrailTrail]:
    body = CloudtrailTrail(
        is_multi_region=multi, is_logging=logging, s3_data_events=prefixes, home_region=region
    )
    return Draft(native_id=region, body=body, region=region)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (trail(prefixes=["arn:aws:s3"]), True),
        (trail(prefixes=["arn:aws:s3:::"]), True),
        (trail(prefixes=["arn:aws:s3:::vault/"]), True),
        (trail(prefixes=["arn:aws:s3:::vault/reports/"]), False),
        (trail(prefixes=["arn:aws:s3:::vault-two/"]), False),
        (trail(prefixes=["arn:aws:s3"], logging=False), False),
        (trail(prefixes=["arn:aws:s3"], multi=False), True),
        (trail(prefixes=["arn:aws:s3"], multi=False, region="eu-west-1"), False),
        (trail(prefixes=[]), False),
    ],
)
def test_a_trail_watches_a_bucket_whole_or_not(
    found: Draft[CloudtrailTrail], expected: bool
) -> None:
    assert data_events_logged(bucket(), Source([found], {"us-east-1"})) is expected


def test_an_unlisted_region_may_hold_the_trail_that_watches() -> None:
    watching, idle = trail(prefixes=["arn:aws:s3"]), trail(prefixes=[])
    denied = gap("cloudtrail:DescribeTrails")
    dark = Source([idle], {"eu-west-1"}, {"us-east-1": denied})
    assert data_events_logged(bucket(), dark) is denied
    lit = Source([watching], {"eu-west-1"}, {"us-east-1": denied})
    assert data_events_logged(bucket(), lit) is True
    never = data_events_logged(bucket(), Source())
    assert isinstance(never, Unread)
    assert never.code == "NotCollected"


@pytest.mark.parametrize(
    ("versioning", "implied"),
    [
        ({"Status": "Enabled"}, False),
        ({"Status": "Suspended"}, True),
        ({}, True),
        (Unread.of(VERSIONING, Outcome.DENIED, "AccessDenied"), False),
        (Absent("NoSuchBucket"), False),
    ],
)
def test_locks_and_replicas_are_asked_of_versioned_buckets_only(
    versioning: Any, implied: bool
) -> None:
    for operation in NEED_VERSIONING:
        found = implied_answer(operation, {VERSIONING: versioning})
        assert (found == Absent(NOT_VERSIONED)) is implied


@pytest.mark.parametrize(
    ("ownership", "implied"),
    [
        (controls("BucketOwnerEnforced"), True),
        (controls("BucketOwnerPreferred"), False),
        (controls("ObjectWriter"), False),
        ({}, False),
        (Absent("OwnershipControlsNotFoundError"), False),
        (gap("s3:GetBucketOwnershipControls"), False),
    ],
)
def test_acls_are_asked_only_where_they_count(ownership: Answer, implied: bool) -> None:
    found = implied_answer("s3:GetBucketAcl", {"s3:GetBucketOwnershipControls": ownership})
    assert (found == Absent(ACLS_OFF)) is implied
