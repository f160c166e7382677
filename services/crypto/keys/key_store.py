"""All SQL of the tables of keys; what is wrapped stays wrapped here."""

import uuid
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.sql.transactions import Transactions
from services.crypto.keys.states import KeyState
from services.crypto.tables import APP_KEYS, INDEX_KEYS, TENANT_KEYS, USER_KEYS


class TenantKeyRow(NamedTuple):
    """One version of a tenant's key."""

    version: int
    state: KeyState
    kms_key_id: str
    wrapped: bytes | None


class UserKeyRow(NamedTuple):
    """One version of a user's key."""

    user_id: str
    version: int
    state: KeyState
    tenant_key_version: int
    wrapped: bytes | None


class FieldKeyName(NamedTuple):
    """Which key of a field."""

    tenant: str
    field: str
    used_for: str
    """``index`` or ``token``."""


_TENANT_COLUMNS = [TENANT_KEYS.c[name] for name in TenantKeyRow._fields]
_USER_COLUMNS = [USER_KEYS.c[name] for name in UserKeyRow._fields]
_FIELD_COLUMNS = [INDEX_KEYS.c[name] for name in TenantKeyRow._fields]


class KeyStore:
    """Reads and writes versions of keys, each statement for one tenant."""

    def __init__(self, transactions: Transactions) -> None:
        self.transactions = transactions

    async def tenant_key(self, tenant: str, version: int | None) -> TenantKeyRow | None:
        """Read a version of a tenant's key, the active one if None."""
        table = TENANT_KEYS.c
        chosen = _chosen(table, version)
        async with self.transactions.connection(tenant) as connection:
            row = await _first(
                connection,
                sa.select(*_TENANT_COLUMNS).where(table.tenant_id == tenant, chosen),
            )
        return _tenant_row(row)

    async def has_tenant_key(self, tenant: str) -> bool:
        """Tell whether a tenant has a key, of whatever state."""
        statement = sa.select(TENANT_KEYS.c.version).where(TENANT_KEYS.c.tenant_id == tenant)
        async with self.transactions.connection(tenant) as connection:
            return await _first(connection, statement.limit(1)) is not None

    async def add_tenant_key(self, tenant: str, row: TenantKeyRow) -> bool:
        """Keep a version; False if another process made it first."""
        values = {"tenant_id": tenant, **row._asdict()}
        async with self.transactions.transaction(tenant) as connection:
            statement = insert(TENANT_KEYS).values(values).on_conflict_do_nothing()
            added = await connection.execute(statement.returning(TENANT_KEYS.c.version))
            return added.first() is not None

    async def active_user_keys(
        self, tenant: str, user_ids: Collection[str], connection: AsyncConnection | None = None
    ) -> list[UserKeyRow]:
        """Read the active versions of users, in the caller's transaction if one is given."""
        chosen = sa.and_(
            USER_KEYS.c.user_id.in_([uuid.UUID(each) for each in user_ids]),
            USER_KEYS.c.state == KeyState.ACTIVE.value,
        )
        return await self._user_keys(tenant, chosen, connection)

    async def user_keys(self, tenant: str, wanted: Collection[tuple[str, int]]) -> list[UserKeyRow]:
        """Read versions by (user id, version)."""
        pairs = [(uuid.UUID(user), version) for user, version in wanted]
        chosen = sa.tuple_(USER_KEYS.c.user_id, USER_KEYS.c.version).in_(pairs)
        return await self._user_keys(tenant, chosen, None)

    async def _user_keys(
        self, tenant: str, chosen: sa.ColumnElement[bool], connection: AsyncConnection | None
    ) -> list[UserKeyRow]:
        statement = sa.select(*_USER_COLUMNS).where(USER_KEYS.c.tenant_id == tenant, chosen)
        if connection is not None:
            return [_user_row(row) for row in await connection.execute(statement)]
        async with self.transactions.connection(tenant) as own:
            return [_user_row(row) for row in await own.execute(statement)]

    async def add_user_keys(
        self, connection: AsyncConnection, tenant: str, rows: Sequence[UserKeyRow]
    ) -> set[str]:
        """Keep first versions; give the users whose key was kept, not those who have one."""
        values = [
            {"tenant_id": tenant, **row._asdict(), "user_id": uuid.UUID(row.user_id)}
            # In one order, so that two transactions never wait for each other.
            for row in sorted(rows, key=lambda row: row.user_id)
        ]
        statement = insert(USER_KEYS).values(values).on_conflict_do_nothing()
        added = await connection.execute(statement.returning(USER_KEYS.c.user_id))
        return {str(user) for user in added.scalars()}

    async def app_key_states(self, tenant: str) -> dict[int, KeyState]:
        """Read the versions of the app key that the tenant knows."""
        table = APP_KEYS.c
        statement = sa.select(table.version, table.state).where(table.tenant_id == tenant)
        async with self.transactions.connection(tenant) as connection:
            rows = await connection.execute(statement)
            return {row.version: KeyState(row.state) for row in rows}

    async def add_app_key(self, tenant: str, version: int, state: KeyState) -> None:
        """Keep a version, unless another process made it first."""
        values = {"tenant_id": tenant, "version": version, "state": state}
        async with self.transactions.transaction(tenant) as connection:
            await connection.execute(insert(APP_KEYS).values(values).on_conflict_do_nothing())

    async def field_keys(self, name: FieldKeyName) -> list[TenantKeyRow]:
        """Read every version of a key of a field, the newest first."""
        statement = (
            sa.select(*_FIELD_COLUMNS).where(_named(name)).order_by(INDEX_KEYS.c.version.desc())
        )
        async with self.transactions.connection(name.tenant) as connection:
            rows = await connection.execute(statement)
            return [found for row in rows if (found := _tenant_row(row)) is not None]

    async def add_field_key(self, name: FieldKeyName, row: TenantKeyRow) -> bool:
        """Keep a version; False if another process made it first."""
        values = {
            "tenant_id": name.tenant,
            "field_name": name.field,
            "used_for": name.used_for,
            **row._asdict(),
        }
        async with self.transactions.transaction(name.tenant) as connection:
            statement = insert(INDEX_KEYS).values(values).on_conflict_do_nothing()
            added = await connection.execute(statement.returning(INDEX_KEYS.c.version))
            return added.first() is not None


def _chosen(columns: Any, version: int | None) -> sa.ColumnElement[bool]:
    found: sa.ColumnElement[bool] = (
        columns.state == KeyState.ACTIVE.value if version is None else columns.version == version
    )
    return found


def _named(name: FieldKeyName) -> sa.ColumnElement[bool]:
    table = INDEX_KEYS.c
    return sa.and_(
        table.tenant_id == name.tenant,
        table.field_name == name.field,
        table.used_for == name.used_for,
    )


async def _first(connection: AsyncConnection, statement: sa.Select[Any]) -> Any:
    return (await connection.execute(statement)).first()


def _tenant_row(row: Any) -> TenantKeyRow | None:
    if row is None:
        return None
    return TenantKeyRow(row.version, KeyState(row.state), row.kms_key_id, row.wrapped)


def _user_row(row: Any) -> UserKeyRow:
    state = KeyState(row.state)
    return UserKeyRow(str(row.user_id), row.version, state, row.tenant_key_version, row.wrapped)
