"""What the lines of an export say; docs: CRYPTO_EXPORT.md."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from services.crypto.audit.sealing import Stored
from services.crypto.errors import ValueUnopenable
from services.crypto.export.bundle import FORM
from services.crypto.persons.person import Person, Value
from services.crypto.persons.values import field_tier

Line = Mapping[str, object]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def export(user: str, origin: str, purpose: str, exported_at: int) -> Line:
    """Say what the file is."""
    return {
        "type": "export",
        "form": FORM,
        "origin": origin,
        "user": user,
        "purpose": purpose,
        "export_time": _microseconds(exported_at),
    }


def person(found: Person) -> Line:
    """Say since when the person is stored."""
    return {
        "type": "person",
        "create_time": _moment(found.created_at),
        "update_time": _moment(found.updated_at),
    }


def value(
    name: str, stored: Value, opened: bytes | ValueUnopenable | None, metadata: Any | None
) -> Line:
    """Give a value in clear with how it is kept; null if it does not open."""
    told: dict[str, object] = {"type": "value", "field": name, "tier": int(field_tier(stored))}
    if isinstance(stored, str):
        return told | {"value": stored}
    told["value"] = opened.decode() if isinstance(opened, bytes) else None
    if not isinstance(opened, bytes):
        told["problem"] = ValueUnopenable.reason.name
    if metadata is not None:
        told |= {
            "key_version": metadata.key_version,
            "app_key_version": metadata.app_key_version,
            "kms_key": metadata.kms_key_id,
            "create_time": _moment(metadata.created_at),
            "seal_time": _moment(metadata.updated_at),
        }
    return told


def key(row: Any) -> Line:
    """Say that a version of the person's key is there, and in which state."""
    return {
        "type": "key",
        "version": row.version,
        "state": row.state,
        "create_time": _moment(row.created_at),
    }


def change(row: Any) -> Line:
    """Say who wrote the person's row, and which columns."""
    return {
        "type": "change",
        "operation": row.operation.lower(),
        "columns": list(row.changed_columns),
        "change_time": _moment(row.changed_at),
        "principal": row.principal or row.session_role,
        "request_id": row.request_id,
    }


def access(stored: Stored, index: int | None) -> Line:
    """Give an entry of the audit, with its place in the tree once it has one."""
    entry = stored.entry
    return {
        "type": "access",
        "entry": f"{entry.writer_id.hex()}-{entry.seq}",
        "access_time": _microseconds(entry.accessed_at),
        "operation": entry.operation,
        "fields": [
            {"field": name, "tier": tier}
            for name, tier in zip(entry.fields, entry.tiers, strict=False)
        ],
        "principal": entry.principal,
        "purpose": entry.purpose,
        "request_id": entry.request_id,
        "success": entry.success,
        "error_code": entry.error_code,
        "details": entry.details,
        "leaf_hash": stored.hash.hex(),
        "index": index,
    }


def checkpoint(note: str) -> Line:
    """Give the checkpoint that entries with an index are under."""
    return {"type": "checkpoint", "note": note}


def _microseconds(count: int) -> str:
    return _moment(_EPOCH + timedelta(microseconds=count)) or ""


def _moment(moment: datetime | None) -> str | None:
    """Write a moment as RFC 3339 does, to the microsecond."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
