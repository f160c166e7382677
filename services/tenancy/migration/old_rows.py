"""Rows of the old system's tables, column by column."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, ClassVar, TypeAlias


@dataclass(frozen=True)
class OldTenant:
    """A tenant."""

    TABLE: ClassVar[str] = "tenants"

    tenant_id: str
    tenant_name: str
    description: str
    created_at: datetime


@dataclass(frozen=True)
class OldProvider:
    """A cloud of a tenant."""

    TABLE: ClassVar[str] = "providers"

    provider_id: str
    tenant_id: str
    provider_type: str
    """``aws``, ``azure`` or ``gcp``."""
    provider_name: str
    created_at: datetime


@dataclass(frozen=True)
class OldAccount:
    """An account of a provider."""

    TABLE: ClassVar[str] = "accounts"

    account_id: str
    tenant_id: str
    provider_id: str
    account_name: str
    account_number: str
    """The vendor's id of it."""
    credential_type: str
    """Such as ``aws_access_key``."""
    created_at: datetime


@dataclass(frozen=True)
class OldCredential:
    """What leads into an account: JSON under Fernet."""

    TABLE: ClassVar[str] = "account_credentials"

    account_id: str
    credentials_encrypted: str


@dataclass(frozen=True)
class OldSchedule:
    """When an account is scanned."""

    TABLE: ClassVar[str] = "schedules"

    schedule_id: str
    tenant_id: str
    account_id: str
    name: str
    schedule_type: str
    """``cron``, ``interval`` or ``once``."""
    cron_expression: str | None
    interval_minutes: int | None
    run_at: datetime | None
    timezone: str
    enabled: bool
    created_at: datetime


OldRow: TypeAlias = OldTenant | OldProvider | OldAccount | OldCredential | OldSchedule
KINDS: tuple[type[OldRow], ...] = (OldTenant, OldProvider, OldAccount, OldCredential, OldSchedule)
"""In the order in which they rest on one another."""


def columns(kind: type[Any]) -> tuple[str, ...]:
    """Give the columns of a table, its key first."""
    return tuple(each.name for each in fields(kind))


def key_of(row: OldRow) -> str:
    """Give the key of a row within its table."""
    return str(getattr(row, columns(type(row))[0]))


def differences(wanted: OldRow, found: OldRow) -> list[str]:
    """Name the columns in which two rows of one table differ."""
    return [name for name in columns(type(wanted)) if getattr(wanted, name) != getattr(found, name)]
