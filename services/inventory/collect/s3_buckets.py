"""S3 buckets and what decides who can read them."""

from collections.abc import Callable
from dataclasses import dataclass

from mesh.aws.operations import BUCKET_GONE
from mesh.aws.reader import Absent, Answer, Reader, Response, Unread
from secmesh.inventory.v1.s3_pb2 import S3AccountSettings, S3Bucket
from services.inventory.collect.bucket_policy import demands_tls
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import (
    Collected,
    Draft,
    Truth,
    all_of,
    any_of,
    negate,
    tag_map,
    timestamp,
)
from services.inventory.collect.granted_actions import lets_others_write
from services.inventory.collect.s3_account_settings import (
    ACCOUNT_BLOCK,
    BLOCK_FIELDS,
    fill_block,
    read_account_block,
)

LIST = "s3:ListBuckets"
LOCATION = "s3:GetBucketLocation"
ACL = "s3:GetBucketAcl"
OWNERSHIP = "s3:GetBucketOwnershipControls"
POLICY = "s3:GetBucketPolicy"
POLICY_STATUS = "s3:GetBucketPolicyStatus"
VERSIONING = "s3:GetBucketVersioning"
OBJECT_LOCK = "s3:GetObjectLockConfiguration"
REPLICATION = "s3:GetBucketReplication"
# S3 has neither without versioning, and refuses to suspend it while one of them is there.
# Source: Amazon S3 User Guide, "Locking objects with Object Lock", "Replication requirements".
NEED_VERSIONING = (OBJECT_LOCK, REPLICATION)
NOT_VERSIONED = "NotVersioned"
# S3 turns ACLs off only where they grant nothing beyond the owner, and takes none afterwards.
# Source: Amazon S3 User Guide, "Prerequisites for disabling ACLs".
ACLS_OFF = "AclsOff"
LISTINGS = (LIST,)
PAGE = 1000
# Grantees of ACLs that are not one account. Source: Amazon S3 User Guide, "ACL overview".
_EVERYONE = frozenset(
    {
        "http://acs.amazonaws.com/groups/global/AllUsers",
        "http://acs.amazonaws.com/groups/global/AuthenticatedUsers",
    }
)
_ACLS_OFF = "BucketOwnerEnforced"
_DAYS_A_YEAR = 365
# What GetBucketLocation calls the regions that are older than it.
_OLD_LOCATIONS = {"": "us-east-1", "EU": "eu-west-1"}


def _encryption(body: S3Bucket, response: Response | None) -> None:
    rules = (response or {}).get("ServerSideEncryptionConfiguration", {}).get("Rules", ())
    rule: Response = next(
        (each for each in rules if "ApplyServerSideEncryptionByDefault" in each), {}
    )
    default = rule.get("ApplyServerSideEncryptionByDefault", {})
    body.encryption = default.get("SSEAlgorithm", "NONE")
    body.bucket_key_enabled = bool(rule.get("BucketKeyEnabled", False))
    if key := default.get("KMSMasterKeyID"):
        body.kms_key_id = key


def _policy(body: S3Bucket, response: Response | None) -> None:
    if response is not None:
        body.policy = response["Policy"]


def _policy_status(body: S3Bucket, response: Response | None) -> None:
    body.policy_is_public = bool((response or {}).get("PolicyStatus", {}).get("IsPublic", False))


def _acl(body: S3Bucket, response: Response | None) -> None:
    grants = (response or {}).get("Grants", ())
    body.acl_grants_public = any(
        grant.get("Grantee", {}).get("URI") in _EVERYONE for grant in grants
    )


def _owned(response: Response | None) -> str:
    rules = (response or {}).get("OwnershipControls", {}).get("Rules", ())
    # Without controls of its own a bucket behaves as S3 always did.
    return next((str(rule["ObjectOwnership"]) for rule in rules), "ObjectWriter")


def _ownership(body: S3Bucket, response: Response | None) -> None:
    body.ownership = _owned(response)


def _versioning(body: S3Bucket, response: Response | None) -> None:
    body.versioning = (response or {}).get("Status", "Disabled")
    body.mfa_delete = (response or {}).get("MFADelete") == "Enabled"


def _logging(body: S3Bucket, response: Response | None) -> None:
    if target := (response or {}).get("LoggingEnabled", {}).get("TargetBucket"):
        body.logging_target_bucket = target


def _object_lock(body: S3Bucket, response: Response | None) -> None:
    configuration = (response or {}).get("ObjectLockConfiguration", {})
    retention = configuration.get("Rule", {}).get("DefaultRetention", {})
    if mode := retention.get("Mode"):
        body.object_lock_mode = mode
        body.retention_days = retention.get("Days") or retention.get("Years", 0) * _DAYS_A_YEAR


def _lifecycle(body: S3Bucket, response: Response | None) -> None:
    days = [
        rule["Expiration"]["Days"]
        for rule in (response or {}).get("Rules", ())
        if rule.get("Status") == "Enabled" and rule.get("Expiration", {}).get("Days")
    ]
    if days:
        body.expiration_days = min(days)


def _replication(body: S3Bucket, response: Response | None) -> None:
    rules = (response or {}).get("ReplicationConfiguration", {}).get("Rules", ())
    body.replication_targets.extend(
        sorted({rule["Destination"]["Bucket"] for rule in rules if rule["Status"] == "Enabled"})
    )


def _notification(body: S3Bucket, response: Response | None) -> None:
    targets = {
        configuration[target]
        for key, target in (
            ("TopicConfigurations", "TopicArn"),
            ("QueueConfigurations", "QueueArn"),
            ("LambdaFunctionConfigurations", "LambdaFunctionArn"),
        )
        for configuration in (response or {}).get(key, ())
    }
    body.event_targets.extend(sorted(targets))


def _tags(body: S3Bucket, response: Response | None) -> None:
    body.tags.update(tag_map((response or {}).get("TagSet", ())))


@dataclass(frozen=True)
class Part:
    """One read of a bucket and the fields it fills."""

    operation: str
    fields: tuple[str, ...]
    fill: Callable[[S3Bucket, Response | None], None]


PARTS = (
    Part("s3:GetBucketEncryption", ("encryption", "kms_key_id", "bucket_key_enabled"), _encryption),
    Part("s3:GetPublicAccessBlock", BLOCK_FIELDS, fill_block),
    Part(POLICY, ("policy",), _policy),
    Part(POLICY_STATUS, ("policy_is_public",), _policy_status),
    Part(OWNERSHIP, ("ownership",), _ownership),
    Part(ACL, ("acl_grants_public",), _acl),
    Part(VERSIONING, ("versioning", "mfa_delete"), _versioning),
    Part("s3:GetBucketLogging", ("logging_target_bucket",), _logging),
    Part(OBJECT_LOCK, ("object_lock_mode", "retention_days"), _object_lock),
    Part("s3:GetBucketLifecycleConfiguration", ("expiration_days",), _lifecycle),
    Part(REPLICATION, ("replication_targets",), _replication),
    Part("s3:GetBucketNotificationConfiguration", ("event_targets",), _notification),
    Part("s3:GetBucketTagging", ("tags",), _tags),
)
LISTED_FIELDS = ("bucket_name", "creation_date")
EFFECTIVE_FIELDS = ("public", "https_only", "policy_cross_account_write")
DERIVED_FIELDS = ("data_events_logged", "keeps_logs")
OPERATIONS = frozenset((LIST, LOCATION, ACCOUNT_BLOCK, *(part.operation for part in PARTS)))
FIELDS = frozenset(
    (
        *LISTED_FIELDS,
        *EFFECTIVE_FIELDS,
        *DERIVED_FIELDS,
        *(name for part in PARTS for name in part.fields),
    )
)


def collect(reader: Reader) -> Collected:
    """Read all buckets of the account, several at a time."""
    buckets = reader.items(LIST, "Buckets", page_size=PAGE, listing=True)
    if isinstance(buckets, Unread):
        return Collected([], buckets)
    account = Draft(native_id=reader.account.cloud_account_id, body=S3AccountSettings())
    account.take(read_account_block(reader), BLOCK_FIELDS, fill_block)
    drafts = reader.fan_out(lambda bucket: _read_bucket(reader, bucket, account), buckets)
    return Collected([draft for draft in drafts if draft is not None])


def _read_bucket(
    reader: Reader, listed: Response, account: Draft[S3AccountSettings]
) -> Draft[S3Bucket] | None:
    name = str(listed["Name"])
    region = str(listed.get("BucketRegion") or "") or _location(reader, name)
    if isinstance(region, Absent):
        return None
    where = "" if isinstance(region, Unread) else region
    answers: dict[str, Answer] = {}
    for part in PARTS:
        implied = implied_answer(part.operation, answers)
        if implied is not None:
            answers[part.operation] = implied
            continue
        answer = reader.call(part.operation, resource=name, region=where, Bucket=name)
        if isinstance(answer, Absent) and answer.code == BUCKET_GONE:
            return None
        answers[part.operation] = answer
    return bucket_draft(listed, region, answers, account, reader.account.partition)


def implied_answer(operation: str, answers: dict[str, Answer]) -> Absent | None:
    """Give what earlier answers say of an operation, so that it need not be called."""
    if operation == POLICY_STATUS:
        policy = answers[POLICY]
        return policy if isinstance(policy, Absent) else None
    if operation == ACL:
        ownership = answers[OWNERSHIP]
        if isinstance(ownership, (Absent, Unread)) or _owned(ownership) != _ACLS_OFF:
            return None
        return Absent(ACLS_OFF)
    if operation in NEED_VERSIONING:
        versioning = answers[VERSIONING]
        if isinstance(versioning, (Absent, Unread)) or versioning.get("Status") == "Enabled":
            return None
        return Absent(NOT_VERSIONED)
    return None


def _location(reader: Reader, name: str) -> str | Absent | Unread:
    answer = reader.call(LOCATION, resource=name, Bucket=name)
    if isinstance(answer, (Absent, Unread)):
        return answer
    found = answer.get("LocationConstraint") or ""
    return _OLD_LOCATIONS.get(found, found)


def bucket_draft(
    listed: Response,
    region: str | Unread,
    answers: dict[str, Answer],
    account: Draft[S3AccountSettings],
    partition: str = "aws",
) -> Draft[S3Bucket]:
    """Map one bucket: its place in the list, and the answer of each part."""
    name = str(listed["Name"])
    draft = Draft(
        native_id=name,
        arn=f"arn:{partition}:s3:::{name}",
        region="" if isinstance(region, Unread) else region,
        region_gap=region if isinstance(region, Unread) else None,
        body=S3Bucket(bucket_name=name, creation_date=timestamp(listed["CreationDate"])),
    )
    for part in PARTS:
        draft.take(answers[part.operation], part.fields, part.fill)
    draft.decide("public", _public(draft, account))
    draft.decide("https_only", _https_only(draft, partition))
    others_write: Truth = draft.unread.get("policy") or lets_others_write(
        draft.body.policy, account.native_id
    )
    draft.decide("policy_cross_account_write", others_write)
    return draft


def _public(draft: Draft[S3Bucket], account: Draft[S3AccountSettings]) -> Truth:
    """Combine policy and ACL with the blocks of bucket and account (Kleene)."""
    ownership = draft.unread.get("ownership") or draft.body.ownership == _ACLS_OFF
    by_policy = all_of(
        (
            draft.truth("policy_is_public"),
            negate(draft.truth("restrict_public_buckets")),
            negate(account.truth("restrict_public_buckets")),
        )
    )
    by_acl = all_of(
        (
            draft.truth("acl_grants_public"),
            negate(draft.truth("ignore_public_acls")),
            negate(account.truth("ignore_public_acls")),
            negate(ownership),
        )
    )
    return any_of((by_policy, by_acl))


def _https_only(draft: Draft[S3Bucket], partition: str) -> Truth:
    if "policy" in draft.unread:
        return draft.unread["policy"]
    return demands_tls(draft.body.policy, draft.body.bucket_name, partition)


COLLECTOR = Collector(
    "s3_buckets",
    Scope.GLOBAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
