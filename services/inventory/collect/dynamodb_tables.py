"""DynamoDB tables: encryption, recovery and who may reach them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mesh.aws.reader import Absent, Reader, Response, Unread
from secmesh.inventory.v1.dynamodb_pb2 import DynamodbTable
from services.inventory.collect.access_policy import admits_everyone
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, Truth, any_of, tag_map, timestamp

LIST = "dynamodb:ListTables"
DESCRIBE = "dynamodb:DescribeTable"
TAGS = "dynamodb:ListTagsOfResource"
TARGETS = "application-autoscaling:DescribeScalableTargets"
LISTINGS = (LIST,)
PAGE = 100
TARGET_PAGE = 50
ON_DEMAND = "PAY_PER_REQUEST"

DESCRIBED_FIELDS = (
    "status",
    "creation_date",
    "billing_mode",
    "encryption",
    "kms_key_id",
    "deletion_protection",
    "stream_view_type",
    "replica_regions",
)


@dataclass(frozen=True)
class Part:
    """One read of a table and the fields it fills."""

    operation: str
    parameter: str
    """Names the table: by name or by ARN, which each operation takes."""
    fields: tuple[str, ...]
    fill: Callable[[DynamodbTable, Response | None], None]


def _backups(body: DynamodbTable, response: Response | None) -> None:
    backups: Any = (response or {}).get("ContinuousBackupsDescription", {})
    recovery = backups.get("PointInTimeRecoveryDescription", {})
    body.pitr_enabled = recovery.get("PointInTimeRecoveryStatus") == "ENABLED"
    if body.pitr_enabled and (days := recovery.get("RecoveryPeriodInDays")):
        body.retention_days = days


def _expiry(body: DynamodbTable, response: Response | None) -> None:
    expiry: Any = (response or {}).get("TimeToLiveDescription", {})
    if expiry.get("TimeToLiveStatus") == "ENABLED":
        body.ttl_attribute = expiry["AttributeName"]


def _policy(body: DynamodbTable, response: Response | None) -> None:
    policy = (response or {}).get("Policy")
    if policy:
        body.policy = policy
    body.policy_public = admits_everyone(policy)


PARTS = (
    Part(
        "dynamodb:DescribeContinuousBackups",
        "TableName",
        ("pitr_enabled", "retention_days"),
        _backups,
    ),
    Part("dynamodb:DescribeTimeToLive", "TableName", ("ttl_attribute",), _expiry),
    Part("dynamodb:GetResourcePolicy", "ResourceArn", ("policy", "policy_public"), _policy),
)
OPERATIONS = frozenset((LIST, DESCRIBE, TAGS, TARGETS, *(part.operation for part in PARTS)))
FIELDS = frozenset(
    (
        *("table_name", "autoscaling", "tags"),
        *DESCRIBED_FIELDS,
        *(name for part in PARTS for name in part.fields),
    )
)


def collect(reader: Reader) -> Collected:
    """Read the tables of one region."""
    names = reader.picked(LIST, "TableNames", str, page_size=PAGE)
    reader.ledger.is_listing(LIST)
    if isinstance(names, Unread):
        return Collected([], names)
    scaled = _scaled_tables(reader) if names else frozenset()
    read = reader.fan_out(lambda name: _read_table(reader, name, scaled), names)
    return Collected([draft for draft in read if draft is not None])


def _scaled_tables(reader: Reader) -> frozenset[str] | Unread:
    found = reader.picked(
        TARGETS,
        "ScalableTargets",
        lambda target: str(target["ResourceId"]).removeprefix("table/"),
        page_size=TARGET_PAGE,
        ServiceNamespace="dynamodb",
    )
    return found if isinstance(found, Unread) else frozenset(found)


def _read_table(
    reader: Reader, name: str, scaled: frozenset[str] | Unread
) -> Draft[DynamodbTable] | None:
    account = reader.account
    arn = (
        f"arn:{account.partition}:dynamodb:{reader.region}:{account.cloud_account_id}:table/{name}"
    )
    described = reader.call(DESCRIBE, resource=arn, TableName=name)
    if isinstance(described, Absent):
        return None
    draft = Draft(native_id=name, arn=arn, body=DynamodbTable(table_name=name))
    draft.take(described, DESCRIBED_FIELDS, fill_table)
    for part in PARTS:
        place = arn if part.parameter == "ResourceArn" else name
        answer = reader.call(part.operation, resource=arn, **{part.parameter: place})
        draft.take(answer, part.fields, part.fill)
    draft.decide("autoscaling", follows_load(draft, scaled))
    tags = reader.picked(TAGS, "Tags", dict, resource=arn, ResourceArn=arn)
    if isinstance(tags, Unread):
        draft.miss(tags, "tags")
    else:
        draft.body.tags.update(tag_map(tags))
    return draft


def fill_table(body: DynamodbTable, response: Response | None) -> None:
    """Fill what DescribeTable tells."""
    table: Any = (response or {})["Table"]
    body.status = table["TableStatus"]
    body.creation_date.CopyFrom(timestamp(table["CreationDateTime"]))
    body.billing_mode = table.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED")
    encryption = table.get("SSEDescription", {})
    body.encryption = "DEFAULT"
    if encryption.get("Status") in ("ENABLED", "UPDATING"):
        body.encryption = encryption.get("SSEType", "KMS")
        if key := encryption.get("KMSMasterKeyArn"):
            body.kms_key_id = key
    body.deletion_protection = table.get("DeletionProtectionEnabled", False)
    stream = table.get("StreamSpecification", {})
    if stream.get("StreamEnabled"):
        body.stream_view_type = stream["StreamViewType"]
    body.replica_regions.extend(sorted(each["RegionName"] for each in table.get("Replicas", ())))


def follows_load(draft: Draft[DynamodbTable], scaled: frozenset[str] | Unread) -> Truth:
    """Tell whether a table's capacity follows its load by itself."""
    body = draft.body
    on_demand: Truth = draft.unread.get("billing_mode") or body.billing_mode == ON_DEMAND
    target: Truth = scaled if isinstance(scaled, Unread) else body.table_name in scaled
    return any_of((on_demand, target))


COLLECTOR = Collector(
    "dynamodb_tables",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
