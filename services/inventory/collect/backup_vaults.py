"""Vaults of AWS Backup, and what keeps their recovery points from being deleted."""

from mesh.aws.reader import Reader, Response, Unread
from secmesh.inventory.v1.aws_backup_pb2 import BackupVault
from services.inventory.collect.access_policy import EVERYONE, admits_everyone, texts
from services.inventory.collect.collector import Collector, Scope
from services.inventory.collect.denials import denials, names_action
from services.inventory.collect.draft import Collected, Draft, timestamp

VAULTS = "backup:ListBackupVaults"
POLICY = "backup:GetBackupVaultAccessPolicy"
TAGS = "backup:ListTags"
LISTINGS = (VAULTS,)
OPERATIONS = frozenset((VAULTS, POLICY, TAGS))
PAGE = 1000
POLICY_FIELDS = ("policy", "policy_public", "policy_denies_deletion")
FIELDS = frozenset(BackupVault.DESCRIPTOR.fields_by_name)
# What a policy must deny for recovery points to stay. Source: AWS Config Developer Guide,
# "backup-recovery-point-manual-deletion-disabled".
_DELETION = (
    "backup:DeleteRecoveryPoint",
    "backup:UpdateRecoveryPointLifecycle",
    "backup:PutBackupVaultAccessPolicy",
)


def collect(reader: Reader) -> Collected:
    """Read the vaults of one region."""
    vaults = reader.items(VAULTS, "BackupVaultList", page_size=PAGE, listing=True)
    if isinstance(vaults, Unread):
        return Collected([], vaults)
    return Collected(reader.fan_out(lambda vault: _read(reader, vault), vaults))


def _read(reader: Reader, vault: Response) -> Draft[BackupVault]:
    draft = vault_draft(vault)
    name = draft.body.vault_name
    policy = reader.call(POLICY, resource=draft.arn, BackupVaultName=name)
    draft.take(policy, POLICY_FIELDS, fill_policy)
    draft.take(reader.call(TAGS, resource=draft.arn, ResourceArn=draft.arn), ("tags",), _fill_tags)
    return draft


def vault_draft(vault: Response) -> Draft[BackupVault]:
    """Map one vault by its place in the list."""
    body = BackupVault(
        vault_name=vault["BackupVaultName"],
        vault_type=vault.get("VaultType", "BACKUP_VAULT"),
        kms_key_id=vault.get("EncryptionKeyArn") or None,
        locked=vault.get("Locked", False),
        min_retention_days=vault.get("MinRetentionDays"),
        max_retention_days=vault.get("MaxRetentionDays"),
    )
    if created := vault.get("CreationDate"):
        body.creation_date.CopyFrom(timestamp(created))
    if body.locked and (final := vault.get("LockDate")):
        body.lock_date.CopyFrom(timestamp(final))
    return Draft(native_id=body.vault_name, arn=str(vault["BackupVaultArn"]), body=body)


def fill_policy(body: BackupVault, response: Response | None) -> None:
    """Fill the access policy and what it means."""
    policy = (response or {}).get("Policy")
    if policy:
        body.policy = policy
    body.policy_public = admits_everyone(policy)
    body.policy_denies_deletion = denies_deletion(policy)


def denies_deletion(policy: object) -> bool:
    """Tell whether a policy denies everyone all that would end recovery points early.

    Statements may share the actions. One with a condition, or for some recovery points alone,
    does not count.
    """
    whole = [
        each
        for each in denials(policy)
        if not each.get("Condition") and EVERYONE in texts(each.get("Resource"))
    ]
    return all(any(names_action(each, action) for each in whole) for action in _DELETION)


def _fill_tags(body: BackupVault, response: Response | None) -> None:
    body.tags.update((response or {}).get("Tags") or {})


COLLECTOR = Collector(
    "backup",
    Scope.REGIONAL,
    collect,
    FIELDS,
    OPERATIONS,
    listings=LISTINGS,
)
