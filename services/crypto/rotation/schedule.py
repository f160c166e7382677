"""Starts rotations of keys that are as old as their tenant lets them become.

Every process looks; who takes a key keeps the others away from it, and the decision is made under
the tenant's lock (``RotationLog.lock``) and written in the same transaction: so one of them starts
a rotation, and none starts it again after a restart. ``runner`` does the work.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from opentelemetry import metrics
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.errors import Refusal, ResourceNotFound, TenantInactive
from mesh.identifiers import new_uuid
from mesh.sql.recurring import Recurring
from mesh.sql.transactions import Transactions, act_as
from services.crypto.audit.entry import Access, Audit, Operation
from services.crypto.persons.config_store import ConfigStore
from services.crypto.rotation.procedure import Procedure
from services.crypto.rotation.rotation import KeyType, Status
from services.crypto.rotation.rotation_store import RotationLog
from services.crypto.rotation.schedule_store import DueKey, ScheduleStore, Standing
from services.crypto.tables import EVERY_TENANT

PRINCIPAL = "system:rotation-schedule"
"""Who ordered what the schedule starts."""
DUE = "KEY_ROTATION_DUE"
"""Reason of the alert that an operator has to do something first."""
SETTING = "key_rotation_schedule_days"
_EVERY = timedelta(minutes=1)
_LOOK_AGAIN = timedelta(hours=1)
"""After which a key is looked at again that waits for somebody or something."""
_AT_REST = timedelta(days=1)
"""The same for a key that is not due: its tenant may have changed the period."""
_TELL_AGAIN = timedelta(days=7)
_SPREAD = 20
"""Part of the period, one of so many, over which keys that were made together are spread."""
_LOG = logging.getLogger(__name__)
_DUE = metrics.get_meter("secmesh.crypto").create_gauge(
    "secmesh.crypto.rotation.due",
    description="keys of tenants whose rotation is due and waits for an operator",
)


def utc_now() -> datetime:
    """Give the present."""
    return datetime.now(UTC)


def due_moment(key: DueKey, since: datetime, days: int) -> datetime:
    """Give when a key is rotated: before it is as old as it may be, never after.

    How long before, up to a twentieth of the period, is always the same for a key.
    """
    period = timedelta(days=days)
    digest = sha256(f"{key.tenant}/{key.key_type.value}".encode()).digest()
    part = int.from_bytes(digest[:4], "big") / 2**32
    return since + period - period / _SPREAD * part


class RotationSchedule(Recurring):
    """See the module."""

    def __init__(
        self,
        transactions: Transactions,
        log: RotationLog,
        procedures: Mapping[KeyType, Procedure],
        audit: Audit,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        super().__init__(_EVERY, "keys whose rotation is due could not be looked for")
        self._transactions = transactions
        self._rotations = log
        self._procedures = procedures
        self._audit = audit
        self._clock = clock
        self._store = ScheduleStore()
        self._config = ConfigStore()

    async def look(self) -> int:
        """Look at every key whose time it is; give how many rotations were started."""
        started = 0
        while (key := await self._claim()) is not None:
            try:
                started += await self._decided(key)
            except TenantInactive:
                # Its removal drops what is due.
                continue
            except Refusal as refusal:
                # A custodian that does not answer, say: the next look is an hour later.
                _LOG.warning(
                    "the rotation of a key could not be decided",
                    extra={"fields": {"tenant": key.tenant, "key": key.key_type.value}},
                    exc_info=refusal,
                )
        await self._measure()
        return started

    async def _claim(self) -> DueKey | None:
        now = self._clock()
        async with self._transactions.transaction(EVERY_TENANT) as connection:
            return await self._store.claim(connection, now, now + _LOOK_AGAIN)

    async def _decided(self, key: DueKey) -> bool:
        """Start the rotation of a key, tell that an operator is needed, or do nothing."""
        procedure = self._procedures[key.key_type]
        try:
            async with self._transactions.connection(key.tenant) as connection:
                if await self._due(connection, key) is None:
                    plan = None
                else:
                    plan = await procedure.plan(connection, key.tenant)
        except ResourceNotFound:
            plan = None
        obstacle = await procedure.obstacle(key.tenant, plan) if plan else ""
        async with self._transactions.transaction(key.tenant) as connection:
            await act_as(connection, PRINCIPAL)
            await self._rotations.lock(connection, key.tenant)
            # Somebody may have rotated it since.
            standing = await self._due(connection, key) if plan else None
            if standing is None:
                await self._rest(connection, key)
                return False
            if standing.last_status is Status.FAILED:
                obstacle = "the last rotation failed: run it again, or roll it back"
            if obstacle:
                await self._tell(connection, key, standing, obstacle)
                return False
            return await self._start(connection, key)

    async def _due(self, connection: AsyncConnection, key: DueKey) -> Standing | None:
        """Give what is known of a key that is to be rotated; None if it is not."""
        standing = await self._store.standing(connection, key)
        moment = await self._moment(connection, key, standing)
        if moment is None or moment > self._clock():
            return None
        if await self._rotations.unfinished(connection, key.tenant, key.key_type):
            return None
        return standing

    async def _moment(
        self, connection: AsyncConnection, key: DueKey, standing: Standing
    ) -> datetime | None:
        """Give when a key is rotated; None if it is not there, or the schedule is off."""
        settings = await self._config.settings(connection, key.tenant)
        days = int(settings.get(SETTING, "0"))
        if not days or standing.since is None:
            return None
        return due_moment(key, standing.since, days)

    async def _rest(self, connection: AsyncConnection, key: DueKey) -> None:
        """Let a key alone until it is due, and at most for a day; nobody has to do anything."""
        moment = await self._moment(connection, key, await self._store.standing(connection, key))
        now = self._clock()
        waits = [now + _AT_REST]
        if moment is not None and moment > now:
            waits.append(moment)
        await self._store.rest(connection, key, min(waits))

    async def _start(self, connection: AsyncConnection, key: DueKey) -> bool:
        tenant = key.tenant
        plan = await self._procedures[key.key_type].plan(connection, tenant)
        await self._store.rotated(connection, key, self._clock())
        if not plan.needed:
            return False
        rotation_id = new_uuid()
        await self._rotations.add(connection, tenant, rotation_id, key.key_type, plan, PRINCIPAL)
        rotation = await self._rotations.get(connection, tenant, rotation_id)
        if rotation is None:
            raise RuntimeError("a rotation that was just added is not there")
        await self._rotations.start(connection, rotation)
        details = f"{key.key_type.value} {rotation_id}"
        await self._audit.record([Access(tenant, Operation.ROTATE, PRINCIPAL, "", details=details)])
        _LOG.info("rotation %s is due and was started", rotation.name)
        return True

    async def _tell(
        self, connection: AsyncConnection, key: DueKey, standing: Standing, obstacle: str
    ) -> None:
        now, told = self._clock(), standing.noticed_at
        if told is not None and now - told < _TELL_AGAIN:
            await self._store.notice(connection, key, obstacle, told)
            return
        await self._store.notice(connection, key, obstacle, now)
        await self._audit.record(
            [
                Access(
                    key.tenant,
                    Operation.RAISE_ALERT,
                    PRINCIPAL,
                    "",
                    error_code=DUE,
                    details=f"{key.key_type.value}: {obstacle}",
                )
            ]
        )
        _LOG.error(
            "the rotation of a key is due and waits for an operator: %s",
            obstacle,
            extra={"fields": {"tenant": key.tenant, "key": key.key_type.value}},
        )

    async def _measure(self) -> None:
        async with self._transactions.connection(EVERY_TENANT) as connection:
            waiting = await self._store.notices(connection)
        for key_type in KeyType:
            _DUE.set(waiting.get(key_type, 0), {"key_type": key_type.value})
