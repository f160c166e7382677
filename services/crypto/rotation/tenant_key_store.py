"""All SQL of a rotation of a tenant's key: its versions, and what each of them wraps."""

import uuid
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.crypto.keys.key_store import TenantKeyRow, UserKeyRow
from services.crypto.keys.states import KeyState
from services.crypto.tables import TENANT_KEYS, USER_KEYS

_KEYS = TENANT_KEYS.c
_USERS = USER_KEYS.c
_COLUMNS = [
    # As text, which it becomes anyway: a million of them are not made objects for nothing.
    sa.cast(_USERS.user_id, sa.Text).label("user_id"),
    *(_USERS[name] for name in UserKeyRow._fields if name != "user_id"),
]
_SEPARATOR = "/"
_STATES = {state.value: state for state in KeyState}


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
            row.version: TenantKeyRow(row.version, _STATES[row.state], row.kms_key_id, row.wrapped)
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
                _array((each.before.user_id for each in rows), sa.Uuid),
                _array((str(each.before.version) for each in rows), sa.Integer),
                _array((_hex(each.before.wrapped or b"") for each in rows), sa.LargeBinary),
                _array((_hex(each.wrapped) for each in rows), sa.LargeBinary),
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
            .returning(*_COLUMNS)
        )
        return [_user_key(row) for row in await connection.execute(statement)]

    async def _user_keys(
        self, connection: AsyncConnection, chosen: sa.ColumnElement[bool], limit: int
    ) -> list[UserKeyRow]:
        statement = sa.select(*_COLUMNS).where(chosen).order_by(_USERS.user_id, _USERS.version)
        return [_user_key(row) for row in await connection.execute(statement.limit(limit))]


def _others(tenant: str, version: int) -> sa.ColumnElement[bool]:
    return sa.and_(
        _USERS.tenant_id == tenant,
        _USERS.tenant_key_version != version,
        _USERS.wrapped.is_not(None),
    )


def _array(items: Iterable[str], of: "type[sa.types.TypeEngine[Any]]") -> "sa.Cast[Any]":
    """Give an array in PostgreSQL's own notation: a driver in Python writes items far slower."""
    text = sa.literal(f"{{{','.join(items)}}}", sa.Text)
    return sa.cast(text, ARRAY(of))


def _hex(value: bytes) -> str:
    return rf'"\\x{value.hex()}"'


def _user_key(row: "sa.Row[tuple[object, ...]]") -> UserKeyRow:
    return UserKeyRow(
        row.user_id,
        row.version,
        _STATES[row.state],
        row.tenant_key_version,
        bytes(row.wrapped),
    )
