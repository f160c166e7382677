"""Keys of KMS: whose they are, whether they are rotated, whom their policies let in."""

from typing import Any

from mesh.aws.reader import Absent, Answer, Reader, Response, Unread
from secmesh.inventory.v1.kms_pb2 import KmsKey
from services.inventory.collect.access_policy import admits_everyone, foreign_accounts
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, tag_map, timestamp

LIST = "kms:ListKeys"
ALIASES = "kms:ListAliases"
DESCRIBE = "kms:DescribeKey"
ROTATION = "kms:GetKeyRotationStatus"
POLICY = "kms:GetKeyPolicy"
GRANTS = "kms:ListGrants"
TAGS = "kms:ListResourceTags"
LISTINGS = (LIST,)
OPERATIONS = frozenset((LIST, ALIASES, DESCRIBE, ROTATION, POLICY, GRANTS, TAGS))
PAGE = 1000
ALIAS_PAGE = 100
# KMS rotates once a year unless told otherwise.
DEFAULT_PERIOD_DAYS = 365
CUSTOMER = "CUSTOMER"

DESCRIBED_FIELDS = (
    "description",
    "manager",
    "state",
    "usage",
    "spec",
    "origin",
    "multi_region",
    "creation_date",
    "deletion_date",
    "rotatable",
)
ROTATION_FIELDS = ("rotation_enabled", "rotation_period_days")
POLICY_FIELDS = ("policy", "policy_public", "policy_cross_account")
FIELDS = frozenset(
    (
        *("key_id", "aliases", "grants", "tags"),
        *DESCRIBED_FIELDS,
        *ROTATION_FIELDS,
        *POLICY_FIELDS,
    )
)

Aliases = dict[str, list[str]] | Unread
"""By key id."""


def collect(reader: Reader) -> Collected:
    """Read the keys of one region."""
    keys = reader.items(LIST, "Keys", page_size=PAGE, listing=True)
    if isinstance(keys, Unread):
        return Collected([], keys)
    aliases = _aliases(reader)
    read = reader.fan_out(lambda key: _read_key(reader, key, aliases), keys)
    return Collected([draft for draft in read if draft is not None])


def _aliases(reader: Reader) -> Aliases:
    listed = reader.items(ALIASES, "Aliases", page_size=ALIAS_PAGE)
    if isinstance(listed, Unread):
        return listed
    found: dict[str, list[str]] = {}
    for alias in listed:
        # AWS keeps aliases for keys that it has not made yet.
        if key := alias.get("TargetKeyId"):
            found.setdefault(key, []).append(str(alias["AliasName"]))
    return found


def _read_key(reader: Reader, listed: Response, aliases: Aliases) -> Draft[KmsKey] | None:
    arn = str(listed["KeyArn"])
    described = reader.call(DESCRIBE, resource=arn, KeyId=arn)
    if isinstance(described, Absent):
        return None
    draft = key_draft(listed, described, aliases)
    if isinstance(described, Unread):
        draft.miss(described, *ROTATION_FIELDS)
    elif draft.body.rotatable:
        fill_rotation(draft, reader.call(ROTATION, resource=arn, KeyId=arn))
    if draft.body.HasField("manager") and draft.body.manager != CUSTOMER:
        # Neither policy, grants nor tags of these keys are the customer's.
        return draft
    policy = reader.call(POLICY, resource=arn, KeyId=arn, PolicyName="default")
    fill_policy(draft, policy, reader.account.cloud_account_id)
    _fill_lists(reader, draft)
    return draft


def key_draft(listed: Response, described: Answer, aliases: Aliases) -> Draft[KmsKey]:
    """Map one key: its place in the list, its description and its names."""
    body = KmsKey(key_id=listed["KeyId"])
    draft = Draft(native_id=body.key_id, arn=str(listed["KeyArn"]), body=body)
    draft.take(described, DESCRIBED_FIELDS, _fill_description)
    if isinstance(aliases, Unread):
        draft.miss(aliases, "aliases")
    else:
        body.aliases.extend(sorted(aliases.get(body.key_id, ())))
    return draft


def _fill_description(body: KmsKey, response: Response | None) -> None:
    key: Any = (response or {}).get("KeyMetadata", {})
    body.description = key.get("Description", "")
    body.manager = key.get("KeyManager", CUSTOMER)
    body.state = key["KeyState"]
    body.usage = key.get("KeyUsage", "ENCRYPT_DECRYPT")
    body.spec = key.get("KeySpec") or key.get("CustomerMasterKeySpec", "")
    body.origin = key.get("Origin", "")
    body.multi_region = key.get("MultiRegion", False)
    body.creation_date.CopyFrom(timestamp(key["CreationDate"]))
    if deleted := key.get("DeletionDate"):
        body.deletion_date.CopyFrom(timestamp(deleted))
    facts = (body.manager, body.state, body.spec, body.origin)
    body.rotatable = facts == (CUSTOMER, "Enabled", "SYMMETRIC_DEFAULT", "AWS_KMS")


def fill_rotation(draft: Draft[KmsKey], answer: Answer) -> None:
    """Fill whether and how often KMS rotates a key."""

    def fill(body: KmsKey, response: Response | None) -> None:
        status = response or {}
        body.rotation_enabled = bool(status.get("KeyRotationEnabled", False))
        if body.rotation_enabled:
            body.rotation_period_days = status.get("RotationPeriodInDays", DEFAULT_PERIOD_DAYS)

    draft.take(answer, ROTATION_FIELDS, fill)


def fill_policy(draft: Draft[KmsKey], answer: Answer, cloud_account_id: str) -> None:
    """Fill a key's policy and whom it lets in."""

    def fill(body: KmsKey, response: Response | None) -> None:
        policy = str((response or {}).get("Policy", ""))
        body.policy = policy
        body.policy_public = admits_everyone(policy)
        body.policy_cross_account = bool(foreign_accounts(policy, cloud_account_id))

    draft.take(answer, POLICY_FIELDS, fill)


def _fill_lists(reader: Reader, draft: Draft[KmsKey]) -> None:
    arn, body = draft.arn, draft.body
    grants = reader.picked(
        GRANTS, "Grants", lambda grant: str(grant.get("GrantId", "")), resource=arn, KeyId=arn
    )
    if isinstance(grants, Unread):
        draft.miss(grants, "grants")
    else:
        body.grants = len(grants)
    tags = reader.picked(TAGS, "Tags", _tag, resource=arn, KeyId=arn)
    if isinstance(tags, Unread):
        draft.miss(tags, "tags")
    else:
        body.tags.update(tag_map(tags))


def _tag(tag: Response) -> Response:
    return {"Key": tag["TagKey"], "Value": tag["TagValue"]}


COLLECTOR = Collector(
    "kms_keys",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
