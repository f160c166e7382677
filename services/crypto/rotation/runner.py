"""Runs rotations that are due: in turns, each one transaction, whichever process does them.

Who works on a rotation has a lease that each turn extends. A process that is killed leaves the
rotation as its last turn left it; when the lease is over another goes on from there.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.errors import Refusal, TenantInactive
from mesh.identifiers import new_uuid
from mesh.sql.recurring import Recurring
from mesh.sql.transactions import Transactions, act_as
from services.crypto.audit.entry import Access, Audit, Operation
from services.crypto.keys.news import tell
from services.crypto.rotation.procedure import Procedure, ReadBackFailed
from services.crypto.rotation.refusals import RotationOutdated
from services.crypto.rotation.rotation import KeyType, Rotation, Status
from services.crypto.rotation.rotation_store import Due, RotationLog
from services.crypto.tables import EVERY_TENANT

_LOG = logging.getLogger(__name__)
_NEVER = datetime.min.replace(tzinfo=UTC)
_AGAIN = timedelta(seconds=2)
"""After a turn that failed for a reason that passes."""


@dataclass(frozen=True)
class Pace:
    """How fast rotations go."""

    every: timedelta = timedelta(seconds=0.5)
    """Between looks for work."""
    lease: timedelta = timedelta(seconds=30)
    """After the last turn of a process another may go on."""
    batch: int = 200
    """Rows of one turn, about."""
    quiet_batch: int = 2000
    """The same where no call is kept waiting."""
    rows_per_second: float = 20_000
    """Of one process, about."""
    window: timedelta = timedelta(days=7)
    """After a rotation's end it can be rolled back; nothing is destroyed before."""
    settling: timedelta = timedelta(minutes=2)
    """After its end processes may remember the old version; then what they wrote by it is due."""


class _Ended(Exception):
    """The rotation is paused, or another process works on it."""


class RotationRunner(Recurring):
    """See the module."""

    def __init__(
        self,
        transactions: Transactions,
        log: RotationLog,
        procedures: Mapping[KeyType, Procedure],
        audit: Audit,
        pace: Pace | None = None,
    ) -> None:
        self._pace = pace or Pace()
        super().__init__(self._pace.every, "a rotation of keys could not go on")
        self._transactions = transactions
        self._log_store = log
        self._procedures = procedures
        self._audit = audit
        self._holder = new_uuid()

    async def look(self) -> int:
        """Work off all that is due; give how many rotations were looked at."""
        count = 0
        while (due := await self._claim()) is not None:
            count += 1
            await self._work(due)
        return count

    async def _claim(self) -> Due | None:
        # Of all tenants; a snapshot would fail if another process claims meanwhile.
        async with self._transactions.transaction(EVERY_TENANT) as connection:
            return await self._log_store.claim(connection, self._holder, self._pace.lease)

    async def _work(self, due: Due) -> None:
        tenant, rotation_id = due
        try:
            async with self._transactions.connection(tenant) as connection:
                rotation = await self._log_store.get(connection, tenant, rotation_id)
        except TenantInactive:
            # Its removal drops what is due.
            return
        if rotation is None:
            return
        try:
            if rotation.status is Status.RUNNING:
                await self._run(rotation)
            else:
                await self._close(rotation)
        except (_Ended, TenantInactive):
            return
        except (ReadBackFailed, RotationOutdated) as error:
            await self._stop(rotation, str(error))
        except Refusal as error:
            await self._again(rotation, str(error))
        except Exception as error:
            await self._again(rotation, type(error).__name__)
            raise

    async def _run(self, rotation: Rotation) -> None:
        procedure = self._procedures[rotation.key_type]
        await procedure.prepare(rotation)
        async with self._turn(rotation) as (connection, rotation):
            await procedure.promote(connection, rotation)
            await tell(connection, rotation.tenant)
        procedure.forget(rotation.tenant)
        await self._passes(rotation)

    async def _passes(self, rotation: Rotation) -> None:
        """Rewrite until a pass finds nothing: traffic may write by the old version meanwhile."""
        procedure, status = self._procedures[rotation.key_type], rotation.status
        batch = self._pace.quiet_batch if procedure.quiet else self._pace.batch
        # Of a second at most: who rests for longer than the lease would lose it.
        batch = max(1, min(batch, int(self._pace.rows_per_second)))
        done = False
        while not done:
            started = time.monotonic()
            await procedure.prepare(rotation)
            async with self._turn(rotation, status) as (connection, now):
                if await self._is_over(connection, now):
                    return
                step = await procedure.step(connection, now, batch)
                await self._log_store.advance(connection, now, step)
                if not step.position:
                    # Who still seals by the old version would keep passes coming.
                    await tell(connection, rotation.tenant)
                done = not step.position and not now.pass_records + step.written
                if done and status is Status.RUNNING:
                    window, settling = self._pace.window, self._pace.settling
                    await self._log_store.complete(connection, now, window, settling)
                    await self._record(now)
            if done or not procedure.quiet:
                procedure.forget(rotation.tenant)
            rest = step.written / self._pace.rows_per_second - (time.monotonic() - started)
            await asyncio.sleep(max(rest, 0))

    async def _is_over(self, connection: AsyncConnection, rotation: Rotation) -> bool:
        """Tell whether another rotation leads the key elsewhere by now."""
        if rotation.status is Status.RUNNING:
            return False
        return await self._log_store.is_superseded(connection, rotation)

    async def _close(self, rotation: Rotation) -> None:
        """Go once more through a rotation that ended; let go of the old version in the end."""
        if rotation.status is Status.COMPLETED:
            async with self._transactions.connection(rotation.tenant) as connection:
                over = await self._is_over(connection, rotation)
            if not over:
                await self._passes(rotation)
            left = (rotation.rollback_until or _NEVER) - datetime.now(UTC)
            if left > timedelta(0):
                async with self._turn(rotation, Status.COMPLETED) as (connection, now):
                    await self._log_store.schedule(connection, now, left)
                return
            await self._let_go(rotation)
        async with self._transactions.transaction(rotation.tenant) as connection:
            await self._log_store.drop(connection, rotation)

    async def _let_go(self, rotation: Rotation) -> None:
        procedure = self._procedures[rotation.key_type]
        closed = False
        while not closed:
            async with self._turn(rotation, Status.COMPLETED) as (connection, now):
                closed = await procedure.close(connection, now, self._pace.batch)
            procedure.forget(rotation.tenant)

    @contextlib.asynccontextmanager
    async def _turn(
        self, rotation: Rotation, status: Status = Status.RUNNING
    ) -> AsyncIterator[tuple[AsyncConnection, Rotation]]:
        """Give a transaction in which the rotation is this process's, and the rotation as it is."""
        tenant, rotation_id = rotation.tenant, rotation.rotation_id
        async with self._transactions.transaction(tenant) as connection:
            await act_as(connection, rotation.initiated_by)
            now = await self._log_store.get(connection, tenant, rotation_id, lock=True)
            due, lease = (tenant, rotation_id), self._pace.lease
            held = await self._log_store.hold(connection, due, self._holder, lease)
            if not held or now is None or now.status is not status:
                raise _Ended
            yield connection, now

    async def _again(self, rotation: Rotation, problem: str) -> None:
        """Leave what failed for a reason that passes to whoever looks next."""
        _LOG.warning("rotation %s: %s", rotation.name, problem)
        with contextlib.suppress(_Ended):
            async with self._turn(rotation, rotation.status) as (connection, now):
                await self._log_store.set(connection, now, error=problem)
                await self._log_store.schedule(connection, now, _AGAIN)

    async def _stop(self, rotation: Rotation, problem: str) -> None:
        """End what will not succeed by being done again."""
        _LOG.error("rotation %s failed: %s", rotation.name, problem)
        with contextlib.suppress(_Ended):
            async with self._turn(rotation, rotation.status) as (connection, now):
                await self._log_store.set(
                    connection, now, status=Status.FAILED.value, error=problem
                )
                await self._log_store.drop(connection, now)
                await self._record(now, "READ_BACK_FAILED")

    async def _record(self, rotation: Rotation, code: str = "") -> None:
        await self._audit.record(
            [
                Access(
                    tenant=rotation.tenant,
                    operation=Operation.ROTATE,
                    principal=rotation.initiated_by,
                    request_id="",
                    success=not code,
                    error_code=code,
                    details=f"{rotation.key_type.value} {rotation.rotation_id}",
                )
            ]
        )
