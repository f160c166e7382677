"""Requests with a request_id are done once: the same one again is told what came of it.

What was answered stands in an item of the tenant, written in the transaction that did it::

    replayed = await requests.replayed(scope, request.request_id, request)
    if replayed is not None:
        return await self._get(replayed)
    actions = [*requests.remember(scope, request.request_id, request, name), Put(...), ...]

It goes first: of two such requests at once the later meets ConditionFailed with the
position 0, and asks ``replayed`` again.
"""

import hashlib
import hmac
from typing import Final

from google.protobuf.message import Message

from mesh.errors import RequestIdReused
from services.tenancy.clock import MICROSECONDS, Clock
from services.tenancy.store.conditions import Any, AtMost, Missing
from services.tenancy.store.items import integer, text
from services.tenancy.store.keys import TenantScope
from services.tenancy.store.port import Action, Put, Store
from services.tenancy.store.tables import EXPIRES_AT
from services.tenancy.store.values import Item

REMEMBERED_SECONDS: Final = 24 * 3600
_HASH, _RESULT = "request_hash", "result"
_PURPOSE = b"secmesh tenancy request hash 1"


class Requests:
    """Remembers requests for 24 hours."""

    def __init__(self, store: Store, clock: Clock, key: bytes) -> None:
        """Take a secret key, the same in all processes: requests may hold secrets.

        A plain hash of them would let their guesses be checked.
        """
        self._store = store
        self._clock = clock
        self._key = hashlib.sha256(_PURPOSE + key).digest()

    async def replayed(self, scope: TenantScope, request_id: str, request: Message) -> str | None:
        """Give the result of the same request done before; None if it is new or has no id.

        RequestIdReused if the id stands for another request.
        """
        if not request_id:
            return None
        item = await self._store.get(scope.idempotency(request_id))
        if item is None or integer(item, EXPIRES_AT) <= self._seconds():
            return None
        if not hmac.compare_digest(text(item, _HASH), self._hash(request)):
            raise RequestIdReused
        return text(item, _RESULT)

    def remember(
        self, scope: TenantScope, request_id: str, request: Message, result: str
    ) -> tuple[Action, ...]:
        """Give the action that remembers the result, such as a name; none without an id."""
        if not request_id:
            return ()
        now = self._seconds()
        attributes: Item = {
            _HASH: self._hash(request),
            _RESULT: result,
            EXPIRES_AT: now + REMEMBERED_SECONDS,
        }
        # DynamoDB removes what has expired days later.
        free = Any(Missing(), AtMost(EXPIRES_AT, now))
        return (Put(scope.idempotency(request_id), attributes, free),)

    def _hash(self, request: Message) -> str:
        written = request.SerializeToString(deterministic=True)
        name = request.DESCRIPTOR.full_name.encode()
        return hmac.new(self._key, name + b"\0" + written, hashlib.sha256).hexdigest()

    def _seconds(self) -> int:
        return self._clock.now() // MICROSECONDS
