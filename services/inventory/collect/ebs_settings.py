"""What a region makes of volumes and snapshots of EBS that say nothing else."""

from mesh.aws.reader import Reader, Response
from secmesh.inventory.v1.ebs_pb2 import EbsSettings
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft
from services.inventory.collect.ebs_snapshots import BLOCK

ENCRYPTION = "ec2:GetEbsEncryptionByDefault"
KEY = "ec2:GetEbsDefaultKmsKeyId"
OPERATIONS = frozenset((ENCRYPTION, KEY, BLOCK))
FIELDS = frozenset(EbsSettings.DESCRIPTOR.fields_by_name)


def collect(reader: Reader) -> Collected:
    """Read the one row of a region."""
    draft = Draft(native_id=reader.account.cloud_account_id, body=EbsSettings())
    draft.take(reader.call(ENCRYPTION), ("default_encryption",), _fill_encryption)
    draft.take(reader.call(KEY), ("default_kms_key_id",), _fill_key)
    block = ("snapshot_block", "snapshot_block_managed_by")
    draft.take(reader.call(BLOCK), block, _fill_block)
    return Collected([draft])


def _fill_encryption(body: EbsSettings, response: Response | None) -> None:
    body.default_encryption = bool((response or {}).get("EbsEncryptionByDefault", False))


def _fill_key(body: EbsSettings, response: Response | None) -> None:
    if key := (response or {}).get("KmsKeyId"):
        body.default_kms_key_id = key


def _fill_block(body: EbsSettings, response: Response | None) -> None:
    told = response or {}
    body.snapshot_block = told.get("State", "unblocked")
    if manager := told.get("ManagedBy"):
        body.snapshot_block_managed_by = manager


COLLECTOR = Collector(
    "ebs_settings",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
)
