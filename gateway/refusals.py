"""Errors over HTTP: the one JSON form, a google.rpc.Status, and its status line."""

from collections.abc import Iterable

import orjson
from google.protobuf import json_format
from google.rpc import code_pb2, error_details_pb2

from mesh.errors import BodyInvalid, Refusal

JSON = "application/json"

_HTTP_STATUS = {
    code_pb2.OK: 200,
    code_pb2.CANCELLED: 499,
    code_pb2.INVALID_ARGUMENT: 400,
    code_pb2.DEADLINE_EXCEEDED: 504,
    code_pb2.NOT_FOUND: 404,
    code_pb2.ALREADY_EXISTS: 409,
    code_pb2.PERMISSION_DENIED: 403,
    code_pb2.UNAUTHENTICATED: 401,
    code_pb2.RESOURCE_EXHAUSTED: 429,
    code_pb2.FAILED_PRECONDITION: 400,
    code_pb2.ABORTED: 409,
    code_pb2.OUT_OF_RANGE: 400,
    code_pb2.UNIMPLEMENTED: 501,
    code_pb2.UNAVAILABLE: 503,
}


def http_status(code: int) -> int:
    """Give the HTTP status of a gRPC code, as google/rpc/code.proto maps them."""
    return _HTTP_STATUS.get(code, 500)


def body_of(refusal: Refusal, request_id: str) -> bytes:
    """Write a refusal in the one JSON form."""
    return orjson.dumps(json_format.MessageToDict(refusal.status(request_id)))


class JsonInvalid(BodyInvalid):
    """The JSON body or query does not fit; names the fields where they can be named."""

    def __init__(
        self,
        message: str,
        violations: Iterable[error_details_pb2.BadRequest.FieldViolation] = (),
    ) -> None:
        listed = tuple(violations)
        details = [error_details_pb2.BadRequest(field_violations=listed)] if listed else []
        super().__init__(message, details=details)

    @classmethod
    def of(cls, field: str, description: str, reason: str) -> "JsonInvalid":
        """Refuse one field, named by its path in the JSON."""
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=field, description=description, reason=reason
        )
        return cls(f"{field}: {description}", [violation])
