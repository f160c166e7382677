"""What is measured of replicas: their counts, as they stand whenever somebody asks."""

from collections.abc import Callable, Iterable
from dataclasses import fields

from opentelemetry.metrics import CallbackOptions, Meter, Observation, get_meter

from services.tenancy.scheduling.attempt import ExecutorCounts
from services.tenancy.scheduling.scheduler import SchedulerCounts

METER = get_meter("secmesh.tenancy")


def measure(replica: str, counts: SchedulerCounts | ExecutorCounts, meter: Meter = METER) -> None:
    """Show counts as ``tenancy.REPLICA.COUNT``; those that may fall are gauges."""
    for each in fields(counts):
        name = f"tenancy.{replica}.{each.name}"
        callback = _reader(counts, each.name)
        if isinstance(getattr(counts, each.name), float):
            meter.create_observable_gauge(name, [callback], unit="s")
        else:
            meter.create_observable_counter(name, [callback])


def _reader(
    counts: SchedulerCounts | ExecutorCounts, name: str
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    return lambda _options: [Observation(getattr(counts, name))]
