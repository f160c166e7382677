"""A refusal of the edge as Envoy sends it on: JSON to REST callers, trailers to gRPC callers."""

import base64
from collections.abc import Iterator, Mapping

from envoy.service.auth.v3 import external_auth_pb2
from google.rpc import error_details_pb2, status_pb2

from gateway.refusals import JSON, body_of, http_status
from mesh.errors import Refusal

GRPC = "application/grpc"


def denied(refusal: Refusal, headers: Mapping[str, str]) -> external_auth_pb2.CheckResponse:
    """Write a refusal for the caller whose request has these headers."""
    request_id = headers.get("x-request-id", "")
    response = external_auth_pb2.CheckResponse(
        status=status_pb2.Status(code=refusal.reason.code),
        denied_response=external_auth_pb2.DeniedHttpResponse(),
    )
    answer = response.denied_response
    if headers.get("content-type", "").startswith(GRPC):
        # The status of gRPC stands in the headers of an answer without body.
        answer.status.code = 200
        fields = list(_grpc_headers(refusal, request_id))
    else:
        # Statuses of Envoy's enum are the numbers of HTTP.
        answer.status.code = http_status(refusal.reason.code)
        answer.body = body_of(refusal, request_id).decode()
        fields = [("content-type", JSON)]
    for name, value in (*fields, *_retry_after(refusal)):
        header = answer.headers.add().header
        header.key, header.value = name, value
    return response


def _grpc_headers(refusal: Refusal, request_id: str) -> Iterator[tuple[str, str]]:
    status = refusal.status(request_id)
    yield "grpc-status", str(status.code)
    yield "grpc-message", status.message
    yield "grpc-status-details-bin", _base64(status)


def _base64(status: status_pb2.Status) -> str:
    return base64.b64encode(status.SerializeToString()).decode().rstrip("=")


def _retry_after(refusal: Refusal) -> Iterator[tuple[str, str]]:
    for detail in refusal.details:
        if isinstance(detail, error_details_pb2.RetryInfo):
            yield "retry-after", str(detail.retry_delay.seconds)
