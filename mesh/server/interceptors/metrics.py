"""Measures every call: how many, how they ended, how long they took."""

import time
from typing import Any

from mesh.server.call import Call
from mesh.server.interceptors.chain import CallInterceptor, Context, Proceed
from mesh.telemetry.calls import traffic_of


class Metrics(CallInterceptor):
    """Records ``grpc.server.call.duration`` once the errors interceptor knows the status."""

    open_methods = True

    async def around(self, proceed: Proceed, call: Call, request: Any, context: Context) -> Any:
        traffic = traffic_of(call.name)
        traffic.in_flight += 1
        try:
            return await proceed(call, request, context)
        finally:
            traffic.ended(call.status, call.kind, time.monotonic() - call.started)
