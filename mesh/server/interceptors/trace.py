"""Makes every call a span of its caller's trace.

Not the interceptor of opentelemetry-instrumentation-grpc: it writes error texts into spans, which
name resources, and iterates over streams that here are written.
"""

from collections.abc import Awaitable
from typing import Any

from mesh.server.call import Call
from mesh.server.interceptors.chain import CallInterceptor, Context, Proceed
from mesh.telemetry import tracing


class Trace(CallInterceptor):
    """Does nothing while traces are off."""

    def around(
        self, proceed: Proceed, call: Call, request: Any, context: Context
    ) -> Awaitable[Any]:
        if not tracing.is_tracing():
            return proceed(call, request, context)
        return self._traced(proceed, call, request, context)

    async def _traced(self, proceed: Proceed, call: Call, request: Any, context: Context) -> Any:
        with tracing.server_span(call.name, call.metadata) as span:
            try:
                return await proceed(call, request, context)
            finally:
                tracing.end_server_span(span, call.status, call.kind)
