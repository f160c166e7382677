"""One rotation of a key, as ``key_rotation_log`` keeps it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mesh.contract.names import NamePattern

PATTERN = NamePattern("tenants/{tenant}/key_rotations/{key_rotation}")


class KeyType(StrEnum):
    """Which key is rotated."""

    KMS_CMK = "kms_cmk"
    TENANT_KEK = "tenant_kek"
    USER_DEK = "user_dek"
    APP_KEY = "app_key"


class Status(StrEnum):
    """How far a rotation is."""

    PLANNED = "planned"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"


@dataclass(frozen=True)
class Plan:
    """What a rotation would do."""

    old_version: int | None
    new_version: int | None
    records: int
    """Rows that it would write."""
    kms_key_id: str = ""
    """The KMS key that it leads to, where that changes."""
    needed: bool = True
    """Whether a key changes; else only what is written about keys is put right."""


@dataclass(frozen=True)
class Rotation:
    """One rotation; the versions of a rollback are swapped."""

    tenant: str
    rotation_id: str
    key_type: KeyType
    status: Status
    old_version: int | None
    new_version: int | None
    records_planned: int
    records_affected: int
    records_skipped: int
    """Rows that did not open by their own keys: they are left as they are."""
    kms_key_id: str
    rolls_back: str
    """Id of the rotation that this one undoes; empty if it undoes none."""
    initiated_by: str
    error: str
    position: str
    """Key of the last row that was looked at; empty at the beginning of a pass."""
    pass_records: int
    """Rows written since the beginning of the pass."""
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    rollback_until: datetime | None

    @property
    def name(self) -> str:
        """Its name in the contract."""
        return PATTERN.format(self.tenant, self.rotation_id)


@dataclass(frozen=True)
class Step:
    """What one turn did."""

    position: str
    """Key of the last row that was looked at; empty if there was none left."""
    written: int
    skipped: int = 0
