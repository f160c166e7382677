"""How long calls took, counted by hand: OpenTelemetry takes a tenth of a call to count one.

Most of that is attributes that it copies and checks each time; here those of a method are known.
Prometheus reads the same names, labels and buckets as of any other histogram.
"""

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client.core import HistogramMetricFamily

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
"""Upper ends of the buckets, in seconds; one more bucket has what took longer."""
_LABELS = ("grpc_method", "grpc_status", "kind")

Key = tuple[str, str, str]
"""Method, status and kind of record."""


class Durations:
    """The histogram ``grpc_server_call_duration_seconds``, a collector of Prometheus' client."""

    def __init__(self) -> None:
        self._counts: dict[Key, list[int]] = {}
        self._sums: dict[Key, float] = {}

    def record(self, key: Key, seconds: float) -> None:
        """Count a call that took so long."""
        counts = self._counts.get(key)
        if counts is None:
            counts = self._counts[key] = [0] * (len(BOUNDS) + 1)
            self._sums[key] = 0.0
        counts[bisect_left(BOUNDS, seconds)] += 1
        self._sums[key] += seconds

    def collect(self) -> "Iterator[HistogramMetricFamily]":
        """Give what was counted so far; another thread may ask."""
        # Only who is asked for metrics pays for the client.
        from prometheus_client.core import HistogramMetricFamily

        told = HistogramMetricFamily(
            "grpc_server_call_duration_seconds",
            "time a call took, by method, status and kind of record",
            labels=_LABELS,
        )
        ends = [*(f"{bound:g}" for bound in BOUNDS), "+Inf"]
        for key, counts in list(self._counts.items()):
            buckets = list(zip(ends, accumulate(list(counts)), strict=True))
            told.add_metric(key, buckets, self._sums.get(key, 0.0))
        yield told
