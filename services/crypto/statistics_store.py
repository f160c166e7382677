"""What is counted of a tenant: the views of the schema, and what the audit holds of some days.

Each statement begins from the tenant's rows, and its columns are called as the contract's fields.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from services.crypto.audit.entry import Operation
from services.crypto.keys.states import KeyState
from services.crypto.rotation.rotation import KeyType
from services.crypto.tables import APP_KEYS, ENCRYPTION_AUDIT, TENANT_KEYS, USER_KEYS

MOST = 100
"""Rows of what is listed by how often it happens."""
_AUDIT = ENCRYPTION_AUDIT.c
_KEYS = {KeyType.TENANT_KEK: TENANT_KEYS, KeyType.USER_DEK: USER_KEYS, KeyType.APP_KEY: APP_KEYS}
_COUNT = sa.func.count().label("entry_count")
_FAILED = sa.func.count().filter(~_AUDIT.success).label("failure_count")
# Whoever is concerned by nothing has no pseudonym.
_USERS = sa.func.count(_AUDIT.subject.distinct()).filter(_AUDIT.subject != b"").label("user_count")
_LAST = sa.func.max(_AUDIT.accessed_at).label("last_time")


def _view(name: str, columns: Mapping[str, str]) -> sa.Select[Any]:
    """Give a view's columns by the names of fields."""
    view = sa.table(name, sa.column("tenant_id"), *map(sa.column, columns))
    return sa.select(*(view.c[column].label(field) for column, field in columns.items()))


_ENCRYPTION = _view(
    "encryption_stats",
    {
        "encryption_level": "tier",
        "field_name": "field",
        "total_fields": "value_count",
        "oldest_key_version": "oldest_key_version",
        "newest_key_version": "newest_key_version",
        "oldest_app_key_version": "oldest_app_key_version",
        "newest_app_key_version": "newest_app_key_version",
        "last_encrypted_at": "last_encrypt_time",
    },
).order_by("tier", "field")
_ROTATIONS = _view(
    "key_rotation_summary",
    {
        "key_type": "key_type",
        "status": "status",
        "rotations": "rotation_count",
        "total_records_affected": "affected_count",
        "newest_version": "newest_version",
        "first_started_at": "first_start_time",
        "last_completed_at": "last_complete_time",
    },
).order_by("key_type", "status")


class StatisticsStore:
    """Counts by the caller's connection."""

    async def start(self, connection: AsyncConnection, days: int) -> datetime:
        """Give the moment so many days ago, by the database's clock."""
        ago = sa.literal(timedelta(days=days), sa.Interval)
        found: datetime = (await connection.execute(sa.select(sa.func.now() - ago))).scalar_one()
        return found

    async def encryption(self, connection: AsyncConnection, tenant: str) -> Sequence[RowMapping]:
        """Count sealed values by tier and field."""
        return await _rows(connection, _ENCRYPTION.where(_of_tenant(tenant)))

    async def rotations(self, connection: AsyncConnection, tenant: str) -> Sequence[RowMapping]:
        """Count rotations by key and state."""
        return await _rows(connection, _ROTATIONS.where(_of_tenant(tenant)))

    async def operations(
        self, connection: AsyncConnection, tenant: str, start: datetime
    ) -> Sequence[RowMapping]:
        """Count operations by day, as ``audit_summary`` does, in the parts of those days alone."""
        day = sa.func.to_char(sa.func.timezone("UTC", _AUDIT.accessed_at), "YYYY-MM-DD")
        average = sa.cast(sa.func.avg(_AUDIT.duration_us), sa.BigInteger)
        statement = _entries(
            tenant,
            start,
            day.label("day"),
            _AUDIT.operation,
            _COUNT,
            _FAILED,
            _USERS,
            average.label("average_duration"),
        )
        grouped = statement.group_by(sa.text("1"), _AUDIT.operation)
        return await _rows(connection, grouped.order_by(sa.desc("day"), _AUDIT.operation))

    async def failures(
        self, connection: AsyncConnection, tenant: str, start: datetime
    ) -> Sequence[RowMapping]:
        """Count what failed, by who, at what and why; the most frequent first."""
        ways = (_AUDIT.principal, _AUDIT.operation, _AUDIT.error_code)
        statement = _entries(tenant, start, *ways, _COUNT, _LAST).where(~_AUDIT.success)
        ordered = statement.group_by(*ways).order_by(_COUNT.desc(), *ways)
        return await _rows(connection, ordered.limit(MOST))

    async def principals(
        self, connection: AsyncConnection, tenant: str, start: datetime
    ) -> Sequence[RowMapping]:
        """Count what principals did, those who did most first."""
        opened = sa.func.count().filter(_AUDIT.operation == Operation.DECRYPT.value)
        who = _AUDIT.principal
        counts = (_COUNT, _FAILED, opened.label("decrypt_count"), _USERS, _LAST)
        statement = _entries(tenant, start, who, *counts).where(who != "")
        return await _rows(
            connection, statement.group_by(who).order_by(_COUNT.desc(), who).limit(MOST)
        )

    async def keys(
        self, connection: AsyncConnection, tenant: str, schedule: timedelta
    ) -> Sequence[RowMapping]:
        """Count versions of keys by state, with their ages; ``schedule`` is how old one may be."""
        rows: list[RowMapping] = []
        for key_type, table in _KEYS.items():
            due = sa.func.now() - sa.literal(schedule, sa.Interval)
            overdue = sa.and_(table.c.state == KeyState.ACTIVE.value, table.c.created_at < due)
            statement = (
                sa.select(
                    sa.literal(key_type.value).label("key_type"),
                    table.c.state,
                    sa.func.count().label("version_count"),
                    sa.func.min(table.c.created_at).label("oldest_create_time"),
                    sa.func.max(table.c.created_at).label("newest_create_time"),
                    sa.func.count().filter(overdue).label("overdue_count"),
                )
                .where(table.c.tenant_id == tenant)
                .group_by(table.c.state)
                .order_by(table.c.state)
            )
            rows += await _rows(connection, statement)
        return rows


def _of_tenant(tenant: str) -> sa.ColumnElement[bool]:
    return sa.column("tenant_id") == tenant


def _entries(tenant: str, start: datetime, *columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
    chosen = _AUDIT.tenant_id == tenant, _AUDIT.accessed_at >= start
    return sa.select(*columns).where(*chosen)


async def _rows(connection: AsyncConnection, statement: sa.Select[Any]) -> Sequence[RowMapping]:
    found: Sequence[RowMapping] = (await connection.execute(statement)).mappings().all()
    return found
