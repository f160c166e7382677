"""All SQL of rotations: their log, and the work that is due in it."""

import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.crypto.rotation.rotation import KeyType, Plan, Rotation, Status, Step
from services.crypto.tables import KEY_ROTATION_LOG, ROTATION_WORK

_LOG = KEY_ROTATION_LOG
_WORK = ROTATION_WORK
Due = tuple[str, str]
"""Tenant and rotation id."""


class RotationLog:
    """Reads and writes rotations by the caller's connection."""

    async def add(
        self,
        connection: AsyncConnection,
        tenant: str,
        rotation_id: str,
        key_type: KeyType,
        plan: Plan,
        principal: str,
        rolls_back: str = "",
    ) -> None:
        """Keep a rotation that is planned."""
        values = {
            "tenant_id": tenant,
            "id": uuid.UUID(rotation_id),
            "key_type": key_type.value,
            "old_version": plan.old_version,
            "new_version": plan.new_version,
            "records_planned": plan.records,
            "kms_key_id": plan.kms_key_id,
            "initiated_by": principal,
            "rolls_back": uuid.UUID(rolls_back) if rolls_back else None,
        }
        await connection.execute(sa.insert(_LOG).values(values))

    async def get(
        self, connection: AsyncConnection, tenant: str, rotation_id: str, *, lock: bool = False
    ) -> Rotation | None:
        """Give a rotation, locked until the transaction's end if wanted; None if there is none."""
        statement = sa.select(_LOG).where(*_named(tenant, rotation_id))
        if lock:
            statement = statement.with_for_update()
        row = (await connection.execute(statement)).first()
        return None if row is None else _rotation(row)

    async def page(
        self, connection: AsyncConnection, tenant: str, before: str | None, limit: int
    ) -> list[Rotation]:
        """Give rotations before an id, the newest first."""
        statement = sa.select(_LOG).where(_LOG.c.tenant_id == tenant)
        if before is not None:
            statement = statement.where(_LOG.c.id < uuid.UUID(before))
        rows = await connection.execute(statement.order_by(_LOG.c.id.desc()).limit(limit))
        return [_rotation(row) for row in rows]

    async def unfinished(
        self, connection: AsyncConnection, tenant: str, key_type: KeyType
    ) -> list[Rotation]:
        """Give the rotations of a kind of key that run or are paused."""
        statement = sa.select(_LOG).where(
            _LOG.c.tenant_id == tenant,
            _LOG.c.key_type == key_type.value,
            _LOG.c.status.in_([Status.RUNNING.value, Status.PAUSED.value]),
        )
        return [_rotation(row) for row in await connection.execute(statement)]

    async def is_superseded(self, connection: AsyncConnection, rotation: Rotation) -> bool:
        """Tell whether another rotation of the same key began after this one."""
        statement = sa.select(sa.literal(1)).where(
            _LOG.c.tenant_id == rotation.tenant,
            _LOG.c.key_type == rotation.key_type.value,
            _LOG.c.started_at > rotation.started_at,
        )
        return (await connection.execute(statement.limit(1))).first() is not None

    async def lock(self, connection: AsyncConnection, tenant: str) -> None:
        """Let one transaction at a time decide about the rotations of a tenant."""
        key = sa.func.hashtextextended(f"key_rotation_log/{tenant}", 0)
        await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))

    async def set(self, connection: AsyncConnection, rotation: Rotation, **values: object) -> None:
        """Change columns of a rotation."""
        changed = sa.update(_LOG).where(*_named(rotation.tenant, rotation.rotation_id))
        await connection.execute(changed.values(**values))

    async def advance(self, connection: AsyncConnection, rotation: Rotation, step: Step) -> None:
        """Note how far a rotation is, in the transaction that wrote the rows."""
        ended = not step.position
        skipped = rotation.records_skipped if rotation.position else 0
        await self.set(
            connection,
            rotation,
            position=step.position,
            records_affected=_LOG.c.records_affected + step.written,
            records_skipped=skipped + step.skipped,
            pass_records=0 if ended else rotation.pass_records + step.written,
            error=None,
        )

    async def start(self, connection: AsyncConnection, rotation: Rotation) -> None:
        """Let a rotation run: whoever has time takes it."""
        await self.set(
            connection,
            rotation,
            status=Status.RUNNING.value,
            started_at=sa.func.coalesce(_LOG.c.started_at, sa.func.now()),
            error=None,
        )
        await self.schedule(connection, rotation, timedelta(0))

    async def schedule(
        self, connection: AsyncConnection, rotation: Rotation, after: timedelta
    ) -> None:
        """Have a rotation looked at again after a time, by anybody."""
        due = sa.func.now() + after
        statement = insert(_WORK).values(
            tenant_id=rotation.tenant, rotation_id=uuid.UUID(rotation.rotation_id), due_at=due
        )
        again = statement.on_conflict_do_update(
            index_elements=["tenant_id", "rotation_id"], set_={"due_at": due, "holder": None}
        )
        await connection.execute(again)

    async def drop(self, connection: AsyncConnection, rotation: Rotation) -> None:
        """Have a rotation looked at no more."""
        await connection.execute(
            sa.delete(_WORK).where(*_worked(rotation.tenant, rotation.rotation_id))
        )

    async def complete(
        self, connection: AsyncConnection, rotation: Rotation, window: timedelta, after: timedelta
    ) -> None:
        """End a rotation, to be looked at after a time; one that undid another ends that too."""
        await self.set(
            connection,
            rotation,
            status=Status.COMPLETED.value,
            completed_at=sa.func.now(),
            rollback_until=sa.func.now() + window,
        )
        await self.schedule(connection, rotation, min(window, after))
        if rotation.rolls_back:
            undone = await self.get(connection, rotation.tenant, rotation.rolls_back)
            if undone is not None:
                await self.set(connection, undone, status=Status.ROLLED_BACK.value)
                await self.drop(connection, undone)

    async def claim(self, connection: AsyncConnection, holder: str, lease: timedelta) -> Due | None:
        """Take the work that is due for longest, for a time; None if none is."""
        due = (
            sa.select(_WORK.c.tenant_id, _WORK.c.rotation_id)
            .where(_WORK.c.due_at <= sa.func.now())
            .order_by(_WORK.c.due_at)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        found = (await connection.execute(due)).first()
        if found is None:
            return None
        await connection.execute(
            sa.update(_WORK)
            .where(*_worked(found.tenant_id, str(found.rotation_id)))
            .values(holder=uuid.UUID(holder), due_at=sa.func.now() + lease)
        )
        return found.tenant_id, str(found.rotation_id)

    async def hold(
        self, connection: AsyncConnection, due: Due, holder: str, lease: timedelta
    ) -> bool:
        """Keep work for longer; False if another took it, or it was taken away."""
        statement = (
            sa.update(_WORK)
            .where(*_worked(*due), _WORK.c.holder == uuid.UUID(holder))
            .values(due_at=sa.func.now() + lease)
        )
        return bool((await connection.execute(statement)).rowcount)


def _named(tenant: str, rotation_id: str) -> Sequence[sa.ColumnElement[bool]]:
    return _LOG.c.tenant_id == tenant, _LOG.c.id == uuid.UUID(rotation_id)


def _worked(tenant: str, rotation_id: str) -> Sequence[sa.ColumnElement[bool]]:
    return _WORK.c.tenant_id == tenant, _WORK.c.rotation_id == uuid.UUID(rotation_id)


def _rotation(row: Any) -> Rotation:
    return Rotation(
        tenant=row.tenant_id,
        rotation_id=str(row.id),
        key_type=KeyType(row.key_type),
        status=Status(row.status),
        old_version=row.old_version,
        new_version=row.new_version,
        records_planned=row.records_planned or 0,
        records_affected=row.records_affected,
        records_skipped=row.records_skipped,
        kms_key_id=row.kms_key_id,
        rolls_back=str(row.rolls_back) if row.rolls_back else "",
        initiated_by=row.initiated_by,
        error=row.error or "",
        position=row.position,
        pass_records=row.pass_records,
        created_at=row.created_at,
        started_at=row.started_at,
        completed_at=row.completed_at,
        rollback_until=row.rollback_until,
    )
