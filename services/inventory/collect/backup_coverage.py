"""Resources that AWS Backup could keep, and when it last did.

AWS Backup lists what it has backed up at least once, and goes on to do so when the resource is
gone; what it never backed up only the services themselves can tell.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mesh.aws.reader import Reader, Response, Unread
from secmesh.inventory.v1.aws_backup_pb2 import BackupCoverage
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, timestamp

PROTECTED = "backup:ListProtectedResources"
PROTECTED_PAGE = 1000
BACKUP_FIELDS = ("last_backup_time", "last_vault_arn")
FIELDS = frozenset(BackupCoverage.DESCRIPTOR.fields_by_name)
# Clusters that are not of RDS proper, by the beginning of their engine's name. Source: AWS Backup
# Developer Guide, "Supported resources".
_ENGINES = {"aurora": "Aurora", "docdb": "DocumentDB", "neptune": "Neptune"}

Found = tuple[str, str]
"""ARN and type of a resource."""


@dataclass(frozen=True)
class Place:
    """Where a unit reads, as ARNs write it."""

    partition: str
    region: str
    cloud_account_id: str

    def arn(self, service: str, resource: str) -> str:
        """Give the ARN of a resource here."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.cloud_account_id}:{resource}"


def _instance(item: Response, _: Place) -> Found | None:
    # A cluster is backed up as a whole.
    return None if item.get("DBClusterIdentifier") else (str(item["DBInstanceArn"]), "RDS")


def _cluster(item: Response, _: Place) -> Found:
    engine = str(item.get("Engine", "")).partition("-")[0]
    return str(item["DBClusterArn"]), _ENGINES.get(engine, "RDS")


def _table(name: Any, place: Place) -> Found:
    return place.arn("dynamodb", f"table/{name}"), "DynamoDB"


def _file_system(item: Response, _: Place) -> Found:
    return str(item["FileSystemArn"]), "EFS"


def _volume(item: Response, place: Place) -> Found:
    return place.arn("ec2", f"volume/{item['VolumeId']}"), "EBS"


def _bucket(item: Response, place: Place) -> Found | None:
    if item.get("BucketRegion", place.region) != place.region:
        return None
    return f"arn:{place.partition}:s3:::{item['Name']}", "S3"


@dataclass(frozen=True)
class Sort:
    """One listing of resources that can be backed up."""

    operation: str
    key: str
    page: int
    found: Callable[[Any, Place], Found | None]
    parameters: Callable[[Reader], Mapping[str, Any]] = field(default=lambda _: {})


SORTS = (
    Sort("rds:DescribeDBInstances", "DBInstances", 100, _instance),
    Sort("rds:DescribeDBClusters", "DBClusters", 100, _cluster),
    Sort("dynamodb:ListTables", "TableNames", 100, _table),
    Sort("efs:DescribeFileSystems", "FileSystems", 100, _file_system),
    Sort("ec2:DescribeVolumes", "Volumes", 500, _volume),
    Sort(
        "s3:ListBuckets", "Buckets", 1000, _bucket, lambda reader: {"BucketRegion": reader.region}
    ),
)
LISTINGS = tuple(sort.operation for sort in SORTS)
OPERATIONS = frozenset((*LISTINGS, PROTECTED))


def collect(reader: Reader) -> Collected:
    """Read the resources of one region and what AWS Backup knows of them."""
    place = Place(reader.account.partition, reader.region, reader.account.cloud_account_id)
    backed = reader.items(PROTECTED, "Results", page_size=PROTECTED_PAGE)
    drafts: list[Draft[BackupCoverage]] = []
    gap: Unread | None = None
    for listed in reader.fan_out(lambda sort: _listed(reader, sort, place), SORTS):
        if isinstance(listed, Unread):
            gap = gap or listed
        else:
            drafts.extend(map(coverage_draft, listed))
    fill_backups(drafts, backed)
    return Collected(drafts, gap)


def _listed(reader: Reader, sort: Sort, place: Place) -> list[Found] | Unread:
    reader.ledger.is_listing(sort.operation)
    found = reader.picked(
        sort.operation,
        sort.key,
        lambda item: sort.found(item, place),
        page_size=sort.page,
        **sort.parameters(reader),
    )
    return found if isinstance(found, Unread) else [each for each in found if each is not None]


def coverage_draft(found: Found) -> Draft[BackupCoverage]:
    """Make a draft of a resource before its backups are known."""
    arn, resource_type = found
    body = BackupCoverage(resource_arn=arn, resource_type=resource_type)
    return Draft(native_id=arn, arn=arn, body=body)


def fill_backups(drafts: Iterable[Draft[BackupCoverage]], backed: list[Response] | Unread) -> None:
    """Fill the last backup of each resource, or mark it."""
    known = {} if isinstance(backed, Unread) else {each["ResourceArn"]: each for each in backed}
    for draft in drafts:
        if isinstance(backed, Unread):
            draft.miss(backed, *BACKUP_FIELDS)
        elif told := known.get(draft.arn):
            if last := told.get("LastBackupTime"):
                draft.body.last_backup_time.CopyFrom(timestamp(last))
            if vault := told.get("LastBackupVaultArn"):
                draft.body.last_vault_arn = vault


COLLECTOR = Collector(
    "backup_coverage",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
