"""Log groups of CloudWatch Logs, each a resource of its own."""

from datetime import UTC, datetime, timedelta

from mesh.aws.reader import Reader, Response, Unread
from secmesh.inventory.v1.cloudwatch_pb2 import LogGroup
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, timestamp

GROUPS = "logs:DescribeLogGroups"
LISTINGS = (GROUPS,)
OPERATIONS = frozenset(LISTINGS)
PAGE = 50
FIELDS = frozenset(LogGroup.DESCRIPTOR.fields_by_name)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def collect(reader: Reader) -> Collected:
    """Read the log groups of one region."""
    groups = reader.items(GROUPS, "logGroups", page_size=PAGE, listing=True)
    if isinstance(groups, Unread):
        return Collected([], groups)
    return Collected([group_draft(group) for group in groups])


def group_draft(group: Response) -> Draft[LogGroup]:
    """Map one log group."""
    body = LogGroup(
        log_group_name=group["logGroupName"],
        kms_key_id=group.get("kmsKeyId") or None,
        log_group_class=group.get("logGroupClass", "STANDARD"),
        data_protection=group.get("dataProtectionStatus") or None,
        deletion_protection=group.get("deletionProtectionEnabled", False),
    )
    if created := group.get("creationTime"):
        body.creation_date.CopyFrom(timestamp(_EPOCH + timedelta(milliseconds=created)))
    if days := group.get("retentionInDays"):
        body.retention.FromTimedelta(timedelta(days=days))
    # `arn` ends in ":*", as policies want it; logGroupArn does not.
    arn = str(group.get("logGroupArn") or group.get("arn", "")).removesuffix(":*")
    return Draft(native_id=body.log_group_name, arn=arn, body=body)


COLLECTOR = Collector(
    "log_groups",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
