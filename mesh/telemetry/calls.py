"""What is measured of gRPC calls; names as in gRFC A66."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import attrgetter

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


@dataclass(slots=True)
class Traffic:
    """What one method was asked and answered so far."""

    method: str
    in_flight: int = 0
    """Calls that began and have not ended."""
    received: int = 0
    """Bytes of request messages."""
    sent: int = 0
    """Bytes of response messages."""

    def ended(self, status: str, kind: str, seconds: float) -> None:
        """Measure a call that ended; ``kind`` is a collection of the contract, or empty."""
        self.in_flight -= 1
        DURATIONS.record((self.method, status, kind), seconds)


_TRAFFIC: dict[str, Traffic] = {}


def traffic_of(method: str) -> Traffic:
    """Give what is counted of a method; there is one for each."""
    return _TRAFFIC.get(method) or _TRAFFIC.setdefault(method, Traffic(method))


def _observe(count: Callable[[Traffic], int]) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(_options: CallbackOptions) -> Iterable[Observation]:
        for traffic in list(_TRAFFIC.values()):
            yield Observation(count(traffic), {"grpc.method": traffic.method})

    return observe


_METER.create_observable_up_down_counter(
    "grpc.server.call.in_flight",
    [_observe(attrgetter("in_flight"))],
    description="calls being served",
)
_METER.create_observable_counter(
    "grpc.server.message.received",
    [_observe(attrgetter("received"))],
    unit="By",
    description="request messages",
)
_METER.create_observable_counter(
    "grpc.server.message.sent",
    [_observe(attrgetter("sent"))],
    unit="By",
    description="response messages",
)
