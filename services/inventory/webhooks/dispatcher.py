"""Sends what is due, webhook by webhook: a slow receiver keeps none of the others waiting."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

from mesh.errors import FieldInvalid, Refusal, TenantInactive
from mesh.server.log import failure
from mesh.sql.recurring import Recurring
from services.inventory.webhooks.outbox_store import Leased, Outbox
from services.inventory.webhooks.sending import Answer, Sender
from services.inventory.webhooks.signing import signed_headers
from services.inventory.webhooks.target import Target
from services.inventory.webhooks.webhook_store import WebhookStore

_LOG = logging.getLogger(__name__)
LOOK = timedelta(seconds=1)
"""Pause between two looks at what is due."""
AT_ONCE = 16
"""Webhooks that one process sends to at the same time."""
_IN_A_ROW = 50
"""Deliveries of one webhook before others get their turn."""
_FORGET_EVERY = timedelta(hours=1)


def _now() -> datetime:
    return datetime.now(UTC)


class Dispatcher(Recurring):
    """Looks again and again; replicas may do so at once, since each delivery is leased."""

    def __init__(
        self,
        outbox: Outbox,
        webhooks: WebhookStore,
        sender: Sender,
        every: timedelta = LOOK,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        super().__init__(every, "webhooks were not sent")
        self._outbox = outbox
        self._webhooks = webhooks
        self._sender = sender
        self._clock = clock
        self._sending: dict[str, asyncio.Task[None]] = {}
        self._forgot: datetime | None = None

    async def look(self) -> None:
        """Begin to send what is due, as far as there are places."""
        if self._forgot is None or self._clock() - self._forgot >= _FORGET_EVERY:
            await self._outbox.forget()
            self._forgot = self._clock()
        places = AT_ONCE - len(self._sending)
        if places > 0:
            for name in await self._outbox.due(self._sending.keys(), places):
                task = asyncio.create_task(self._send_all(name))
                self._sending[name] = task
                task.add_done_callback(partial(self._ended, name))

    def _ended(self, name: str, _task: "asyncio.Task[None]") -> None:
        del self._sending[name]

    async def close(self) -> None:
        """Stop; what was being sent is sent again when its lease is over."""
        await super().close()
        tasks = list(self._sending.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _send_all(self, name: str) -> None:
        """Send what is due of one webhook, until something is not taken."""
        try:
            for _ in range(_IN_A_ROW):
                leased = await self._outbox.lease(name)
                if leased is None:
                    return
                answer = await self._sent(leased)
                await self._outbox.end(leased, answer)
                if not answer.taken:
                    return
        except TenantInactive:
            return
        except Exception as error:  # noqa: BLE001 - its lease ends, and then it is tried again
            fields = {"webhook": name, "error": failure(error)}
            _LOG.warning("a webhook was not sent to", extra={"fields": fields})

    async def _sent(self, leased: Leased) -> Answer:
        delivery = leased.delivery
        try:
            # What the operator allows may have changed since the webhook was made.
            target = Target.parse(leased.webhook.url, self._sender.networks)
            secrets = await self._webhooks.secrets(leased.webhook.name)
        except FieldInvalid:
            return Answer(problem="has a URL that is not allowed")
        except Refusal as refused:
            return Answer(problem=f"could not be signed: {refused.reason.name}"[:256])
        body = delivery.body.encode()
        message, seconds = delivery.name.rpartition("/")[2], int(self._clock().timestamp())
        return await self._sender.send(
            target, signed_headers(secrets, message, seconds, body), body
        )
