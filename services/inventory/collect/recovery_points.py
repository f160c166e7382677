"""Recovery points in the vaults of AWS Backup."""

from typing import Any

from mesh.aws.reader import Reader, Response, Unread
from secmesh.inventory.v1.aws_backup_pb2 import RecoveryPoint
from services.inventory.collect.backup_vaults import VAULTS
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.draft import Collected, Draft, timestamp

POINTS = "backup:ListRecoveryPointsByBackupVault"
LISTINGS = (VAULTS, POINTS)
OPERATIONS = frozenset(LISTINGS)
PAGE = 1000
FIELDS = frozenset(RecoveryPoint.DESCRIPTOR.fields_by_name)


def collect(reader: Reader) -> Collected:
    """Read the recovery points of one region."""
    vaults = reader.items(VAULTS, "BackupVaultList", page_size=PAGE, listing=True)
    reader.ledger.is_listing(POINTS)
    if isinstance(vaults, Unread):
        return Collected([], vaults)
    drafts: list[Draft[RecoveryPoint]] = []
    gap: Unread | None = None
    for found in reader.fan_out(lambda vault: _of_vault(reader, vault), vaults):
        if isinstance(found, Unread):
            gap = gap or found
        else:
            drafts.extend(found)
    return Collected(drafts, gap)


def _of_vault(reader: Reader, vault: Response) -> list[Draft[RecoveryPoint]] | Unread:
    return reader.picked(
        POINTS,
        "RecoveryPoints",
        point_draft,
        page_size=PAGE,
        resource=str(vault["BackupVaultArn"]),
        BackupVaultName=vault["BackupVaultName"],
    )


def point_draft(point: Response) -> Draft[RecoveryPoint]:
    """Map one recovery point."""
    lifecycle: Any = point.get("CalculatedLifecycle") or {}
    creator: Any = point.get("CreatedBy") or {}
    body = RecoveryPoint(
        recovery_point_arn=point["RecoveryPointArn"],
        vault_name=point.get("BackupVaultName", ""),
        resource_arn=point.get("ResourceArn", ""),
        resource_type=point.get("ResourceType", ""),
        status=point.get("Status", ""),
        encrypted=point.get("IsEncrypted"),
        kms_key_id=point.get("EncryptionKeyArn") or None,
        plan_id=creator.get("BackupPlanId") or None,
        source_vault_arn=point.get("SourceBackupVaultArn") or None,
    )
    for field, moment in (
        (body.creation_date, point.get("CreationDate")),
        (body.completion_date, point.get("CompletionDate")),
        (body.deletion_date, lifecycle.get("DeleteAt")),
    ):
        if moment is not None:
            field.CopyFrom(timestamp(moment))
    arn = body.recovery_point_arn
    return Draft(native_id=arn, arn=arn, body=body)


COLLECTOR = Collector(
    "recovery_points",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
