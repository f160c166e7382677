"""Ends calls that take longer than the caller or the contract allows."""

import asyncio
import logging
import time
from typing import Any

from mesh.errors import DeadlineExceeded, Refusal, TokenExpired
from mesh.server.call import Call
from mesh.server.deadlines import Deadlines
from mesh.server.interceptors.chain import CallInterceptor, Context, Proceed
from mesh.server.log import failure
from secmesh_client.contract import DEFAULT_TIMEOUT

_MARGIN_SHARE = 0.05
_LEAST_MARGIN, _MOST_MARGIN = 0.005, 0.05
"""Seconds."""
_LOG = logging.getLogger(__name__)


def margin_of(asked: float) -> float:
    """Give how long before a caller's own deadline, in seconds, its call is given up.

    At the deadline itself gRPC's core ends the call at both ends, and tells no reason.
    """
    return min(asked / 2, max(_LEAST_MARGIN, min(_MOST_MARGIN, asked * _MARGIN_SHARE)))


class Deadline(CallInterceptor):
    """Bounds a call by the caller's deadline, the method's, and for streams the token's end."""

    def __init__(self) -> None:
        self._deadlines = Deadlines()

    async def around(self, proceed: Proceed, call: Call, request: Any, context: Context) -> Any:
        seconds = (call.method.timeout if call.method else DEFAULT_TIMEOUT).total_seconds()
        asked = context.time_remaining()
        # None and infinity both mean that the caller set no deadline.
        if asked is not None:
            seconds = min(seconds, asked - margin_of(asked))
        call.deadline = time.monotonic() + seconds
        call.hasten = self._deadlines.watch
        self._deadlines.watch(call)
        try:
            return await proceed(call, request, context)
        except asyncio.CancelledError:
            # Whoever else cancelled it too wants it to end so.
            if not call.expired or _uncancel(call) > 0:
                raise
            raise _refusal(call) from None
        except Exception as error:
            # What a handler raises while it is stopped says less than why it is.
            if not call.expired:
                raise
            _uncancel(call)
            if not isinstance(error, Refusal):
                fields = {"method": call.path, "error": failure(error)}
                _LOG.error("a handler failed after its deadline", extra={"fields": fields})
            raise _refusal(call) from None
        finally:
            self._deadlines.leave(call)


def _uncancel(call: Call) -> int:
    """Take back the deadline's own cancellation; give how many others there are."""
    return 0 if call.task is None else call.task.uncancel()


def _refusal(call: Call) -> Refusal:
    if call.ends_with_token:
        return TokenExpired("the token expired during the call")
    return DeadlineExceeded("the call took longer than its deadline")
