"""All SQL of a rotation of users' keys: whose turn it is, and their versions."""

import uuid
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.crypto.keys.key_store import UserKeyRow
from services.crypto.keys.states import KeyState
from services.crypto.rotation.rotation import Rotation
from services.crypto.tables import ENCRYPTION_METADATA, USER_KEYS

_KEYS = USER_KEYS.c
_VALUES = ENCRYPTION_METADATA.c
_COLUMNS = [_KEYS[name] for name in UserKeyRow._fields]


class DueKey(NamedTuple):
    """The active key of a user who is to be looked at."""

    row: UserKeyRow
    outdated: bool
    """Whether the key is to be replaced; else values alone are of another version."""


class UserKeyStore:
    """Reads and writes keys by the caller's connection."""

    async def count(self, connection: AsyncConnection, tenant: str, undone: str = "") -> int:
        """Count keys to replace, and the values of their users; those that one rotation made."""
        chosen = sa.and_(_active(tenant), _made_by(undone)) if undone else _active(tenant)
        keys = sa.select(sa.func.count()).select_from(USER_KEYS).where(chosen)
        same = sa.and_(_VALUES.tenant_id == _KEYS.tenant_id, _VALUES.user_id == _KEYS.user_id)
        joined = sa.join(ENCRYPTION_METADATA, USER_KEYS, same)
        values = sa.select(sa.func.count()).select_from(joined).where(chosen)
        return (await connection.scalar(keys) or 0) + (await connection.scalar(values) or 0)

    async def due(
        self, connection: AsyncConnection, rotation: Rotation, limit: int
    ) -> list[DueKey]:
        """Give the active keys of users after the position who need something done."""
        if rotation.rolls_back:
            outdated: sa.ColumnElement[bool] = sa.func.coalesce(
                _made_by(rotation.rolls_back), False
            )
        else:
            # Users who come during a rotation have new keys anyway.
            outdated = sa.and_(
                _KEYS.rotation_id.is_distinct_from(uuid.UUID(rotation.rotation_id)),
                _KEYS.created_at <= (rotation.started_at or sa.func.now()),
            )
        statement = sa.select(*_COLUMNS, outdated.label("outdated")).where(
            _active(rotation.tenant), sa.or_(outdated, _has_other_values())
        )
        if rotation.position:
            statement = statement.where(_KEYS.user_id > uuid.UUID(rotation.position))
        rows = await connection.execute(statement.order_by(_KEYS.user_id).limit(limit))
        return [DueKey(_row(row), row.outdated) for row in rows]

    async def newest(
        self, connection: AsyncConnection, tenant: str, users: Collection[str]
    ) -> dict[str, int]:
        """Give the highest version of each user's key, whatever its state."""
        statement = sa.select(_KEYS.user_id, sa.func.max(_KEYS.version).label("version"))
        statement = statement.where(_of(tenant, users)).group_by(_KEYS.user_id)
        return {str(row.user_id): row.version for row in await connection.execute(statement)}

    async def before(
        self, connection: AsyncConnection, tenant: str, undone: str, users: Collection[str]
    ) -> dict[str, UserKeyRow]:
        """Give the versions that a rotation replaced and that still open."""
        newer = USER_KEYS.alias()
        statement = (
            sa.select(*_COLUMNS)
            .join(
                newer,
                sa.and_(
                    newer.c.tenant_id == _KEYS.tenant_id,
                    newer.c.user_id == _KEYS.user_id,
                    newer.c.version > _KEYS.version,
                    newer.c.rotation_id == uuid.UUID(undone),
                ),
            )
            .where(_of(tenant, users), _KEYS.state == KeyState.DECRYPT_ONLY.value)
            .order_by(_KEYS.version)
        )
        # The last one counts.
        return {str(row.user_id): _row(row) for row in await connection.execute(statement)}

    async def retire(
        self, connection: AsyncConnection, tenant: str, users: Collection[str]
    ) -> None:
        """Let the active versions of users open only."""
        statement = sa.update(USER_KEYS).where(
            _of(tenant, users), _KEYS.state == KeyState.ACTIVE.value
        )
        await connection.execute(statement.values(state=KeyState.DECRYPT_ONLY.value))

    async def add(
        self,
        connection: AsyncConnection,
        tenant: str,
        rows: Sequence[UserKeyRow],
        rotation_id: str,
    ) -> list[UserKeyRow]:
        """Keep new versions; give them as they stand then."""
        values = [
            {
                "tenant_id": tenant,
                **row._asdict(),
                "user_id": uuid.UUID(row.user_id),
                "rotation_id": uuid.UUID(rotation_id),
            }
            for row in rows
        ]
        if not values:
            return []
        statement = insert(USER_KEYS).values(values).returning(*_COLUMNS)
        return [_row(row) for row in await connection.execute(statement)]

    async def restore(
        self, connection: AsyncConnection, tenant: str, rows: Collection[UserKeyRow]
    ) -> None:
        """Let versions seal again."""
        pairs = [(uuid.UUID(row.user_id), row.version) for row in rows]
        if pairs:
            chosen = sa.tuple_(_KEYS.user_id, _KEYS.version).in_(pairs)
            statement = sa.update(USER_KEYS).where(_KEYS.tenant_id == tenant, chosen)
            await connection.execute(statement.values(state=KeyState.ACTIVE.value))


def _active(tenant: str) -> sa.ColumnElement[bool]:
    return sa.and_(_KEYS.tenant_id == tenant, _KEYS.state == KeyState.ACTIVE.value)


def _made_by(rotation_id: str) -> sa.ColumnElement[bool]:
    return _KEYS.rotation_id == uuid.UUID(rotation_id)


def _of(tenant: str, users: Collection[str]) -> sa.ColumnElement[bool]:
    return sa.and_(
        _KEYS.tenant_id == tenant, _KEYS.user_id.in_([uuid.UUID(each) for each in users])
    )


def _has_other_values() -> sa.ColumnElement[bool]:
    return sa.exists().where(
        _VALUES.tenant_id == _KEYS.tenant_id,
        _VALUES.user_id == _KEYS.user_id,
        _VALUES.key_version != _KEYS.version,
    )


def _row(row: Any) -> UserKeyRow:
    wrapped = None if row.wrapped is None else bytes(row.wrapped)
    state = KeyState(row.state)
    return UserKeyRow(str(row.user_id), row.version, state, row.tenant_key_version, wrapped)
