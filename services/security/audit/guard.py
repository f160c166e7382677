"""What nobody may say in the audit log but the service itself."""

from typing import Any

from google.protobuf.message import Message

from mesh.contract.catalogue import Kind
from mesh.errors import FieldInvalid
from mesh.records.writing import RECORD
from services.security.audit.entry import ENTRIES, LEAVE
from services.security.writers import current_writer

LONGEST_NAME = 256


class AuditGuard:
    """Tells who writes an entry, and refuses those that would excuse the removal of others."""

    def concerns(self, kind: Kind) -> bool:
        """Tell whether records of a kind are entries."""
        return kind.collection == ENTRIES

    def settle(self, kind: Kind, old: Message | None, new: Message) -> None:
        """Raises FieldInvalid."""
        entry: Any = new
        if not entry.HasField(kind.body_field or ""):
            return
        if entry.iam_audit_log.operation == LEAVE:
            path = f"{RECORD}.iam_audit_log.operation"
            raise FieldInvalid.of(path, "is told by the service alone", "NOT_ALLOWED")
        if old is None:
            entry.iam_audit_log.actor_name = current_writer().name[:LONGEST_NAME]
