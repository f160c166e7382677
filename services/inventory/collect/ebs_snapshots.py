"""Snapshots of EBS that the account owns, and whether everyone can restore them.

Those that are shared with all are listed at once; a question about each would cost a call a
snapshot. Source: Amazon EC2 API Reference, DescribeSnapshots, "RestorableByUserIds"; Amazon EBS
User Guide, "Block public access for Amazon EBS snapshots".
"""

from collections.abc import Set as AbstractSet

from mesh.aws.reader import Absent, Answer, Reader, Response, Unread
from secmesh.inventory.v1.ebs_pb2 import EbsSnapshot
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, Truth, all_of, tag_map, timestamp

LIST = "ec2:DescribeSnapshots"
BLOCK = "ec2:GetSnapshotBlockPublicAccessState"
LISTINGS = (LIST,)
OPERATIONS = frozenset((LIST, BLOCK))
PAGE = 1000
OWN, EVERYONE = "self", "all"
BLOCKS_ALL = "block-all-sharing"
FIELDS = frozenset(EbsSnapshot.DESCRIPTOR.fields_by_name)

Shared = AbstractSet[str] | Unread
"""Snapshots that are shared with all."""


def collect(reader: Reader) -> Collected:
    """Read the snapshots of one region."""
    snapshots = reader.items(LIST, "Snapshots", page_size=PAGE, listing=True, OwnerIds=[OWN])
    if isinstance(snapshots, Unread):
        return Collected([], snapshots)
    shared = _shared(reader) if snapshots else frozenset()
    block = reader.call(BLOCK) if shared else {}
    account = reader.account
    prefix = f"arn:{account.partition}:ec2:{reader.region}::snapshot/"
    return Collected([snapshot_draft(each, prefix, shared, block) for each in snapshots])


def _shared(reader: Reader) -> Shared:
    found = reader.picked(
        LIST,
        "Snapshots",
        lambda snapshot: str(snapshot["SnapshotId"]),
        page_size=PAGE,
        OwnerIds=[OWN],
        RestorableByUserIds=[EVERYONE],
    )
    return found if isinstance(found, Unread) else frozenset(found)


def snapshot_draft(
    snapshot: Response, prefix: str, shared: Shared, block: Answer
) -> Draft[EbsSnapshot]:
    """Map one snapshot; ``prefix`` begins the ARNs of its region."""
    body = EbsSnapshot(
        snapshot_id=snapshot["SnapshotId"],
        volume_id=snapshot.get("VolumeId") or None,
        state=snapshot.get("State", ""),
        volume_size=snapshot.get("VolumeSize", 0),
        description=snapshot.get("Description", ""),
        storage_tier=snapshot.get("StorageTier", "standard"),
        encrypted=snapshot.get("Encrypted", False),
        kms_key_id=snapshot.get("KmsKeyId") or None,
        tags=tag_map(snapshot.get("Tags", ())),
    )
    if started := snapshot.get("StartTime"):
        body.start_time.CopyFrom(timestamp(started))
    draft = Draft(native_id=body.snapshot_id, arn=prefix + body.snapshot_id, body=body)
    open_to_all: Truth = shared if isinstance(shared, Unread) else body.snapshot_id in shared
    draft.decide("shared_with_all", open_to_all)
    draft.decide("public", all_of((open_to_all, _unblocked(block))))
    return draft


def _unblocked(block: Answer) -> Truth:
    if isinstance(block, Unread):
        return block
    told: Response = {} if isinstance(block, Absent) else block
    return told.get("State") != BLOCKS_ALL


COLLECTOR = Collector(
    "ebs_snapshots",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
