"""All SQL of an export beside the person's own: what is known of values, keys and changes."""

import uuid
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from services.crypto.tables import ENCRYPTION_METADATA, USER_KEYS, USERS_CHANGE_LOG

Rows = list[Any]
_METADATA = ENCRYPTION_METADATA.c
_KEYS = USER_KEYS.c
_CHANGES = USERS_CHANGE_LOG.c


class ExportStore:
    """Reads of one person by the caller's connection."""

    async def metadata(self, connection: AsyncConnection, tenant: str, user_id: str) -> Rows:
        """Give what is known of each sealed value, by field."""
        statement = sa.select(ENCRYPTION_METADATA).where(*_of(_METADATA, tenant, user_id))
        return await _rows(connection, statement.order_by(_METADATA.field_name))

    async def keys(self, connection: AsyncConnection, tenant: str, user_id: str) -> Rows:
        """Give the versions of the person's key, never a wrapped one."""
        chosen = sa.select(_KEYS.version, _KEYS.state, _KEYS.created_at, _KEYS.updated_at)
        statement = chosen.where(*_of(_KEYS, tenant, user_id))
        return await _rows(connection, statement.order_by(_KEYS.version))

    async def changes(
        self, connection: AsyncConnection, tenant: str, user_id: str, after: int, limit: int
    ) -> Rows:
        """Give rows of the log of changes after one of them, the oldest first."""
        statement = sa.select(USERS_CHANGE_LOG).where(*_of(_CHANGES, tenant, user_id))
        statement = statement.where(_CHANGES.id > after)
        return await _rows(connection, statement.order_by(_CHANGES.id).limit(limit))


def _of(columns: Any, tenant: str, user_id: str) -> tuple[sa.ColumnElement[bool], ...]:
    return columns.tenant_id == tenant, columns.user_id == uuid.UUID(user_id)


async def _rows(connection: AsyncConnection, statement: sa.Select[Any]) -> Rows:
    return list(await connection.execute(statement))
