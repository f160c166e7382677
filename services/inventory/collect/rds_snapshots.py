"""Snapshots of RDS, of instances and of clusters, and who may restore them."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from mesh.aws.reader import Absent, Answer, Reader, Response, Unread
from secmesh.inventory.v1.rds_pb2 import RdsSnapshot
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, tag_map, timestamp

MANUAL = "manual"
EVERYONE = "all"
RESTORE = "restore"
PAGE = 100
SHARE_FIELDS = ("public", "shared_with")
FIELDS = frozenset(RdsSnapshot.DESCRIPTOR.fields_by_name)


@dataclass(frozen=True)
class Sort:
    """Snapshots of one sort, and what RDS calls their parts."""

    prefix: str
    """Begins the names of keys and parameters."""
    source: str

    @property
    def listing(self) -> str:
        return f"rds:Describe{self.prefix}Snapshots"

    @property
    def attributes(self) -> str:
        return f"{self.listing.removesuffix('s')}Attributes"


OF_INSTANCES = Sort("DB", "DBInstanceIdentifier")
OF_CLUSTERS = Sort("DBCluster", "DBClusterIdentifier")
SORTS = (OF_INSTANCES, OF_CLUSTERS)
LISTINGS = tuple(sort.listing for sort in SORTS)
OPERATIONS = frozenset((*LISTINGS, *(sort.attributes for sort in SORTS)))


def collect(reader: Reader) -> Collected:
    """Read the snapshots of one region."""
    drafts: list[Draft[RdsSnapshot]] = []
    gap: Unread | None = None
    for sort in SORTS:
        found = reader.items(sort.listing, f"{sort.prefix}Snapshots", page_size=PAGE, listing=True)
        if isinstance(found, Unread):
            gap = gap or found
        else:
            drafts.extend(reader.fan_out(partial(_read, reader, sort), found))
    return Collected(drafts, gap)


def _read(reader: Reader, sort: Sort, snapshot: Response) -> Draft[RdsSnapshot]:
    draft = snapshot_draft(sort, snapshot)
    if draft.body.snapshot_type != MANUAL:
        # RDS lets nobody share these.
        draft.body.public = False
        return draft
    named = f"{sort.prefix}SnapshotIdentifier"
    name = draft.body.snapshot_id
    answer = reader.call(sort.attributes, resource=draft.arn, **{named: name})
    fill_shares(draft, sort, answer)
    return draft


def snapshot_draft(sort: Sort, snapshot: Response) -> Draft[RdsSnapshot]:
    """Map one snapshot by its place in the list."""
    encrypted = snapshot.get("Encrypted", snapshot.get("StorageEncrypted", False))
    body = RdsSnapshot(
        snapshot_id=snapshot[f"{sort.prefix}SnapshotIdentifier"],
        source_id=snapshot.get(sort.source, ""),
        of_cluster=sort is OF_CLUSTERS,
        snapshot_type=snapshot.get("SnapshotType", MANUAL),
        status=snapshot.get("Status", ""),
        engine=snapshot.get("Engine", ""),
        encrypted=encrypted,
        kms_key_id=snapshot.get("KmsKeyId") or None,
        tags=tag_map(snapshot.get("TagList", ())),
    )
    if created := snapshot.get("SnapshotCreateTime"):
        body.creation_date.CopyFrom(timestamp(created))
    arn = str(snapshot[f"{sort.prefix}SnapshotArn"])
    # Both sorts may use one name; their ARNs differ.
    return Draft(native_id=arn, arn=arn, body=body)


def fill_shares(draft: Draft[RdsSnapshot], sort: Sort, answer: Answer) -> None:
    """Fill who may restore a snapshot; one that is gone is shared with nobody."""
    if isinstance(answer, Unread):
        draft.miss(answer, *SHARE_FIELDS)
        return
    told: Any = {} if isinstance(answer, Absent) else answer
    result = told.get(f"{sort.prefix}SnapshotAttributesResult", {})
    shared = {
        str(value)
        for attribute in result.get(f"{sort.prefix}SnapshotAttributes", ())
        if attribute.get("AttributeName") == RESTORE
        for value in attribute.get("AttributeValues", ())
    }
    draft.body.public = EVERYONE in shared
    draft.body.shared_with.extend(sorted(shared - {EVERYONE}))


COLLECTOR = Collector(
    "rds_snapshots",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
