"""WebhookService: where a tenant is told of contradictions, over gRPC."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import cast

from google.protobuf import empty_pb2
from google.protobuf.field_mask_pb2 import FieldMask

from mesh.cel.language import Environment
from mesh.contract.catalogue import NAME
from mesh.errors import EtagMismatch, MaskInvalid
from mesh.identifiers import new_uuid
from mesh.records.update import EVERYTHING, MASK
from secmesh.inventory.v1 import webhook_service_pb2 as api
from secmesh.inventory.v1 import webhook_service_pb2_grpc
from secmesh.inventory.v1.webhook_pb2 import Webhook, WebhookDelivery
from services.inventory.alerts.contradiction_store import CONTRADICTIONS
from services.inventory.webhooks.message import PING, body_of
from services.inventory.webhooks.sending import Sender
from services.inventory.webhooks.signing import signed_headers
from services.inventory.webhooks.tables import DELIVERIES, WEBHOOKS
from services.inventory.webhooks.target import Target
from services.inventory.webhooks.webhook_store import WebhookStore

EDITABLE = ("url", "filter", "description", "disabled")
"""Fields that callers write."""
BODY = "body"
NEWEST_FIRST = "create_time desc"


def _now() -> datetime:
    return datetime.now(UTC)


class WebhookServicer(webhook_service_pb2_grpc.WebhookServiceServicer):
    """Keeps webhooks and tries them; the dispatcher sends what is due."""

    def __init__(
        self, webhooks: WebhookStore, sender: Sender, clock: Callable[[], datetime] = _now
    ) -> None:
        self._webhooks = webhooks
        self._store = webhooks.store
        self._sender = sender
        self._clock = clock

    async def CreateWebhook(  # noqa: N802  # the contract's name
        self, request: api.CreateWebhookRequest, _context: object
    ) -> api.CreateWebhookResponse:
        made = edited(Webhook(), request.webhook, EDITABLE)
        made.name = f"{request.parent}/{WEBHOOKS}/{request.webhook_id}"
        self._require_fit(made)
        async with self._store.transaction() as connection:
            secret = await self._webhooks.create(connection, made)
        return api.CreateWebhookResponse(webhook=made, secret=secret)

    async def GetWebhook(self, request: api.GetWebhookRequest, _context: object) -> Webhook:  # noqa: N802  # the contract's name
        return await self._webhooks.webhook(request.name)

    async def ListWebhooks(  # noqa: N802  # the contract's name
        self, request: api.ListWebhooksRequest, _context: object
    ) -> api.ListWebhooksResponse:
        page = await self._store.page(
            WEBHOOKS,
            request.parent,
            filter=request.filter,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        found = cast("list[Webhook]", page.items)
        return api.ListWebhooksResponse(webhooks=found, next_page_token=page.next_page_token)

    async def UpdateWebhook(  # noqa: N802  # the contract's name
        self, request: api.UpdateWebhookRequest, _context: object
    ) -> Webhook:
        async with self._store.transaction() as connection:
            old = await self._webhooks.webhook(request.webhook.name, connection)
            _require_etag(old, request.webhook.etag)
            new = edited(old, request.webhook, request.update_mask.paths)
            self._require_fit(new)
            return await self._webhooks.update(connection, old, new)

    async def DeleteWebhook(  # noqa: N802  # the contract's name
        self, request: api.DeleteWebhookRequest, _context: object
    ) -> empty_pb2.Empty:
        async with self._store.transaction() as connection:
            _require_etag(await self._webhooks.webhook(request.name, connection), request.etag)
            await self._webhooks.delete(connection, request.name)
        return empty_pb2.Empty()

    async def RotateWebhookSecret(  # noqa: N802  # the contract's name
        self, request: api.RotateWebhookSecretRequest, _context: object
    ) -> api.RotateWebhookSecretResponse:
        async with self._store.transaction() as connection:
            webhook = await self._webhooks.webhook(request.name, connection)
            secret = await self._webhooks.rotate(connection, request.name)
        return api.RotateWebhookSecretResponse(webhook=webhook, secret=secret)

    async def TestWebhook(  # noqa: N802  # the contract's name
        self, request: api.TestWebhookRequest, _context: object
    ) -> api.TestWebhookResponse:
        webhook = await self._webhooks.webhook(request.name)
        target = Target.parse(webhook.url, self._sender.networks)
        now = self._clock()
        body = body_of(PING, now).encode()
        secrets = await self._webhooks.secrets(request.name)
        headers = signed_headers(secrets, new_uuid(), int(now.timestamp()), body)
        answer = await self._sender.send(target, headers, body)
        return api.TestWebhookResponse(
            delivered=answer.taken, response_code=answer.code, problem=answer.problem
        )

    async def ListWebhookDeliveries(  # noqa: N802  # the contract's name
        self, request: api.ListWebhookDeliveriesRequest, _context: object
    ) -> api.ListWebhookDeliveriesResponse:
        await self._webhooks.webhook(request.parent)
        columns = self._store.target(DELIVERIES).codec.public_columns
        page = await self._store.page(
            DELIVERIES,
            request.parent,
            filter=request.filter,
            order_by=NEWEST_FIRST,
            page_size=request.page_size,
            page_token=request.page_token,
            columns=[name for name in columns if name != BODY],
        )
        found = cast("list[WebhookDelivery]", page.items)
        return api.ListWebhookDeliveriesResponse(
            webhook_deliveries=found, next_page_token=page.next_page_token
        )

    def _require_fit(self, webhook: Webhook) -> None:
        """Refuse a webhook that could not be sent to; FieldInvalid, FilterInvalid."""
        Target.parse(webhook.url, self._sender.networks)
        if webhook.filter:
            kind = self._store.target(CONTRADICTIONS).kind
            Environment.of_kind(kind).compile(webhook.filter)


def edited(old: Webhook, given: Webhook, paths: Sequence[str]) -> Webhook:
    """Give a webhook as an update leaves it (AIP-134); MaskInvalid for a path that is no field."""
    if not paths:
        paths = [field.name for field, _ in given.ListFields() if field.name in EDITABLE]
    elif EVERYTHING in paths:
        paths = EDITABLE
    for path in paths:
        if path not in (*EDITABLE, NAME):
            raise MaskInvalid(path, MASK)
    made = Webhook()
    made.CopyFrom(old)
    FieldMask(paths=[path for path in paths if path != NAME]).MergeMessage(
        given, made, replace_message_field=True, replace_repeated_field=True
    )
    return made


def _require_etag(webhook: Webhook, etag: str) -> None:
    if etag and etag != webhook.etag:
        raise EtagMismatch(webhook.name)
