"""All SQL of a rotation of a tenant's key: its versions, and what each of them wraps."""

import uuid
from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.crypto.keys.key_store import TenantKeyRow, UserKeyRow
from services.crypto.keys.states import KeyState
from services.crypto.tables import TENANT_KEYS, USER_KEYS

_KEYS = TENANT_KEYS.c
_USERS = USER_KEYS.c
_SEPARATOR = "/"


class Rewrapped(NamedTuple):
    """A user's key under another version of the tenant's."""

    before: UserKeyRow
    wrapped: bytes


def position_of(row: UserKeyRow) -> str:
    """Give where a row stands in the order of rotations."""
    return f"{row.user_id}{_SEPARATOR}{row.version}"


class TenantKeyStore:
    """Reads and writes keys by the caller's connection."""

    async def versions(self, connection: AsyncConnection, tenant: str) -> dict[int, TenantKeyRow]:
        """Give every version of a tenant's key."""
        columns = [_KEYS[name] for name in TenantKeyRow._fields]
        rows = await connection.execute(sa.select(*columns).where(_KEYS.tenant_id == tenant))
        return {
            row.version: TenantKeyRow(row.version, KeyState(row.state), row.kms_key_id, row.wrapped)
            for row in rows
        }

    async def add(self, connection: AsyncConnection, tenant: str, row: TenantKeyRow) -> None:
        """Keep a version, unless another process made it first."""
        values = {"tenant_id": tenant, **row._asdict()}
        await connection.execute(insert(TENANT_KEYS).values(values).on_conflict_do_nothing())

    async def set_state(
        self, connection: AsyncConnection, tenant: str, version: int, state: KeyState
    ) -> None:
        """Change what a version is used for; a destroyed one loses its wrapped form."""
        changed: dict[str, object] = {"state": state.value}
        if state is KeyState.DESTROYED:
            changed["wrapped"] = None
        statement = sa.update(TENANT_KEYS).where(
            _KEYS.tenant_id == tenant, _KEYS.version == version
        )
        await connection.execute(statement.values(changed))

    async def count_others(self, connection: AsyncConnection, tenant: str, version: int) -> int:
        """Count the users' keys that other versions than one wrap."""
        statement = sa.select(sa.func.count()).select_from(USER_KEYS)
        return await connection.scalar(statement.where(_others(tenant, version))) or 0

    async def others(
        self, connection: AsyncConnection, tenant: str, version: int, after: str, limit: int
    ) -> list[UserKeyRow]:
        """Give users' keys that other versions than one wrap, after a position."""
        chosen = _others(tenant, version)
        if after:
            user, _, number = after.partition(_SEPARATOR)
            place = sa.tuple_(_USERS.user_id, _USERS.version)
            chosen = sa.and_(chosen, place > sa.tuple_(uuid.UUID(user), int(number)))
        return await self._user_keys(connection, chosen, limit)

    async def wrapped_by(
        self, connection: AsyncConnection, tenant: str, version: int, limit: int
    ) -> list[UserKeyRow]:
        """Give users' keys that one version wraps."""
        chosen = sa.and_(
            _USERS.tenant_id == tenant,
            _USERS.tenant_key_version == version,
            _USERS.wrapped.is_not(None),
        )
        return await self._user_keys(connection, chosen, limit)

    async def rewrap(
        self, connection: AsyncConnection, tenant: str, version: int, rows: Sequence[Rewrapped]
    ) -> list[UserKeyRow]:
        """Replace wrapped keys that are still what they were; give the rows as they stand then."""
        if not rows:
            return []
        new = (
            sa.func.unnest(
                sa.cast([uuid.UUID(each.before.user_id) for each in rows], ARRAY(sa.Uuid)),
                sa.cast([each.before.version for each in rows], ARRAY(sa.Integer)),
                sa.cast([each.before.wrapped for each in rows], ARRAY(sa.LargeBinary)),
                sa.cast([each.wrapped for each in rows], ARRAY(sa.LargeBinary)),
            )
            .table_valued(
                sa.column("user_id", sa.Uuid),
                sa.column("version", sa.Integer),
                sa.column("before", sa.LargeBinary),
                sa.column("wrapped", sa.LargeBinary),
                name="new",
            )
            .render_derived()
        )
        statement = (
            sa.update(USER_KEYS)
            .where(
                _USERS.tenant_id == tenant,
                _USERS.user_id == new.c.user_id,
                _USERS.version == new.c.version,
                _USERS.wrapped == new.c.before,
            )
            .values(tenant_key_version=version, wrapped=new.c.wrapped)
            .returning(*(_USERS[name] for name in UserKeyRow._fields))
        )
        return [_user_key(row) for row in await connection.execute(statement)]

    async def _user_keys(
        self, connection: AsyncConnection, chosen: sa.ColumnElement[bool], limit: int
    ) -> list[UserKeyRow]:
        columns = [_USERS[name] for name in UserKeyRow._fields]
        statement = sa.select(*columns).where(chosen).order_by(_USERS.user_id, _USERS.version)
        return [_user_key(row) for row in await connection.execute(statement.limit(limit))]


def _others(tenant: str, version: int) -> sa.ColumnElement[bool]:
    return sa.and_(
        _USERS.tenant_id == tenant,
        _USERS.tenant_key_version != version,
        _USERS.wrapped.is_not(None),
    )


def _user_key(row: "sa.Row[tuple[object, ...]]") -> UserKeyRow:
    return UserKeyRow(
        str(row.user_id),
        row.version,
        KeyState(row.state),
        row.tenant_key_version,
        bytes(row.wrapped),
    )
