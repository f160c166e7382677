"""The SQL of webhooks and their secrets, which stand there sealed."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import cast

import sqlalchemy as sa
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.names import tenant_of
from mesh.errors import FieldInvalid
from mesh.identifiers import new_uuid
from mesh.records.etag import bytes_of
from mesh.sealing.envelope import Place, Sealer
from mesh.sql import engine as dialect
from mesh.sql.store import Store
from secmesh.inventory.v1.webhook_pb2 import Webhook, WebhookSecret
from services.inventory.errors import WebhooksUnavailable
from services.inventory.webhooks.signing import new_secret
from services.inventory.webhooks.tables import DELIVERIES, SECRETS, WEBHOOKS

MAX_WEBHOOKS = 20
"""Webhooks of a tenant: each gets its own copy of whatever is found."""
OVERLAP = timedelta(days=1)
"""How long a secret signs beside the one that followed it."""


def _now() -> datetime:
    return datetime.now(UTC)


class WebhookStore:
    """Keeps webhooks."""

    def __init__(self, store: Store, clock: Callable[[], datetime] = _now) -> None:
        """Without sealing keys no webhook can be made, and none is sent to."""
        self.store = store
        self._clock = clock
        self._sealer = None if store.tables.keys is None else Sealer(store.tables.keys)

    async def create(self, connection: AsyncConnection, webhook: Webhook) -> str:
        """Store a new webhook and give its secret; ResourceExists, WebhooksUnavailable."""
        tenant = tenant_of(webhook.name) or ""
        await dialect.take_turn(connection, f"{WEBHOOKS}/{tenant}")
        counted = self.store.select(WEBHOOKS, tenant, ("id",)).subquery()
        number = await connection.scalar(sa.select(sa.func.count()).select_from(counted))
        if (number or 0) >= MAX_WEBHOOKS:
            raise FieldInvalid.of("parent", f"has {MAX_WEBHOOKS} webhooks and may have no more")
        webhook.create_time.CopyFrom(self._stamp())
        self._settle(webhook)
        await self.store.insert(connection, WEBHOOKS, [webhook])
        return await self._add_secret(connection, webhook.name)

    async def update(self, connection: AsyncConnection, old: Webhook, new: Webhook) -> Webhook:
        """Store a webhook as it is now; the old one is given if nothing changed."""
        if bytes_of(old) == bytes_of(new):
            return old
        self._settle(new)
        await self.store.upsert(connection, WEBHOOKS, [new])
        return new

    async def delete(self, connection: AsyncConnection, name: str) -> None:
        """Remove a webhook with its secrets and deliveries."""
        tenant, webhook_id = name.split("/")[1::2]
        for collection in (SECRETS, DELIVERIES):
            await self.store.delete_under(connection, collection, name)
        table = self.store.target(WEBHOOKS).table
        statement = self.store.delete(WEBHOOKS, tenant).where(table.c.id == webhook_id)
        await connection.execute(statement)

    async def webhook(self, name: str, connection: AsyncConnection | None = None) -> Webhook:
        """Give a webhook; ResourceNotFound."""
        return cast("Webhook", await self.store.get(WEBHOOKS, name, connection=connection))

    async def enabled(self, tenant: str, connection: AsyncConnection) -> list[Webhook]:
        """Give the webhooks of a tenant that are not disabled."""
        table = self.store.target(WEBHOOKS).table
        statement = self.store.select(WEBHOOKS, tenant).where(sa.not_(table.c.disabled))
        found = await self.store.messages(WEBHOOKS, statement, connection=connection)
        return cast("list[Webhook]", found)

    async def rotate(self, connection: AsyncConnection, name: str) -> str:
        """Make another secret and give it; those before sign beside it for a day."""
        made = await self._add_secret(connection, name)
        until = Timestamp()
        until.FromDatetime(self._clock() + OVERLAP)
        kept = sorted(await self._kept(name, connection), key=_made_at)
        for each in kept[:-1]:
            if not each.HasField("expire_time"):
                each.expire_time.CopyFrom(until)
        # Of more than one that it follows, the last alone is known to be in use.
        signing = [each for each in kept if self._signs(each)][-2:]
        await self.store.delete_under(connection, SECRETS, name)
        await self.store.insert(connection, SECRETS, signing)
        return made

    async def secrets(self, name: str) -> list[str]:
        """Give the secrets that sign now, the newest first; none if there is no such webhook."""
        async with self.store.connection(tenant_of(name)) as connection:
            kept = await self._kept(name, connection)
        newest = sorted((each for each in kept if self._signs(each)), key=_made_at, reverse=True)
        return [
            self._open().open(each.sealed_secret, _place(each.name)).decode() for each in newest
        ]

    async def _kept(self, name: str, connection: AsyncConnection) -> list[WebhookSecret]:
        tenant, webhook_id = name.split("/")[1::2]
        target = self.store.target(SECRETS)
        statement = self.store.select(SECRETS, tenant).where(
            target.table.c[target.kind.pattern.columns[1]] == webhook_id
        )
        found = await self.store.messages(SECRETS, statement, connection=connection, secrets=True)
        return cast("list[WebhookSecret]", found)

    async def _add_secret(self, connection: AsyncConnection, webhook: str) -> str:
        secret, name = new_secret(), f"{webhook}/secrets/{new_uuid()}"
        sealed = self._open().seal(secret.encode(), _place(name))
        row = WebhookSecret(name=name, sealed_secret=sealed, create_time=self._stamp())
        await self.store.insert(connection, SECRETS, [row])
        return secret

    def _signs(self, secret: WebhookSecret) -> bool:
        if not secret.HasField("expire_time"):
            return True
        return secret.expire_time.ToDatetime(UTC) > self._clock()

    def _open(self) -> Sealer:
        if self._sealer is None:
            raise WebhooksUnavailable
        return self._sealer

    def _settle(self, webhook: Webhook) -> None:
        webhook.update_time.CopyFrom(self._stamp())
        webhook.etag = new_uuid()

    def _stamp(self) -> Timestamp:
        stamp = Timestamp()
        stamp.FromDatetime(self._clock())
        return stamp


def _made_at(secret: WebhookSecret) -> tuple[int, str]:
    return secret.create_time.ToMicroseconds(), secret.name


def _place(name: str) -> Place:
    tenant, webhook, secret = name.split("/")[1::2]
    return Place(tenant, SECRETS, f"{webhook}/{secret}", "sealed_secret")
