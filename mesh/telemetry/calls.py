"""What is measured of gRPC calls; names as in gRFC A66."""

from collections import Counter
from collections.abc import Iterable

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from mesh.telemetry.durations import Durations

OTHER = "other"
"""Every method without a handler: callers choose their paths, and there is no end to them."""
UNKNOWN_KIND = "unknown"
"""Every collection that no contract names, for the same reason."""

_METER = metrics.get_meter("mesh.server")
DURATIONS = Durations()
"""Of every call that ended, ``grpc.server.call.duration``."""
_in_flight: Counter[str] = Counter()
_received: Counter[str] = Counter()
_sent: Counter[str] = Counter()


def began(method: str) -> None:
    """Count a call that begins."""
    _in_flight[method] += 1


def ended(method: str, status: str, kind: str, seconds: float) -> None:
    """Measure a call that ended; ``kind`` is a collection of the contract, or empty."""
    _in_flight[method] -= 1
    DURATIONS.record((method, status, kind), seconds)


def received(method: str, size: int) -> None:
    """Count the bytes of a request message."""
    _received[method] += size


def sent(method: str, size: int) -> None:
    """Count the bytes of a response message."""
    _sent[method] += size


def _observe(counts: Counter[str]) -> Iterable[Observation]:
    for method, count in list(counts.items()):
        yield Observation(count, {"grpc.method": method})


def _observe_in_flight(_options: CallbackOptions) -> Iterable[Observation]:
    return _observe(_in_flight)


def _observe_received(_options: CallbackOptions) -> Iterable[Observation]:
    return _observe(_received)


def _observe_sent(_options: CallbackOptions) -> Iterable[Observation]:
    return _observe(_sent)


_METER.create_observable_up_down_counter(
    "grpc.server.call.in_flight", [_observe_in_flight], description="calls being served"
)
_METER.create_observable_counter(
    "grpc.server.message.received", [_observe_received], unit="By", description="request messages"
)
_METER.create_observable_counter(
    "grpc.server.message.sent", [_observe_sent], unit="By", description="response messages"
)
