"""Spans of statements: their text, without parameters and literals."""

import re
from typing import Any

import sqlalchemy as sa
from opentelemetry import trace

from mesh.telemetry import tracing

MAX_TEXT = 2000
_LITERAL = re.compile(r"'(?:[^']|'')*'|(?<![\w$:@.])\d+(?:\.\d+)?(?!\w)")
_TRACER = trace.get_tracer("mesh.sql")
_SPAN = "secmesh_span"


def trace_statements(engine: sa.Engine) -> None:
    """Make a span of each statement of an engine, while traces are on."""
    sa.event.listen(engine, "before_cursor_execute", _begin)
    sa.event.listen(engine, "after_cursor_execute", _end)
    sa.event.listen(engine, "handle_error", _fail)


def without_literals(statement: str) -> str:
    """Give the text of a statement with ``?`` for each quoted text and number."""
    return _LITERAL.sub("?", statement)[:MAX_TEXT]


def _begin(
    _connection: Any, _cursor: Any, statement: str, _parameters: Any, context: Any, _many: Any
) -> None:
    if not tracing.is_tracing() or context is None:
        return
    operation = statement.split(maxsplit=1)[0].upper()
    attributes = {
        "db.system.name": context.dialect.name,
        "db.operation.name": operation,
        "db.query.text": without_literals(statement),
    }
    span = _TRACER.start_span(operation, kind=trace.SpanKind.CLIENT, attributes=attributes)
    setattr(context, _SPAN, span)


def _end(
    _connection: Any, _cursor: Any, _statement: Any, _parameters: Any, context: Any, _many: Any
) -> None:
    span: trace.Span | None = getattr(context, _SPAN, None)
    if span is not None:
        span.end()


def _fail(failure: sa.ExceptionContext) -> None:
    span: trace.Span | None = getattr(failure.execution_context, _SPAN, None)
    if span is not None:
        span.set_attribute("error.type", type(failure.original_exception).__name__)
        span.set_status(trace.StatusCode.ERROR)
        span.end()
