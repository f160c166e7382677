"""Errors of a call as the caller sees them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

REQUEST_ID_KEY = "x-request-id"
DETAILS_KEY = "grpc-status-details-bin"
_M = TypeVar("_M", bound=Message)


_BROKEN_WRITE = "Internal error from Core"
"""What gRPC's asyncio says, as INTERNAL, when a request cannot be sent: the call is over."""
_CODES = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(frozen=True)
class Violation:
    """A field of the request that broke its bounds."""

    field: str
    """Path of the field in the request."""
    description: str
    reason: str
    """Such as ``INVALID``; for machines."""


class CallRefused(Exception):
    """A call that was answered with an error, or never answered.

    ``reason`` is a value of an ErrorReason enum without its prefix; it is empty if no service of
    ours wrote the answer, as with an unreachable server (code UNAVAILABLE).
    """

    def __init__(
        self, status: status_pb2.Status, code: grpc.StatusCode, request_id: str = ""
    ) -> None:
        info = error_details_pb2.ErrorInfo()
        for detail in status.details:
            if detail.Is(info.DESCRIPTOR):
                detail.Unpack(info)
                break
        self.code = code
        self.reason: str = info.reason
        self.metadata: dict[str, str] = dict(info.metadata)
        if request_id:
            self.metadata.setdefault("request_id", request_id)
        self.message: str = status.message
        self.status = status
        """The whole answer, with its other details."""
        super().__init__(f"{info.reason or code.name}: {status.message}")

    @property
    def request_id(self) -> str:
        """Leads to the server's log entry; empty if the server gave none."""
        return self.metadata.get("request_id", "")

    def detail(self, kind: type[_M]) -> _M | None:
        """Give a detail of one kind, such as BadRequest or RetryInfo, or None."""
        found = kind()
        return next((found for each in self.status.details if each.Unpack(found)), None)

    @property
    def violations(self) -> tuple[Violation, ...]:
        """The fields that were refused; empty if the reason is another."""
        found = self.detail(error_details_pb2.BadRequest)
        listed = found.field_violations if found is not None else ()
        return tuple(Violation(each.field, each.description, each.reason) for each in listed)

    @property
    def retry_after(self) -> float | None:
        """Seconds after which the server says that trying again makes sense, if it says so."""
        found = self.detail(error_details_pb2.RetryInfo)
        return found.retry_delay.ToTimedelta().total_seconds() if found is not None else None


class StreamCut(CallRefused):
    """A stream stopped without the end that its contract promises; code UNAVAILABLE."""

    def __init__(self) -> None:
        code = grpc.StatusCode.UNAVAILABLE
        super().__init__(status_pb2.Status(code=code.value[0], message="the stream was cut"), code)


def refusal_in(status: status_pb2.Status) -> CallRefused:
    """Read the error that a stream ended with in band."""
    return CallRefused(status, code_of(status.code))


def refusal_of(error: grpc.RpcError) -> CallRefused:
    """Read the typed error of a failed call, sync or aio, whoever wrote it."""
    code = error.code()
    text = error.details() or ""
    if is_broken_write(code, text):
        # Made here, by no server: the connection or the server went away (grpc#36066).
        code, text = grpc.StatusCode.UNAVAILABLE, "the call ended while a request was sent"
    status = _status_in(error)
    # Details that contradict the status line are not to be trusted.
    if status is None or status.code != code.value[0]:
        status = status_pb2.Status(code=code.value[0], message=text)
    return CallRefused(status, code, _request_id_in(error))


def is_broken_write(code: grpc.StatusCode, text: str | None) -> bool:
    """Tell whether gRPC itself made a status because it could not send a request."""
    return code is grpc.StatusCode.INTERNAL and text == _BROKEN_WRITE


def code_of(number: int) -> grpc.StatusCode:
    """Give the code with a number of the wire; UNKNOWN for others."""
    return _CODES.get(number, grpc.StatusCode.UNKNOWN)


def _request_id_in(error: grpc.RpcError) -> str:
    """Give the id that a gateway put beside its own refusals."""
    call = cast("Any", error)  # what gRPC raises has the call's metadata, sync and aio
    for key, value in (*(call.trailing_metadata() or ()), *(call.initial_metadata() or ())):
        if key == REQUEST_ID_KEY and isinstance(value, str):
            return value
    return ""


def _status_in(error: grpc.RpcError) -> status_pb2.Status | None:
    trailers: Iterable[tuple[str, str | bytes]] = cast("Any", error.trailing_metadata()) or ()
    for key, value in trailers:
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                return None
    return None
