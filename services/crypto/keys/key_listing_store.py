"""Keys as they are shown: their versions and states, and nothing of the keys themselves."""

import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from services.crypto.keys.field_keys import INDEX, TOKEN
from services.crypto.keys.states import KeyState
from services.crypto.tables import APP_KEYS, INDEX_KEYS, TENANT_KEYS, USER_KEYS

APP_KEY, TENANT_KEK = "app-key", "tenant-kek"
OF_FIELDS = {"index-key-": INDEX, "token-key-": TOKEN}
"""Before the field's name, by what the key is used for."""
USER_DEK = "user-dek-"
"""Before the user's id. In the order of ids all keys of users come last."""


class ShownVersion(NamedTuple):
    """One version of a key."""

    version: int
    state: KeyState
    created_at: datetime
    kms_key_id: str = ""
    tenant_key_version: int | None = None


class ShownKey(NamedTuple):
    """One key with its versions, the newest first."""

    key_id: str
    versions: list[ShownVersion]


async def shown_key(connection: AsyncConnection, tenant: str, key_id: str) -> ShownKey | None:
    """Give a key; None if the tenant has none of the id."""
    if key_id.startswith(USER_DEK):
        user = uuid.UUID(key_id.removeprefix(USER_DEK))
        versions = (await _users(connection, tenant, [user])).get(user, [])
    else:
        versions = (await _few(connection, tenant)).get(key_id, [])
    return ShownKey(key_id, versions) if versions else None


async def shown_keys(
    connection: AsyncConnection, tenant: str, after: str, limit: int
) -> list[ShownKey]:
    """Give the keys after an id, in the order of ids."""
    few = await _few(connection, tenant) if not after.startswith(USER_DEK) else {}
    shown = [ShownKey(key_id, few[key_id]) for key_id in sorted(few) if key_id > after]
    table = USER_KEYS.c
    users = sa.select(table.user_id).where(table.tenant_id == tenant).distinct()
    if after.startswith(USER_DEK):
        users = users.where(table.user_id > uuid.UUID(after.removeprefix(USER_DEK)))
    found = await connection.execute(users.order_by(table.user_id).limit(limit))
    by_user = await _users(connection, tenant, found.scalars().all())
    shown += [ShownKey(f"{USER_DEK}{user}", versions) for user, versions in by_user.items()]
    return shown[:limit]


async def _few(connection: AsyncConnection, tenant: str) -> dict[str, list[ShownVersion]]:
    """Give all keys by id but those of users: a few dozen."""
    found = {key_id: await _own(connection, tenant, key_id) for key_id in (APP_KEY, TENANT_KEK)}
    table = INDEX_KEYS.c
    names = [name for name in ShownVersion._fields if name in table]
    statement = (
        sa.select(table.field_name, table.used_for, *(table[name] for name in names))
        .where(table.tenant_id == tenant)
        .order_by(table.version.desc())
    )
    prefixes = {used_for: prefix for prefix, used_for in OF_FIELDS.items()}
    for row in await connection.execute(statement):
        found.setdefault(f"{prefixes[row.used_for]}{row.field_name}", []).append(_version(row))
    return {key_id: versions for key_id, versions in found.items() if versions}


async def _own(connection: AsyncConnection, tenant: str, key_id: str) -> list[ShownVersion]:
    table = APP_KEYS if key_id == APP_KEY else TENANT_KEYS
    names = [name for name in ShownVersion._fields if name in table.c]
    statement = sa.select(*(table.c[name] for name in names)).where(table.c.tenant_id == tenant)
    rows = await connection.execute(statement.order_by(table.c.version.desc()))
    return [_version(row) for row in rows]


async def _users(
    connection: AsyncConnection, tenant: str, users: Iterable[uuid.UUID]
) -> dict[uuid.UUID, list[ShownVersion]]:
    table = USER_KEYS.c
    names = ("user_id", "version", "state", "created_at", "tenant_key_version")
    statement = (
        sa.select(*(table[name] for name in names))
        .where(table.tenant_id == tenant, table.user_id.in_(list(users)))
        .order_by(table.user_id, table.version.desc())
    )
    found: dict[uuid.UUID, list[ShownVersion]] = {}
    for row in await connection.execute(statement):
        found.setdefault(row.user_id, []).append(_version(row))
    return found


def _version(row: Any) -> ShownVersion:
    shown = {name: each for name, each in row._asdict().items() if name in ShownVersion._fields}
    return ShownVersion(**{**shown, "state": KeyState(row.state)})
