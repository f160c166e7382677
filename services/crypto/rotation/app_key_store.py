"""All SQL of a rotation of the app key: states of its versions, and whose values are sealed by it.

The key itself is its custodian's; here is only which version seals.
"""

import uuid

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from services.crypto.keys.states import KeyState
from services.crypto.tables import APP_KEYS, ENCRYPTION_METADATA

_VALUES = ENCRYPTION_METADATA.c


class AppKeyStore:
    """Reads and writes by the caller's connection."""

    async def states(self, connection: AsyncConnection, tenant: str) -> dict[int, KeyState]:
        """Give the versions that the tenant knows."""
        table = APP_KEYS.c
        statement = sa.select(table.version, table.state).where(table.tenant_id == tenant)
        return {row.version: KeyState(row.state) for row in await connection.execute(statement)}

    async def set_state(
        self, connection: AsyncConnection, tenant: str, version: int, state: KeyState
    ) -> None:
        """Change what a version is used for."""
        chosen = sa.and_(APP_KEYS.c.tenant_id == tenant, APP_KEYS.c.version == version)
        await connection.execute(sa.update(APP_KEYS).where(chosen).values(state=state.value))

    async def count(self, connection: AsyncConnection, tenant: str, version: int) -> int:
        """Count the values that other versions than one seal."""
        statement = sa.select(sa.func.count()).select_from(ENCRYPTION_METADATA)
        return await connection.scalar(statement.where(_others(tenant, version))) or 0

    async def users(
        self, connection: AsyncConnection, tenant: str, version: int, after: str, limit: int
    ) -> list[str]:
        """Give users after one who have values that other versions seal."""
        statement = sa.select(_VALUES.user_id).where(_others(tenant, version)).distinct()
        if after:
            statement = statement.where(_VALUES.user_id > uuid.UUID(after))
        found = await connection.execute(statement.order_by(_VALUES.user_id).limit(limit))
        return [str(each) for each in found.scalars()]


def _others(tenant: str, version: int) -> sa.ColumnElement[bool]:
    # Of values of tier 2 it is null, and so is the comparison.
    return sa.and_(_VALUES.tenant_id == tenant, _VALUES.app_key_version != version)
