"""Envoy's external authorization (ext_authz v3): asked once for each REST request."""

import asyncio

import grpc
from envoy.service.auth.v3 import external_auth_pb2, external_auth_pb2_grpc
from google.rpc import code_pb2, status_pb2

from gateway.edge.authentication import authenticate
from gateway.edge.denial import denied
from gateway.edge.key_exchange import KeyExchange
from gateway.edge.strict import check_request
from gateway.routes import RouteTable
from mesh.errors import Refusal

PURPOSE, API_KEY = "x-purpose", "api-key"
"""What Envoy's filter for API keys says of its question."""
LARGE_BODY_BYTES = 64 * 1024
"""From this size on a body is parsed outside the event loop."""


class AuthorizationServicer(external_auth_pb2_grpc.AuthorizationServicer):  # type: ignore[misc] # the wheel has no types
    """Lets a request pass if it fits its method, else answers in its stead.

    Envoy asks twice about a request with an API key: first, with ``PURPOSE`` saying so, for the
    token that takes the key's place.

    Args:
        table: The routes served.
        exchange: None where API keys are not taken.
    """

    def __init__(self, table: RouteTable, exchange: KeyExchange | None = None) -> None:
        self._table = table
        self._exchange = exchange

    async def Check(  # noqa: N802 (the name is the contract's)
        self,
        request: external_auth_pb2.CheckRequest,
        context: grpc.aio.ServicerContext[
            external_auth_pb2.CheckRequest, external_auth_pb2.CheckResponse
        ],
    ) -> external_auth_pb2.CheckResponse:
        if (PURPOSE, API_KEY) in tuple(context.invocation_metadata() or ()):
            return await authenticate(self._exchange, request)
        http = request.attributes.request.http
        body = http.raw_body
        try:
            if len(body) < LARGE_BODY_BYTES:
                check_request(self._table, http.method, http.path, body)
            else:
                await asyncio.to_thread(check_request, self._table, http.method, http.path, body)
        except Refusal as refusal:
            return denied(refusal, http.headers)
        return external_auth_pb2.CheckResponse(
            status=status_pb2.Status(code=code_pb2.OK),
            ok_response=external_auth_pb2.OkHttpResponse(),
        )
