"""Turns what handlers raise into ``google.rpc.Status``, and logs how every call ended."""

import asyncio
import logging
import time
from typing import Any, Never

import grpc
from google.rpc import error_details_pb2, status_pb2

from mesh.errors import InternalError, MethodUnknown, Refusal
from mesh.server.call import REQUEST_ID_KEY, Call
from mesh.server.interceptors.chain import CallInterceptor, Context, Proceed
from mesh.server.interceptors.grpc_codes import CODES
from mesh.server.log import failure, log_call

DETAILS_KEY = "grpc-status-details-bin"
MAX_STATUS_BYTES = 4096
"""Larger statuses lose details: peers drop a call whose trailers pass 8 KiB."""
_MAX_MESSAGE_CHARS = 512

_LOG = logging.getLogger("mesh.server.call")


class Errors(CallInterceptor):
    """Lets no exception reach gRPC, which would send its text to the caller."""

    open_methods = True

    async def around(self, proceed: Proceed, call: Call, request: Any, context: Context) -> Any:
        try:
            response = await proceed(call, request, context)
        except asyncio.CancelledError:
            late = call.remaining <= 0
            _log(call, logging.INFO, "DEADLINE_EXCEEDED" if late else "CANCELLED")
            # Swallowing it would leak the call (grpc#43360).
            raise
        except grpc.aio.AbortError:
            _log(call, logging.INFO, context.code().name)
            raise
        except Exception as error:  # noqa: BLE001 - the one place where every error becomes a status
            refusal = _refusal_of(call, context, error)
            _log_refusal(call, refusal, error)
        else:
            _log(call, logging.DEBUG if call.method is None else logging.INFO, "OK")
            return response
        # Outside of the except clause, so that AbortError carries no context of its own.
        return await _send(context, call, refusal)


def _refusal_of(call: Call, context: Context, error: BaseException) -> Refusal:
    if isinstance(error, Refusal):
        return error
    if isinstance(error, ExceptionGroup):
        # A task group wraps what its tasks raise; a refusal among them is the answer.
        refusals = error.subgroup(Refusal)
        if refusals is not None:
            return _refusal_of(call, context, refusals.exceptions[0])
    # What the generated base class raises for a method that a servicer left out.
    if isinstance(error, NotImplementedError) and _code(context) == "UNIMPLEMENTED":
        return MethodUnknown(call.path)
    return InternalError()


def _code(context: Context) -> str:
    code = context.code()
    return code.name if isinstance(code, grpc.StatusCode) else CODES.get(code, CODES[2]).name


async def _send(context: Context, call: Call, refusal: Refusal) -> Never:
    status = bounded(refusal.status(call.request_id))
    await context.abort(
        CODES[status.code],
        status.message,
        ((DETAILS_KEY, status.SerializeToString()), (REQUEST_ID_KEY, call.request_id)),
    )


def bounded(status: status_pb2.Status) -> status_pb2.Status:
    """Cut a status to what fits into trailers: a shorter message, then ErrorInfo's reason alone."""
    if len(status.message) > _MAX_MESSAGE_CHARS:
        status.message = status.message[: _MAX_MESSAGE_CHARS - 3] + "..."
    if status.ByteSize() <= MAX_STATUS_BYTES:
        return status
    info = error_details_pb2.ErrorInfo()
    status.details[0].Unpack(info)
    for key, value in dict(info.metadata).items():
        info.metadata[key] = value[:128]
    del status.details[:]
    status.details.add().Pack(info)
    return status


def _log(call: Call, level: int, code: str, **fields: Any) -> None:
    call.status = code
    if not _LOG.isEnabledFor(level):
        return
    fields["code"] = code
    fields["method"] = call.path
    fields["duration_ms"] = round((time.monotonic() - call.started) * 1000, 3)
    log_call(_LOG, level, call, fields)


def _log_refusal(call: Call, refusal: Refusal, error: BaseException) -> None:
    code = CODES[refusal.reason.code].name
    reason = refusal.reason.name
    if isinstance(refusal, InternalError):
        _log(call, logging.ERROR, code, reason=reason, error=failure(error))
    else:
        _log(call, logging.INFO, code, reason=reason)
