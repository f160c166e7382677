"""What is measured and traced of AWS calls: each attempt, retried ones too, and no arguments."""

import threading
import time
from collections.abc import Mapping
from typing import Any

from opentelemetry import metrics, trace

from mesh.aws.outcomes import Outcome, classify_code, error_code

_METER = metrics.get_meter("mesh.aws")
_TRACER = trace.get_tracer("mesh.aws")
_DURATION = _METER.create_histogram(
    "aws.client.attempt.duration",
    unit="s",
    description="time from an attempt of an AWS call to its answer",
    explicit_bucket_boundaries_advisory=[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60],
)
_WAIT = _METER.create_counter(
    "aws.client.pace.wait", unit="s", description="time that calls waited so as not to be throttled"
)


def outcome_of(parsed_response: Mapping[str, Any]) -> tuple[Outcome, str]:
    """Give the outcome of one attempt, and its error code if it has one."""
    code = error_code(parsed_response)
    status = int(parsed_response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return (classify_code(code, status) if code else Outcome.READ), code


class Attempts:
    """Sees the attempts of one client; threads may share it."""

    def __init__(self, service: str, region: str) -> None:
        self._service = service
        self._region = region
        # An attempt begins and ends in one thread.
        self._open = threading.local()

    def waited(self, seconds: float) -> None:
        """Count a wait for a turn."""
        _WAIT.add(seconds, {"service": self._service})

    def sent(self, operation: str) -> None:
        """Note an attempt on its way."""
        attributes = {
            "rpc.system": "aws-api",
            "rpc.service": self._service,
            "rpc.method": operation,
            "cloud.region": self._region,
        }
        name = f"{self._service}/{operation}"
        self._open.span = _TRACER.start_span(
            name, kind=trace.SpanKind.CLIENT, attributes=attributes
        )
        self._open.began = time.monotonic()

    def answered(self, operation: str, outcome: Outcome) -> None:
        """Measure an attempt that ended."""
        began: float | None = getattr(self._open, "began", None)
        if began is None:  # nothing was sent
            return
        self._open.began = None
        attributes = {
            "service": self._service,
            "operation": operation,
            "outcome": outcome.value,
        }
        _DURATION.record(time.monotonic() - began, attributes)
        span: trace.Span = self._open.span
        span.set_attribute("aws.outcome", outcome.value)
        if outcome is Outcome.FAILED:
            span.set_status(trace.StatusCode.ERROR)
        span.end()
