"""The SQL of deliveries: written with what they tell of, leased by who sends them."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import sqlalchemy as sa
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.cel.language import Environment
from mesh.contract.names import tenant_of
from mesh.errors import FilterInvalid
from mesh.identifiers import new_uuid
from mesh.sql.change_table import TENANT
from mesh.sql.store import Store
from secmesh.inventory.v1.contradiction_pb2 import Contradiction
from secmesh.inventory.v1.webhook_pb2 import Webhook, WebhookDelivery
from services.inventory.alerts.contradiction_store import CONTRADICTIONS
from services.inventory.webhooks.message import FOUND, body_of
from services.inventory.webhooks.retries import pause
from services.inventory.webhooks.sending import GONE, Answer
from services.inventory.webhooks.tables import DELIVERIES, WEBHOOKS
from services.inventory.webhooks.webhook_store import WebhookStore

LEASE = timedelta(seconds=60)
"""How long a process that fell silent keeps a delivery from others; longer than one attempt."""
KEPT = timedelta(days=30)
"""How long deliveries can be listed."""
_PENDING = WebhookDelivery.STATE_PENDING


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Leased:
    """A delivery that is to be sent now, by nobody else."""

    delivery: WebhookDelivery
    webhook: Webhook


class Outbox:
    """Keeps deliveries, of which a process leases one after the other."""

    def __init__(
        self,
        store: Store,
        owner: str = "",
        clock: Callable[[], datetime] = _now,
        lease: timedelta = LEASE,
    ) -> None:
        self._store = store
        self._owner = owner
        self._clock = clock
        self._lease = lease
        self._webhooks = WebhookStore(store)
        target = store.target(DELIVERIES)
        self._table = target.table
        self._webhook_id = target.table.c[target.kind.pattern.columns[1]]

    async def add(self, connection: AsyncConnection, found: Sequence[Contradiction]) -> None:
        """Write what each webhook of the tenant is to be told, in the caller's transaction."""
        if not found:
            return
        tenant = tenant_of(found[0].name) or ""
        for webhook in await self._webhooks.enabled(tenant, connection):
            wanted = [each for each in found if self._wants(webhook, each)]
            made = [self._delivery(webhook, each) for each in wanted]
            await self._store.insert(connection, DELIVERIES, made)

    async def due(self, busy: Collection[str], limit: int) -> Sequence[str]:
        """Give the webhooks, of all tenants, with something to send: who waits longest first."""
        webhooks = self._store.target(WEBHOOKS).table
        columns, tenant = self._table.c, self._table.c[TENANT]
        statement = (
            sa.select(tenant.label("tenant"), self._webhook_id.label("webhook"))
            .join(
                webhooks,
                (webhooks.c[TENANT] == tenant)
                & (webhooks.c.id == self._webhook_id)
                & sa.not_(webhooks.c.disabled)
                # Of an earlier webhook of that id nothing is sent.
                & (columns.create_time >= webhooks.c.create_time),
            )
            .where(*self._free())
            .group_by(tenant, self._webhook_id)
            .order_by(sa.func.min(columns.next_attempt_time))
            .limit(limit + len(busy))
        )
        async with self._store.whole() as connection:
            rows = await self._store.fetch(statement, connection)
        names = [f"tenants/{row.tenant}/webhooks/{row.webhook}" for row in rows]
        return [name for name in names if name not in busy][:limit]

    async def lease(self, webhook: str) -> Leased | None:
        """Lease the delivery of a webhook that waits longest; None if there is none to send.

        TenantInactive for a tenant that is removed.
        """
        tenant, webhook_id = webhook.split("/")[1::2]
        columns = self._table.c
        first = (
            self._store.select(DELIVERIES, tenant)
            .where(self._webhook_id == webhook_id, *self._free())
            .order_by(columns.next_attempt_time, columns.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        async with self._store.upkeep(tenant) as connection:
            to = await self._sent_to(connection, tenant, webhook_id)
            rows = await self._store.messages(DELIVERIES, first, connection=connection)
            if to is None or not rows:
                return None
            delivery = cast("WebhookDelivery", rows[0])
            until = _micros(self._clock() + self._lease)
            leased = {"owner": self._owner, "lease_expire_time": until}
            await connection.execute(self._update(delivery).values(leased))
        return Leased(delivery, to)

    async def _sent_to(
        self, connection: AsyncConnection, tenant: str, webhook_id: str
    ) -> Webhook | None:
        """Give a webhook; None if it is gone, or disabled since it was found to have some due."""
        table = self._store.target(WEBHOOKS).table
        statement = self._store.select(WEBHOOKS, tenant).where(
            table.c.id == webhook_id, sa.not_(table.c.disabled)
        )
        found = await self._store.messages(WEBHOOKS, statement, connection=connection)
        return cast("Webhook", found[0]) if found else None

    async def end(self, leased: Leased, answer: Answer) -> None:
        """Write what came of an attempt; nothing if another process took the delivery over."""
        delivery, now = leased.delivery, self._clock()
        attempts = delivery.attempts + 1
        values: dict[str, Any] = {
            "attempts": attempts,
            "response_code": answer.code,
            "problem": answer.problem,
            "owner": "",
            "lease_expire_time": None,
        }
        wait = None
        if not answer.taken:
            wait = pause(attempts, answer, now - delivery.create_time.ToDatetime(UTC))
        if wait is not None:
            values["next_attempt_time"] = _micros(now + wait)
        else:
            taken = WebhookDelivery.STATE_DELIVERED
            values["state"] = taken if answer.taken else WebhookDelivery.STATE_DEAD
            values["end_time"] = _micros(now)
        async with self._store.upkeep(tenant_of(delivery.name)) as connection:
            mine = self._update(delivery).where(self._table.c.owner == self._owner)
            await connection.execute(mine.values(values))
            if answer.code == GONE:
                await self._disable(connection, leased.webhook.name)

    async def forget(self) -> None:
        """Remove deliveries that nobody needs any more."""
        oldest = _micros(self._clock() - KEPT)
        gone = sa.delete(self._table).where(self._table.c.create_time < oldest)
        async with self._store.upkeep() as connection:
            await connection.execute(gone)

    async def _disable(self, connection: AsyncConnection, webhook: str) -> None:
        tenant, webhook_id = webhook.split("/")[1::2]
        table = self._store.target(WEBHOOKS).table
        statement = self._store.update(WEBHOOKS, tenant).where(table.c.id == webhook_id)
        values = {"disabled": True, "etag": new_uuid(), "update_time": _micros(self._clock())}
        await connection.execute(statement.values(values))

    def _wants(self, webhook: Webhook, found: Contradiction) -> bool:
        if not webhook.filter:
            return True
        kind = self._store.target(CONTRADICTIONS).kind
        try:
            return Environment.of_kind(kind).compile(webhook.filter).matches(found) is True
        except FilterInvalid:
            # Written for an earlier contract: rather too much than nothing.
            return True

    def _delivery(self, webhook: Webhook, found: Contradiction) -> WebhookDelivery:
        now, stamp = self._clock(), Timestamp()
        stamp.FromDatetime(now)
        return WebhookDelivery(
            name=f"{webhook.name}/deliveries/{new_uuid()}",
            contradiction=found.name,
            body=body_of(FOUND, now, found),
            state=_PENDING,
            next_attempt_time=stamp,
            create_time=stamp,
        )

    def _free(self) -> list[sa.ColumnElement[bool]]:
        """Give the conditions that a delivery is to be sent now and that nobody is at it."""
        columns, now = self._table.c, _micros(self._clock())
        unleased = columns.lease_expire_time.is_(None) | (columns.lease_expire_time <= now)
        return [columns.state == _PENDING, columns.next_attempt_time <= now, unleased]

    def _update(self, delivery: WebhookDelivery) -> sa.Update:
        tenant, webhook_id, delivery_id = delivery.name.split("/")[1::2]
        return self._store.update(DELIVERIES, tenant).where(
            self._webhook_id == webhook_id, self._table.c.id == delivery_id
        )


def _micros(moment: datetime) -> int:
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp.ToMicroseconds()
