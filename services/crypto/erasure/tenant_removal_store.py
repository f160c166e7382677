"""All SQL that removes a tenant: who is left of it, its keys, what was decided, what stays."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from services.crypto.erasure.erasure import State
from services.crypto.keys.states import KeyState
from services.crypto.tables import (
    APP_KEYS,
    ENCRYPTION_AUDIT,
    ERASURES,
    HONEYTOKENS,
    INDEX_KEYS,
    KEY_ROTATION_LOG,
    PURPOSES,
    REMOVED_TENANTS,
    ROTATION_SCHEDULE,
    ROTATION_WORK,
    SYSTEM_CONFIG,
    TENANT_KEYS,
    USER_FIELDS,
    USER_IMPORTS,
    USER_KEYS,
    USERS,
    USERS_CHANGE_LOG,
)

_KEYS = (TENANT_KEYS, INDEX_KEYS, APP_KEYS)
"""Keys that are no person's; with the tenant's go those of persons."""
_DECIDED = (USER_FIELDS, PURPOSES, SYSTEM_CONFIG, HONEYTOKENS)
_KEPT = (
    REMOVED_TENANTS,
    ERASURES,
    ENCRYPTION_AUDIT,
    USERS_CHANGE_LOG,
    KEY_ROTATION_LOG,
    USER_IMPORTS,
)
"""Proofs and logs, which hold no personal data, and which the service may not delete."""
_EMPTY_FORM = ("wrapped", "previous_wrapped", "previous_kms_key_id", "state_before")


class TenantRemovalStore:
    """Works on one tenant by the caller's connection."""

    async def persons(self, connection: AsyncConnection, tenant: str, limit: int) -> list[str]:
        """Give some ids of those of whom there is a row, or a key that is not destroyed."""
        found = await connection.scalars(sa.select(_persons(tenant).c.id).limit(limit))
        return [str(each) for each in found]

    async def destroy_keys(self, connection: AsyncConnection, tenant: str) -> dict[str, int]:
        """Destroy the versions of all keys that are no person's; give how many of each."""
        done = {}
        for table in _KEYS:
            cleared: dict[str, Any] = {name: None for name in _EMPTY_FORM if name in table.c}
            statement = sa.update(table).where(*_lives(table, tenant))
            statement = statement.values(state=KeyState.DESTROYED.value, **cleared)
            done[table.name] = await _number(connection, statement)
        return done

    async def forget_decisions(self, connection: AsyncConnection, tenant: str) -> dict[str, int]:
        """Delete what was decided about the tenant's fields; give the rows by table."""
        return {
            table.name: await _number(
                connection, sa.delete(table).where(table.c.tenant_id == tenant)
            )
            for table in _DECIDED
        }

    async def drop_rotations(self, connection: AsyncConnection, tenant: str) -> None:
        """Have no key of the tenant looked at again."""
        for table in (ROTATION_WORK, ROTATION_SCHEDULE):
            await connection.execute(sa.delete(table).where(table.c.tenant_id == tenant))

    async def remaining(self, connection: AsyncConnection, tenant: str) -> dict[str, int]:
        """Give what is still to be removed, by table."""
        asked = {"users": sa.select(sa.func.count()).select_from(_persons(tenant))}
        for table in _KEYS:
            asked[table.name] = _count(table, *_lives(table, tenant))
        for table in _DECIDED:
            asked[table.name] = _count(table, table.c.tenant_id == tenant)
        open_ones = ERASURES.c.state != State.CERTIFIED.value
        asked["erasures"] = _count(ERASURES, ERASURES.c.tenant_id == tenant, open_ones)
        return await _counted(connection, asked)

    async def kept(self, connection: AsyncConnection, tenant: str) -> dict[str, int]:
        """Give what stays for good or for its time, by table."""
        asked = {table.name: _count(table, table.c.tenant_id == tenant) for table in _KEPT}
        for table in (*_KEYS, USER_KEYS):
            gone = table.c.state == KeyState.DESTROYED.value
            asked[table.name] = _count(table, table.c.tenant_id == tenant, gone)
        return await _counted(connection, asked)


def _persons(tenant: str) -> sa.Subquery:
    keys = sa.select(USER_KEYS.c.user_id).where(*_lives(USER_KEYS, tenant))
    return sa.select(USERS.c.id).where(USERS.c.tenant_id == tenant).union(keys).subquery()


def _lives(table: sa.Table, tenant: str) -> tuple[sa.ColumnElement[bool], ...]:
    return table.c.tenant_id == tenant, table.c.state != KeyState.DESTROYED.value


def _count(table: sa.Table, *conditions: sa.ColumnElement[bool]) -> sa.Select[Any]:
    return sa.select(sa.func.count()).select_from(table).where(*conditions)


async def _counted(
    connection: AsyncConnection, asked: Mapping[str, sa.Select[Any]]
) -> dict[str, int]:
    found = {name: await connection.scalar(each) for name, each in asked.items()}
    return {name: number for name, number in found.items() if number}


async def _number(connection: AsyncConnection, statement: Any) -> int:
    done: Any = await connection.execute(statement)
    number: int = done.rowcount
    return number
