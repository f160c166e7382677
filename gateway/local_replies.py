"""Errors that Envoy makes itself, brought into the one form of every other error.

A REST caller gets the JSON of google.rpc.Status, a gRPC caller the same Status in
``grpc-status-details-bin``. Envoy's own words never leave.
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

from gateway.envoy_limits import REFILL_SECONDS
from gateway.refusals import JSON, http_status
from mesh.errors import DOMAIN, Reason, common
from mesh.identity.token import ISSUER_KEYS
from secmesh.rpc.v1 import error_reason_pb2 as reasons

Json = dict[str, Any]

_GRPC_REQUEST = {
    "header_filter": {
        "header": {"name": "content-type", "string_match": {"prefix": "application/grpc"}}
    }
}
# The transcoder turns a REST request into a gRPC one and leaves this mark on it.
TRANSCODED = "x-envoy-original-path"
_NOT_TRANSCODED = {
    "header_filter": {"header": {"name": TRANSCODED, "present_match": True, "invert_match": True}}
}
# What HTTP itself forbids is refused before a request gets its id.
_IDENTIFIED = {"header_filter": {"header": {"name": "x-request-id", "present_match": True}}}
REQUEST_ID = "%REQ(X-REQUEST-ID)%"
EARLY_REQUEST_ID = "%CONNECTION_ID%-%START_TIME(%s.%9f)%"


_OTHERS = {
    "Jwt_issuer_is_not_configured": "the token comes from another issuer",
    "Audiences_in_Jwt_are_not_allowed": "the token is meant for another audience",
}
"""What is wrong with a token by Envoy's words: as services say it."""


def _status(operator: str, code: int) -> Json:
    comparison = {"op": operator, "value": {"default_value": code, "runtime_key": "unused"}}
    return {"status_code_filter": {"comparison": comparison}}


def _details(expression: str) -> Json:
    """Match on what Envoy's filters say of their own refusals."""
    return {
        "extension_filter": {
            "name": "envoy.access_loggers.extension_filters.cel",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3"
                ".ExpressionFilter",
                "expression": f"response.code_details.{expression}",
            },
        }
    }


@dataclass(frozen=True)
class LocalReply:
    """One cause, and the error it becomes."""

    cause: Json
    """An access log filter of Envoy."""
    reason: Reason
    message: str
    status: int = 0
    """HTTP status; 0 means that of the reason's code."""
    metadata: dict[str, str] = field(default_factory=dict)
    """Values may hold Envoy's command operators."""
    grpc_reason: Reason | None = None
    """Reason for gRPC callers where theirs is another."""
    retry_seconds: int = 0
    """When the same call may succeed; 0 where it will not."""

    def mappers(self) -> Iterator[Json]:
        """Give the response mappers for gRPC callers, REST callers, and REST refused early."""
        status = self.status or http_status(self.reason.code)
        yield self._for_grpc(self.grpc_reason or self.reason)
        yield self._for_rest(_all(_IDENTIFIED, self.cause), status, REQUEST_ID)
        early = self._for_rest(self.cause, status, EARLY_REQUEST_ID)
        request_id = _header("x-request-id", EARLY_REQUEST_ID)
        yield {**early, "headers_to_add": [*early["headers_to_add"], request_id]}

    def _for_grpc(self, reason: Reason) -> Json:
        info = error_details_pb2.ErrorInfo(reason=reason.name, domain=DOMAIN)
        packed = status_pb2.Status(code=reason.code, message=self.message)
        packed.details.add().Pack(info)
        if self.retry_seconds:
            delay = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=self.retry_seconds))
            packed.details.add().Pack(delay)
        details = base64.b64encode(packed.SerializeToString()).decode().rstrip("=")
        return {
            "filter": _all(_GRPC_REQUEST, _NOT_TRANSCODED, self.cause),
            "status_code": 200,  # gRPC-Web clients read no more of any other
            "headers_to_add": [
                _header("grpc-status-details-bin", details),
                _header("grpc-status", str(reason.code)),
                _header("grpc-message", self.message),
                *self._retry_after(),
            ],
            "body_format_override": _text(""),  # with a body the grpc_web filter knows better
        }

    def _for_rest(self, cause: Json, status: int, request_id: str) -> Json:
        info = {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": self.reason.name,
            "domain": DOMAIN,
            "metadata": {"request_id": request_id, **self.metadata},
        }
        details: list[Json] = [info]
        if self.retry_seconds:
            type_url = "type.googleapis.com/google.rpc.RetryInfo"
            details.append({"@type": type_url, "retryDelay": f"{self.retry_seconds}s"})
        form = {"code": self.reason.code, "message": self.message, "details": details}
        return {
            "filter": cause,
            "status_code": status,
            "headers_to_add": self._retry_after(),
            "body_format_override": {"json_format": form, "content_type": JSON},
        }

    def _retry_after(self) -> list[Json]:
        return [_header("retry-after", str(self.retry_seconds))] if self.retry_seconds else []


def _all(*filters: Json) -> Json:
    return {"and_filter": {"filters": list(filters)}}


def _header(name: str, value: str) -> Json:
    action = "OVERWRITE_IF_EXISTS_OR_ADD"
    return {"header": {"key": name, "value": value}, "append_action": action}


def _text(text: str) -> Json:
    return {"text_format_source": {"inline_string": text}}


def filter_replies() -> Iterator[LocalReply]:
    """Give the refusals of filters, told apart by their own words."""
    words = "the edge does not answer"
    unavailable = common(reasons.ERROR_REASON_DEPENDENCY_UNAVAILABLE)
    yield LocalReply(
        _details("startsWith('ext_authz_error')"),
        unavailable,
        words,
        metadata={"dependency": "edge"},
        retry_seconds=1,
    )
    yield LocalReply(
        _details("startsWith('local_rate_limited')"),
        common(reasons.ERROR_REASON_RATE_LIMITED),
        "the tenant sends more requests than it may",
        retry_seconds=REFILL_SECONDS,
    )
    yield LocalReply(
        _details(
            "startsWith('jwt_authn_access_denied{Jwks_remote_fetch')"
        ),  # the edge does not have the issuer's keys, or does not answer
        unavailable,
        f"{ISSUER_KEYS} is not there",
        metadata={"dependency": ISSUER_KEYS},
        retry_seconds=1,
    )
    missing = common(reasons.ERROR_REASON_TOKEN_MISSING)
    yield LocalReply(_details("contains('Jwt_is_missing')"), missing, "there is no bearer token")
    expired = common(reasons.ERROR_REASON_TOKEN_EXPIRED)
    yield LocalReply(_details("contains('Jwt_is_expired')"), expired, "the token has expired")
    invalid = common(reasons.ERROR_REASON_TOKEN_INVALID)
    for words, message in _OTHERS.items():
        yield LocalReply(_details(f"contains('{words}')"), invalid, message)
    yield LocalReply(_details("startsWith('jwt_authn')"), invalid, "the token is not valid here")


def status_replies() -> Iterator[LocalReply]:
    """Give the errors told apart by their HTTP status alone."""
    yield LocalReply(
        _status("EQ", 404),
        common(reasons.ERROR_REASON_PATH_UNKNOWN),
        "no method has this path",
        metadata={"path": "%PATH(NQ:ORIG_OR_PATH)%"},
        grpc_reason=common(reasons.ERROR_REASON_METHOD_UNKNOWN),
    )
    late = common(reasons.ERROR_REASON_DEADLINE_EXCEEDED)
    for status in (408, 504):
        yield LocalReply(_status("EQ", status), late, "the call took too long")
    large = common(reasons.ERROR_REASON_BODY_TOO_LARGE)
    for status in (413, 431):
        words = "the request is larger than the gateway takes"
        yield LocalReply(_status("EQ", status), large, words, status=status)
    unavailable = common(reasons.ERROR_REASON_DEPENDENCY_UNAVAILABLE)
    service = {"dependency": "%UPSTREAM_CLUSTER%"}
    for status in (502, 503):
        words = "the service does not answer"
        yield LocalReply(
            _status("EQ", status), unavailable, words, metadata=service, retry_seconds=1
        )
    malformed = common(reasons.ERROR_REASON_BODY_INVALID)
    # 501 is Envoy's answer to a transfer encoding it does not know.
    for cause in (_status("LE", 499), _status("EQ", 501)):
        yield LocalReply(cause, malformed, "the request is malformed")
    words = "internal error; the request id leads to the log entry"
    yield LocalReply(_status("GE", 500), common(reasons.ERROR_REASON_INTERNAL), words)


def local_reply_config() -> Json:
    """Give Envoy's local_reply_config: the edge's refusals as they are, all else mapped."""
    denial = _details("startsWith('ext_authz_denied')")
    refused_by_edge = (
        # The edge has written the status of gRPC into the headers.
        {"filter": _all(_GRPC_REQUEST, _NOT_TRANSCODED, denial), "body_format_override": _text("")},
        {
            "filter": denial,
            "body_format_override": {**_text("%LOCAL_REPLY_BODY%"), "content_type": JSON},
        },
    )
    replies = (*filter_replies(), *status_replies())
    mappers = [mapper for reply in replies for mapper in reply.mappers()]
    return {"mappers": [*refused_by_edge, *mappers]}
