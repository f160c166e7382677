"""Rotations as those who order them see them; ``runner`` does the work."""

from collections.abc import Mapping
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.errors import ResourceNotFound
from mesh.identifiers import new_uuid
from mesh.server.call import current_call
from mesh.sql.transactions import Transactions
from services.crypto.audit.entry import Audit, Operation
from services.crypto.persons.journal import Journal
from services.crypto.rotation.procedure import Procedure
from services.crypto.rotation.refusals import (
    RollbackWindowClosed,
    RotationConflict,
    RotationOutdated,
    RotationStatusUnfit,
)
from services.crypto.rotation.rotation import PATTERN, KeyType, Rotation, Status
from services.crypto.rotation.rotation_store import RotationLog


class Rotations:
    """Plans, starts, pauses and undoes; each of it is in the audit."""

    def __init__(
        self,
        transactions: Transactions,
        log: RotationLog,
        procedures: Mapping[KeyType, Procedure],
        audit: Audit,
    ) -> None:
        self._transactions = transactions
        self._log = log
        self._procedures = procedures
        self._audit = audit

    async def plan(self, tenant: str, key_type: KeyType) -> Rotation:
        """Say what a rotation would do, and keep it; no key is touched. ResourceNotFound."""
        journal = Journal(self._audit, tenant, Operation.ROTATE)
        async with self._transactions.transaction(tenant) as connection:
            plan = await self._procedures[key_type].plan(connection, tenant)
            rotation_id = new_uuid()
            await self._log.add(connection, tenant, rotation_id, key_type, plan, _principal())
            await journal.record([("", ())])
            return await self._found(connection, tenant, rotation_id)

    async def get(self, tenant: str, rotation_id: str) -> Rotation:
        """Give a rotation. Raises ResourceNotFound."""
        async with self._transactions.connection(tenant) as connection:
            return await self._found(connection, tenant, rotation_id)

    async def page(self, tenant: str, before: str | None, limit: int) -> list[Rotation]:
        """Give rotations before an id, the newest first."""
        async with self._transactions.connection(tenant) as connection:
            return await self._log.page(connection, tenant, before, limit)

    async def run(self, tenant: str, rotation_id: str) -> Rotation:
        """Start a rotation that is planned, or that failed.

        Raises ResourceNotFound, RotationStatusUnfit, RotationConflict, RotationOutdated.
        """
        journal = Journal(self._audit, tenant, Operation.ROTATE)
        async with self._transactions.transaction(tenant) as connection:
            rotation = await self._locked(
                connection, tenant, rotation_id, Status.PLANNED, Status.FAILED
            )
            if rotation.status is Status.PLANNED:
                plan = await self._procedures[rotation.key_type].plan(connection, tenant)
                if (plan.old_version, plan.new_version) != (
                    rotation.old_version,
                    rotation.new_version,
                ):
                    raise RotationOutdated
            await self._require_alone(connection, rotation)
            await self._log.start(connection, rotation)
            await journal.record([("", ())])
            return await self._found(connection, tenant, rotation_id)

    async def pause(self, tenant: str, rotation_id: str) -> Rotation:
        """Stop a rotation after its turn. Raises ResourceNotFound, RotationStatusUnfit."""
        journal = Journal(self._audit, tenant, Operation.ROTATE)
        async with self._transactions.transaction(tenant) as connection:
            rotation = await self._locked(connection, tenant, rotation_id, Status.RUNNING)
            await self._log.set(connection, rotation, status=Status.PAUSED.value)
            await self._log.drop(connection, rotation)
            await journal.record([("", ())])
            return await self._found(connection, tenant, rotation_id)

    async def resume(self, tenant: str, rotation_id: str) -> Rotation:
        """Let a rotation go on that is paused.

        Raises ResourceNotFound, RotationStatusUnfit, RotationConflict.
        """
        journal = Journal(self._audit, tenant, Operation.ROTATE)
        async with self._transactions.transaction(tenant) as connection:
            rotation = await self._locked(connection, tenant, rotation_id, Status.PAUSED)
            await self._require_alone(connection, rotation)
            await self._log.start(connection, rotation)
            await journal.record([("", ())])
            return await self._found(connection, tenant, rotation_id)

    async def roll_back(self, tenant: str, rotation_id: str) -> Rotation:
        """Begin to undo a rotation that ended or stands still; give the one that undoes it.

        Raises ResourceNotFound, RotationStatusUnfit, RotationConflict, RotationOutdated,
        RollbackWindowClosed.
        """
        journal = Journal(self._audit, tenant, Operation.ROTATE)
        async with self._transactions.transaction(tenant) as connection:
            rotation = await self._locked(
                connection, tenant, rotation_id, Status.COMPLETED, Status.PAUSED, Status.FAILED
            )
            until = rotation.rollback_until
            if rotation.rolls_back:
                raise RotationStatusUnfit("a rollback")
            if until is not None and until <= datetime.now(UTC):
                raise RollbackWindowClosed
            await self._require_alone(connection, rotation)
            procedure = self._procedures[rotation.key_type]
            plan = await procedure.plan_rollback(connection, rotation)
            undoing = new_uuid()
            await self._log.add(
                connection, tenant, undoing, rotation.key_type, plan, _principal(), rotation_id
            )
            # Nothing of it is destroyed while it is undone.
            await self._log.drop(connection, rotation)
            await self._log.start(connection, await self._found(connection, tenant, undoing))
            await journal.record([("", ())])
            return await self._found(connection, tenant, undoing)

    async def _locked(
        self, connection: AsyncConnection, tenant: str, rotation_id: str, *fit: Status
    ) -> Rotation:
        await self._log.lock(connection, tenant)
        rotation = await self._log.get(connection, tenant, rotation_id, lock=True)
        if rotation is None:
            raise ResourceNotFound(PATTERN.format(tenant, rotation_id))
        if rotation.status not in fit:
            raise RotationStatusUnfit(rotation.status.value)
        return rotation

    async def _require_alone(self, connection: AsyncConnection, rotation: Rotation) -> None:
        for each in await self._log.unfinished(connection, rotation.tenant, rotation.key_type):
            if each.rotation_id != rotation.rotation_id:
                raise RotationConflict(each.name)

    async def _found(self, connection: AsyncConnection, tenant: str, rotation_id: str) -> Rotation:
        rotation = await self._log.get(connection, tenant, rotation_id)
        if rotation is None:
            raise ResourceNotFound(PATTERN.format(tenant, rotation_id))
        return rotation


def _principal() -> str:
    return current_call().caller.subject
