"""Turns metrics on: the process keeps them, Prometheus reads them."""

from functools import cache
from typing import TYPE_CHECKING

from opentelemetry import metrics

from mesh.telemetry import calls, process

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Of Prometheus' text format."""


@cache
def _registry() -> "CollectorRegistry":
    # Only who is asked for metrics pays for the SDK.
    from opentelemetry.exporter.prometheus import PrometheusMetricReader
    from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider
    from opentelemetry.sdk.resources import Resource
    from prometheus_client import CollectorRegistry

    registry = CollectorRegistry(auto_describe=False)
    reader = PrometheusMetricReader(
        disable_target_info=True, scope_info_enabled=False, registry=registry
    )
    # Exemplars would cost each measurement a look at the current span.
    provider = MeterProvider(
        [reader],
        resource=Resource.get_empty(),
        exemplar_filter=AlwaysOffExemplarFilter(),
        shutdown_on_exit=False,
    )
    metrics.set_meter_provider(provider)
    registry.register(calls.DURATIONS)
    return registry


def enable_metrics() -> None:
    """Keep what is measured from now on, once for the process."""
    _registry()
    process.observe()


def exposition() -> bytes:
    """Give all metrics of the process in Prometheus' text format."""
    from prometheus_client import generate_latest

    enable_metrics()
    return generate_latest(_registry())
