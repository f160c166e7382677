"""Makes every call a span of its caller's trace.

Not the interceptor of opentelemetry-instrumentation-grpc: it writes error texts into spans, which
name resources, and iterates over streams that here are written.
"""

from typing import Any

from mesh.server.call import Call
from mesh.server.interceptors.chain import CallInterceptor, Context, Proceed
from mesh.telemetry import tracing


class Trace(CallInterceptor):
    """Does nothing while traces are off."""

    async def around(self, proceed: Proceed, call: Call, request: Any, context: Context) -> Any:
        if not tracing.is_tracing():
            return await proceed(call, request, context)
        with tracing.server_span(call.name, call.metadata) as span:
            try:
                return await proceed(call, request, context)
            finally:
                tracing.end_server_span(span, call.status, call.kind)
