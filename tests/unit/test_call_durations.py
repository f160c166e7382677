"""The histogram of calls: what was counted is told as Prometheus' client tells its own."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from mesh.telemetry.durations import BOUNDS, Durations

NAME = "grpc_server_call_duration_seconds"
KEYS = [("a.B/C", "OK", "items"), ("a.B/C", "INTERNAL", ""), ("other", "UNIMPLEMENTED", "")]
SECONDS = st.one_of(st.sampled_from(BOUNDS), st.floats(0, 100))


def told(registry: CollectorRegistry) -> dict[str, float]:
    """Read what a registry exposes; the client's own moments of creation do not count."""
    lines = generate_latest(registry).decode().splitlines()
    samples = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {
        name.replace('.0"', '"'): float(value)
        for name, _, value in samples
        if not name.startswith(f"{NAME}_created")
    }


@given(st.lists(st.tuples(st.sampled_from(KEYS), SECONDS)))
def test_the_histogram_is_that_of_prometheus_own_client(
    calls: list[tuple[tuple[str, str, str], float]],
) -> None:
    durations, own, theirs = Durations(), CollectorRegistry(), CollectorRegistry()
    own.register(durations)
    labels = ("grpc_method", "grpc_status", "kind")
    histogram = Histogram(NAME, "a", labels, buckets=BOUNDS, registry=theirs)
    for key, seconds in calls:
        durations.record(key, seconds)
        histogram.labels(*key).observe(seconds)
    ours, expected = told(own), told(theirs)
    assert ours.keys() == expected.keys()
    for name, value in expected.items():
        assert math.isclose(ours[name], value), name


def test_a_call_longer_than_all_bounds_is_in_the_last_bucket_alone() -> None:
    durations, registry = Durations(), CollectorRegistry()
    registry.register(durations)
    durations.record(KEYS[0], BOUNDS[-1] + 1)
    found = told(registry)
    buckets = [value for name, value in found.items() if "_bucket" in name]
    assert sum(buckets) == 1
    assert found[f'{NAME}_sum{{grpc_method="a.B/C",grpc_status="OK",kind="items"}}'] == (
        pytest.approx(BOUNDS[-1] + 1)
    )
