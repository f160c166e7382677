"""Does each request that names itself once, however often it is sent (AIP-155).

Requests with a field ``request_id`` can name themselves; the contract alone decides which.
The answer is kept in the transaction of the writes, so that a process that dies in between
leaves both or none.
"""

from collections.abc import Awaitable, Callable
from operator import attrgetter
from typing import Any, Protocol

from google.protobuf import message_factory
from google.protobuf.message import Message

from mesh.contract.catalogue import Catalogue, Method
from mesh.contract.names import tenant_of
from mesh.errors import InternalError
from mesh.server.call import REQUEST_ID_KEY, Call, RequestKey
from mesh.server.interceptors.chain import Context, Proceed, RequestInterceptor


class KeptAnswers(Protocol):
    """Has requests that named themselves done once."""

    async def once(
        self, key: RequestKey, request: Message, run: Callable[[], Awaitable[Message]]
    ) -> Message | bytes:
        """Run a request, or give the answer that was kept, perhaps serialized."""


class HandlersKeep:
    """See ``KeptAnswers``: of a service whose handlers see to it in writes of their own."""

    async def once(
        self, _key: RequestKey, _request: Message, run: Callable[[], Awaitable[Message]]
    ) -> Message | bytes:
        """Run the request."""
        return await run()


class Idempotency(RequestInterceptor):
    """Runs handlers of named requests in one transaction with the record of their answer."""

    def __init__(self, catalogue: Catalogue, answers: KeptAnswers | None) -> None:
        self._answers = answers
        self._tenants = {
            method.path: _tenant_reader(method)
            for method in catalogue.methods.values()
            if method.repeatable
        }

    def concerns(self, method: Method | None) -> bool:
        return method is not None and method.repeatable

    async def around(self, proceed: Proceed, call: Call, request: Any, context: Context) -> Any:
        if not request.request_id:
            return await proceed(call, request, context)
        method = call.method
        if self._answers is None or method is None:
            # Better than to do it twice.
            raise InternalError
        tenant = self._tenants[method.path](request) or call.caller.tenant
        key = RequestKey(tenant, call.caller.subject, method.path, request.request_id)
        answer = await self._answers.once(key, request, lambda: proceed(call, request, context))
        if isinstance(answer, bytes):
            await context.send_initial_metadata(((REQUEST_ID_KEY, call.request_id),))
            return message_factory.GetMessageClass(method.descriptor.output_type).FromString(answer)
        return answer


def _tenant_reader(method: Method) -> Callable[[Message], str | None]:
    """Read the tenant that a request is about; None if it names none."""
    if not method.names:
        return lambda _message: None
    name = attrgetter(method.names[0])
    return lambda message: tenant_of(name(message))
