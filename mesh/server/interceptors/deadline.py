"""Ends calls that take longer than the caller or the contract allows."""

import asyncio
import logging
import math
import time
from typing import Any

from mesh.errors import DeadlineExceeded, Refusal, TokenExpired
from mesh.server.call import Call
from mesh.server.interceptors.chain import CallInterceptor, Context, Proceed
from mesh.server.log import failure
from secmesh_client.contract import DEFAULT_TIMEOUT

_LOG = logging.getLogger(__name__)


class Deadline(CallInterceptor):
    """Bounds a call by the caller's deadline, the method's, and for streams the token's end."""

    async def around(self, proceed: Proceed, call: Call, request: Any, context: Context) -> Any:
        longest = (call.method.timeout if call.method else DEFAULT_TIMEOUT).total_seconds()
        asked = context.time_remaining()
        # None and infinity both mean that the caller set no deadline.
        seconds = min(longest, math.inf if asked is None else asked)
        call.deadline = time.monotonic() + seconds
        timer = asyncio.timeout(seconds)
        call.timer = timer
        try:
            async with timer:
                return await proceed(call, request, context)
        except TimeoutError:
            # A TimeoutError of the handler's own is not the deadline's.
            if timer.expired():
                raise _refusal(call) from None
            raise
        except Exception as error:
            # What a handler raises while it is stopped says less than why it is.
            if not timer.expired():
                raise
            if not isinstance(error, Refusal):
                fields = {"method": call.path, "error": failure(error)}
                _LOG.error("a handler failed after its deadline", extra={"fields": fields})
            raise _refusal(call) from None


def _refusal(call: Call) -> Refusal:
    if call.ends_with_token:
        return TokenExpired("the token expired during the call")
    return DeadlineExceeded("the call took longer than its deadline")
