"""Traces of calls, statements and AWS calls; off unless the environment names a collector.

Spans hold names of methods, kinds, operations and the text of statements without their values:
never a parameter, a resource's name, an error's text or a caller.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
# W3C trace context alone: baggage would carry what callers invent.
_PROPAGATOR = TraceContextTextMapPropagator()
_HEADERS = frozenset(_PROPAGATOR.fields)
_SERVER_FAULTS = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)
_TRACER = trace.get_tracer("mesh.server")


@dataclass
class _State:
    on: bool = False


_STATE = _State()


def wants_tracing(environment: Mapping[str, str] = os.environ) -> bool:
    """Tell whether OpenTelemetry's variables name a collector and nothing turns traces off."""
    disabled = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    elsewhere = environment.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp"
    return any(environment.get(name) for name in _ENDPOINTS) and not disabled and not elsewhere


def enable_tracing(service: str, processor: "SpanProcessor | None" = None) -> None:
    """Trace from now on, once for the process; without a processor to the collector (OTLP)."""
    # Only who traces pays for the SDK: 6 MiB.
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({"service.name": f"secmesh-{service}"})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(processor or BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    _STATE.on = True


def is_tracing() -> bool:
    """Tell whether spans are made."""
    return _STATE.on


@contextmanager
def server_span(method: str, metadata: Iterable[tuple[str, str | bytes]]) -> Iterator[trace.Span]:
    """Make the span of a served call, a child of what the caller says (W3C trace context)."""
    carrier = {key: value for key, value in metadata if key in _HEADERS and isinstance(value, str)}
    service, _, name = method.rpartition("/")
    attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name}
    with _TRACER.start_as_current_span(
        method,
        context=_PROPAGATOR.extract(carrier),
        kind=trace.SpanKind.SERVER,
        attributes=attributes,
        # Their texts hold values.
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        yield span


def end_server_span(span: trace.Span, status: str, kind: str) -> None:
    """Say how the call ended."""
    span.set_attribute("rpc.grpc.status", status)
    if kind:
        span.set_attribute("secmesh.kind", kind)
    if status in _SERVER_FAULTS:
        span.set_status(trace.StatusCode.ERROR)


def outgoing() -> tuple[tuple[str, str], ...]:
    """Give the metadata by which another service continues the current trace."""
    if not _STATE.on:
        return ()
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return tuple(carrier.items())


def current_trace_id() -> str:
    """Give the trace id of the current span in hexadecimal, empty outside of one."""
    if not _STATE.on:
        return ""
    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else ""


def disable_tracing() -> None:
    """Make no more spans of calls and statements."""
    _STATE.on = False
