"""Envoy's external authorization (ext_authz v3): asked once for each REST request."""

import asyncio

import grpc
from envoy.service.auth.v3 import external_auth_pb2, external_auth_pb2_grpc
from google.rpc import code_pb2, status_pb2

from gateway.edge.strict import check_request
from gateway.refusals import JSON, body_of, http_status
from gateway.routes import RouteTable
from mesh.errors import Refusal

LARGE_BODY_BYTES = 64 * 1024
"""From this size on a body is parsed outside the event loop."""


class AuthorizationServicer(external_auth_pb2_grpc.AuthorizationServicer):  # type: ignore[misc] # the wheel has no types
    """Lets a request pass if it fits its method, else answers in its stead."""

    def __init__(self, table: RouteTable) -> None:
        self._table = table

    async def Check(  # noqa: N802 (the name is the contract's)
        self,
        request: external_auth_pb2.CheckRequest,
        context: grpc.aio.ServicerContext[  # noqa: ARG002 (gRPC passes it)
            external_auth_pb2.CheckRequest, external_auth_pb2.CheckResponse
        ],
    ) -> external_auth_pb2.CheckResponse:
        http = request.attributes.request.http
        body = http.raw_body
        try:
            if len(body) < LARGE_BODY_BYTES:
                check_request(self._table, http.method, http.path, body)
            else:
                await asyncio.to_thread(check_request, self._table, http.method, http.path, body)
        except Refusal as refusal:
            return _denied(refusal, http.headers.get("x-request-id", ""))
        return external_auth_pb2.CheckResponse(
            status=status_pb2.Status(code=code_pb2.OK),
            ok_response=external_auth_pb2.OkHttpResponse(),
        )


def _denied(refusal: Refusal, request_id: str) -> external_auth_pb2.CheckResponse:
    response = external_auth_pb2.CheckResponse(
        status=status_pb2.Status(code=refusal.reason.code),
        denied_response=external_auth_pb2.DeniedHttpResponse(body=body_of(refusal, request_id)),
    )
    # Statuses of Envoy's enum are the numbers of HTTP.
    response.denied_response.status.code = http_status(refusal.reason.code)
    header = response.denied_response.headers.add().header
    header.key, header.value = "content-type", JSON
    return response
