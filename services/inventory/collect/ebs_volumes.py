"""Volumes of EBS: whether they are encrypted, and what they are attached to."""

from mesh.aws.reader import Reader, Response, Unread
from secmesh.inventory.v1.ebs_pb2 import EbsVolume
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, tag_map, timestamp

LIST = "ec2:DescribeVolumes"
LISTINGS = (LIST,)
OPERATIONS = frozenset(LISTINGS)
PAGE = 500
DETACHED = "detached"
FIELDS = frozenset(EbsVolume.DESCRIPTOR.fields_by_name)


def collect(reader: Reader) -> Collected:
    """Read the volumes of one region."""
    volumes = reader.items(LIST, "Volumes", page_size=PAGE, listing=True)
    if isinstance(volumes, Unread):
        return Collected([], volumes)
    account = reader.account
    prefix = f"arn:{account.partition}:ec2:{reader.region}:{account.cloud_account_id}:volume/"
    return Collected([volume_draft(volume, prefix) for volume in volumes])


def volume_draft(volume: Response, prefix: str) -> Draft[EbsVolume]:
    """Map one volume; ``prefix`` begins the ARNs of its account and region."""
    instances = {
        str(each.get("InstanceId") or each.get("AssociatedResource", ""))
        for each in volume.get("Attachments", ())
        if each.get("State") != DETACHED
    }
    body = EbsVolume(
        volume_id=volume["VolumeId"],
        state=volume.get("State", ""),
        volume_type=volume.get("VolumeType", ""),
        size=volume.get("Size", 0),
        availability_zone=volume.get("AvailabilityZone", ""),
        encrypted=volume.get("Encrypted", False),
        kms_key_id=volume.get("KmsKeyId") or None,
        attached=bool(instances),
        instances=sorted(instances),
        multi_attach=volume.get("MultiAttachEnabled", False),
        snapshot_id=volume.get("SnapshotId") or None,
        tags=tag_map(volume.get("Tags", ())),
    )
    if created := volume.get("CreateTime"):
        body.creation_date.CopyFrom(timestamp(created))
    arn = volume.get("VolumeArn") or prefix + body.volume_id
    return Draft(native_id=body.volume_id, arn=arn, body=body)


COLLECTOR = Collector(
    "ebs_volumes",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
