"""Statements that stop the use of a key, and give it back."""

import uuid

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from services.crypto.keys.key_listing_store import APP_KEY, USER_DEK
from services.crypto.keys.states import KeyState
from services.crypto.tables import APP_KEYS, TENANT_KEYS, USER_KEYS


async def set_disabled(
    connection: AsyncConnection, tenant: str, key_id: str, *, disabled: bool
) -> None:
    """Disable the versions of a key, keeping what they were, or make them that again."""
    table = TENANT_KEYS
    if key_id == APP_KEY:
        table = APP_KEYS
    elif key_id.startswith(USER_DEK):
        table = USER_KEYS
    chosen = table.c.tenant_id == tenant
    if table is USER_KEYS:
        user = uuid.UUID(key_id.removeprefix(USER_DEK))
        chosen = sa.and_(chosen, USER_KEYS.c.user_id == user)
    disabled_now = table.c.state == KeyState.DISABLED.value
    if disabled:
        lives = sa.and_(~disabled_now, table.c.state != KeyState.DESTROYED.value)
        changed: dict[str, object] = {
            "state_before": table.c.state,
            "state": KeyState.DISABLED.value,
        }
    else:
        lives = sa.and_(disabled_now, table.c.state_before.is_not(None))
        changed = {"state": table.c.state_before, "state_before": None}
    await connection.execute(sa.update(table).where(chosen, lives).values(changed))
