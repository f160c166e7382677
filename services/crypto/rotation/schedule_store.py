"""All SQL of the schedule of rotations: whose turn it is, and how old keys are."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from services.crypto.rotation.rotation import KeyType, Status
from services.crypto.tables import APP_KEYS, KEY_ROTATION_LOG, ROTATION_SCHEDULE, TENANT_KEYS

_TABLE = ROTATION_SCHEDULE.c
_LOG = KEY_ROTATION_LOG.c


class DueKey(NamedTuple):
    """Which key is to be looked at."""

    tenant: str
    key_type: KeyType


class Standing(NamedTuple):
    """What the schedule knows of a key."""

    since: datetime | None
    """When it was made, last rotated, or a rotation of it rolled back; None if it is not there."""
    last_status: Status | None
    """Of the rotation that was started last."""
    noticed_at: datetime | None
    """When somebody was last told that an operator is needed; None if none is."""


class ScheduleStore:
    """Reads and writes by the caller's connection."""

    async def claim(
        self, connection: AsyncConnection, now: datetime, again: datetime
    ) -> DueKey | None:
        """Take the key that waits for longest until another moment; None if none waits."""
        due = (
            sa.select(_TABLE.tenant_id, _TABLE.key_type)
            .where(_TABLE.look_at <= now)
            .order_by(_TABLE.look_at)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        found = (await connection.execute(due)).first()
        if found is None:
            return None
        key = DueKey(found.tenant_id, KeyType(found.key_type))
        await self._set(connection, key, look_at=again)
        return key

    async def standing(self, connection: AsyncConnection, key: DueKey) -> Standing:
        """Give what is known of a key."""
        keys = APP_KEYS.c if key.key_type is KeyType.APP_KEY else TENANT_KEYS.c
        own = sa.select(sa.func.min(keys.created_at)).where(keys.tenant_id == key.tenant)
        rotations = sa.and_(_LOG.tenant_id == key.tenant, _LOG.key_type == key.key_type.value)
        ended = sa.select(sa.func.max(_LOG.completed_at)).where(rotations)
        last = sa.select(_LOG.status).where(rotations, _LOG.started_at.is_not(None))
        statement = sa.select(
            sa.func.greatest(
                own.scalar_subquery(), ended.scalar_subquery(), _TABLE.rotated_at
            ).label("since"),
            last.order_by(_LOG.started_at.desc()).limit(1).scalar_subquery().label("status"),
            _TABLE.noticed_at,
            own.scalar_subquery().label("made"),
        ).where(*_named(key))
        row = (await connection.execute(statement)).one()
        status = None if row.status is None else Status(row.status)
        return Standing(None if row.made is None else row.since, status, row.noticed_at)

    async def rotated(self, connection: AsyncConnection, key: DueKey, at: datetime) -> None:
        """Note that a key was rotated, or needed nothing: nobody has to do anything."""
        await self._set(connection, key, rotated_at=at, notice="", noticed_at=None)

    async def rest(self, connection: AsyncConnection, key: DueKey, until: datetime) -> None:
        """Have a key looked at again at a moment; nobody has to do anything before."""
        await self._set(connection, key, look_at=until, notice="", noticed_at=None)

    async def notice(
        self, connection: AsyncConnection, key: DueKey, notice: str, at: datetime
    ) -> None:
        """Note what an operator has to do, and when that was last told."""
        await self._set(connection, key, notice=notice, noticed_at=at)

    async def notices(self, connection: AsyncConnection) -> Mapping[KeyType, int]:
        """Count the keys that wait for an operator, those of all tenants together."""
        statement = sa.select(_TABLE.key_type, sa.func.count()).where(
            _TABLE.noticed_at.is_not(None)
        )
        rows = await connection.execute(statement.group_by(_TABLE.key_type))
        return {KeyType(row[0]): row[1] for row in rows}

    async def _set(self, connection: AsyncConnection, key: DueKey, **values: object) -> None:
        await connection.execute(sa.update(ROTATION_SCHEDULE).where(*_named(key)).values(**values))


def _named(key: DueKey) -> tuple[sa.ColumnElement[bool], ...]:
    return _TABLE.tenant_id == key.tenant, _TABLE.key_type == key.key_type.value
